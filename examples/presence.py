"""Who is here: a list that is right although nobody says goodbye.

`make run` in one shell, then in two others:

    .venv/bin/python examples/presence.py ann
    .venv/bin/python examples/presence.py bob

Both print who is here, whenever that changes. End one with Ctrl-C, or with `kill -9`.
`.venv/bin/fox keys com.example.present.#` in a fourth shell shows the keys.
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
    # Weak: the key goes when this session ends, however it ends.
    await session.publish(PRESENT + arguments.name, arguments.name, options=KeyOptions(weak=True))


run([component], log_level=None)
