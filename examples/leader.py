"""Leader election: one of several programs leads, and when it dies another one takes over.

Run `make setup` once and `make run` in one shell. Then, in two or more other shells:

    .venv/bin/python examples/leader.py ann
    .venv/bin/python examples/leader.py bob

Each program prints who leads. End the leader with Ctrl-C or `kill -9`: the next one in line takes
over. The number of a term is greater than the numbers of all earlier terms.
"""

import argparse

from autobahn.asyncio.component import Component, run
from keys import KeyOptions, StateOptions

LEADER = "com.example.elected"

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
arguments = parser.parse_args()

component = Component(transports=arguments.url, realm="realm1")


@component.on_join
async def joined(session, _details):
    def changed(*leader, details):
        if leader:
            print(f"{leader[0]} leads in term {details.publication}", flush=True)
        else:
            print("nobody leads", flush=True)

    await session.subscribe(changed, LEADER, options=StateOptions())
    # The key may be published only if there is no leader; otherwise the publish waits in line.
    candidacy = KeyOptions(weak=True, when=None, watch=True)
    term = await session.publish(LEADER, arguments.name, options=candidacy)
    print(f"I lead in term {term.id}", flush=True)


run([component], log_level=None)
