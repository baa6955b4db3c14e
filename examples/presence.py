"""Presence: a list of who is here that stays right even if nobody says goodbye.

Run `make setup` once and `make run` in one shell. Then, in two other shells:

    .venv/bin/python examples/presence.py ann
    .venv/bin/python examples/presence.py bob

Both print the list whenever it changes. End one of them with Ctrl-C or `kill -9`.
`.venv/bin/fox keys 'com.example.present.#'` in a fourth shell shows the keys.
"""

import argparse

from autobahn.asyncio.component import Component, run
from keys import KeyOptions, StateOptions

PRESENT = "com.example.present."

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
arguments = parser.parse_args()

component = Component(transports=arguments.url, realm="realm1")


@component.on_join
async def joined(session, _details):
    here = set()

    def changed(*value, details):
        name = details.topic.removeprefix(PRESENT)
        if value:
            here.add(name)
        else:
            here.discard(name)
        print("here:", ", ".join(sorted(here)), flush=True)

    await session.subscribe(changed, PRESENT, options=StateOptions(match="prefix"))
    # A weak key is erased when its session ends, for whatever reason.
    await session.publish(PRESENT + arguments.name, arguments.name, options=KeyOptions(weak=True))


run([component], log_level=None)
