"""A lock with fencing: one writer at a time, and the store rejects writers that lost the lock.

Run `make setup` once and `make run` in one shell. Then, in three other shells:

    .venv/bin/python examples/lock.py store         # keeps a text
    .venv/bin/python examples/lock.py writer ann    # gets the lock; writes when you press Enter
    .venv/bin/python examples/lock.py writer bob    # waits for the lock

Do not press Enter yet. In a fifth shell, take the lock away from ann:

    .venv/bin/fox put com.example.store.lock --delete

Now bob has the lock, but ann does not know this. Press Enter in bob's shell, then in ann's: the
store refuses ann's write, because the publication id of her lock is smaller than that of bob's. (To
run a script only while it holds a lock, use `fox lock`.)
"""

import argparse
import asyncio
import sys

from autobahn.asyncio.component import Component
from autobahn.wamp.exception import ApplicationError
from keys import KeyOptions, run

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
    # Publish if there is no such key, or else wait until it is gone. It ends with this session.
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
        # Release the lock, if it is still ours.
        await session.publish(LOCK, options=KeyOptions(when_id=fence))
    except ApplicationError:
        print("the lock was not mine any more", flush=True)
    session.leave()


async def enter():
    """Wait for a line on standard input while the session continues."""
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


run(component, arguments.url)
