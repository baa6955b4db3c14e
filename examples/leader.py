"""Leader election: one of several programs leads, and when it dies another one takes over.

Run `make setup` once and `make run` in one shell. Then, in two or more other shells:

    .venv/bin/python examples/leader.py ann
    .venv/bin/python examples/leader.py bob

Each program prints who leads. End the leader with Ctrl-C or `kill -9`: the next one in line takes
over. The number of a term is greater than the numbers of all earlier terms.
"""

import argparse
import asyncio
import sys

from fox_shard.client import CannotConnect, LockLost, connect

LEADER = "com.example.elected"

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
arguments = parser.parse_args()


async def show_leader(realm):
    async for change in realm.watch(LEADER):
        if change.removed:
            print("nobody leads", flush=True)
        else:
            print(f"{change.value} leads in term {change.publication}", flush=True)


async def lead(realm):
    while True:
        try:
            async with realm.lock(LEADER, arguments.name) as term:
                print(f"I lead in term {term}", flush=True)
                await asyncio.Event().wait()  # Here the leader would do its work.
        except LockLost as lost:
            print(lost, flush=True)


async def main():
    async with connect(arguments.url, "realm1") as realm:
        await asyncio.gather(show_leader(realm), lead(realm))


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass  # Ctrl-C is how this program is ended.
except CannotConnect as problem:
    sys.exit(f"{problem}")
