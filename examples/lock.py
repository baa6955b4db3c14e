"""A store that one writes to at a time, safe from writers who have lost the lock unawares.

`make run` in one shell, then, in three others:

    .venv/bin/python examples/lock.py store         # keeps a text
    .venv/bin/python examples/lock.py writer ann    # has the lock; writes when you press Enter
    .venv/bin/python examples/lock.py writer bob    # waits for the lock

Press Enter at ann's, and bob has the lock. Now start ann again, and while she waits for you as the
holder, take the lock away from her in a fifth shell:

    .venv/bin/fox put com.example.store.lock --delete

If somebody else has written meanwhile, the store refuses what she writes: the publication id of
her lock is smaller than his. (A script that must only run while it has a lock: `fox lock`.)
"""

import argparse
import asyncio
import sys

from autobahn.asyncio.component import Component, run
from autobahn.wamp.exception import ApplicationError
from keys import KeyOptions

LOCK = "com.example.store.lock"
WRITE = "com.example.store.write"

parser = argparse.ArgumentParser()
roles = parser.add_subparsers(dest="role", required=True)
roles.add_parser("store")
roles.add_parser("writer").add_argument("name")
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
arguments = parser.parse_args()

component = Component(transports=arguments.url, realm="realm1")


async def store(session):
    highest = 0

    def write(fence, text):
        nonlocal highest
        if fence < highest:
            raise ApplicationError("com.example.stale", f"{fence} is over, {highest} has written")
        highest = fence
        print("stored:", text, flush=True)

    await session.register(write, WRITE)
    print("the store is open", flush=True)


async def writer(session, name):
    # Only where there is no such key, otherwise when it has gone; it goes when the session ends.
    taken = KeyOptions(weak=True, when=None, watch=True)
    fence = (await session.publish(LOCK, name, options=taken)).id
    print(f"{name} has the lock; Enter: write", flush=True)
    await enter()
    try:
        await session.call(WRITE, fence, f"{name} was here")
        print("written", flush=True)
    except ApplicationError as refused:
        print("refused:", refused.args[0], flush=True)
    try:
        # Released, if it is still ours.
        await session.publish(LOCK, options=KeyOptions(when_id=fence))
    except ApplicationError:
        print("the lock was not mine any more", flush=True)
    session.leave()


async def enter():
    """Until a line is entered; the session goes on meanwhile."""
    loop = asyncio.get_running_loop()
    entered = loop.create_future()

    def readable():
        loop.remove_reader(sys.stdin)
        entered.set_result(None)

    loop.add_reader(sys.stdin, readable)
    await entered
    sys.stdin.readline()


@component.on_join
async def joined(session, _details):
    if arguments.role == "store":
        await store(session)
    else:
        await writer(session, arguments.name)


run([component], log_level=None)
