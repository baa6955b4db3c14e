"""Presence: a list of who is here that stays right even if nobody says goodbye.

Run `make setup` once and `make run` in one shell. Then, in two other shells:

    .venv/bin/python examples/presence.py ann
    .venv/bin/python examples/presence.py bob

Both print the list whenever it changes. End one of them with Ctrl-C or `kill -9`.
`.venv/bin/fox keys 'com.example.present.#'` in a third shell shows the keys.
"""

import argparse
import asyncio
import sys

from fox_shard.client import CannotConnect, connect

PRESENT = "com.example.present."

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
arguments = parser.parse_args()


async def main():
    here = set()
    async with connect(arguments.url, "realm1") as realm, asyncio.TaskGroup() as group:

        async def appear():
            # A weak key is erased when its session ends, for whatever reason.
            own = PRESENT + arguments.name
            await realm.publish(own, [arguments.name], acknowledge=True, retain=True, weak=True)

        await appear()
        async for change in realm.watch(PRESENT, match="prefix"):
            name = change.topic.removeprefix(PRESENT)
            if not change.removed:
                here.add(name)
            else:
                here.discard(name)
                if name == arguments.name:
                    # The connection was lost, and there is a new one.
                    group.create_task(appear())
            print("here:", ", ".join(sorted(here)), flush=True)


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass  # Ctrl-C is how this program is ended.
except CannotConnect as problem:
    sys.exit(f"{problem}")
