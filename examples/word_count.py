"""Map and reduce: the words of texts are counted, across all shards, each exactly once.

Run `make setup` once and `make run` in one shell. Then, in three other shells:

    .venv/bin/python examples/word_count.py watch
    .venv/bin/python examples/word_count.py count
    .venv/bin/python examples/word_count.py read "the quick fox and the lazy dog"

The second program has both functions. Map is a procedure, which publishes each word of a text.
Reduce is a reducer, which makes of each word's events the word's count, a retained key. Start
further counters, and kill some: the words are shared among those that live, and no count is wrong.
`.venv/bin/fox reducers` lists the reducer.
"""

import argparse
import re

from autobahn.asyncio.component import Component
from autobahn.wamp.types import PublishOptions, RegisterOptions
from keys import ReducerOptions, StateOptions, run

MAP = "com.example.words.map"
WORDS = "com.example.words.of."

parser = argparse.ArgumentParser()
roles = parser.add_subparsers(dest="role", required=True)
roles.add_parser("watch")
roles.add_parser("count")
roles.add_parser("read").add_argument("text")
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
arguments = parser.parse_args()


async def count(session):
    async def map_text(text):
        words = re.findall(r"\w+", text.lower())
        for word in words:
            # Acknowledged: the event is stored, and will be counted whatever dies.
            await session.publish(WORDS + word, options=PublishOptions(acknowledge=True))
        return len(words)

    def reduce_word(details):
        return (details.retained or 0) + 1

    options = ReducerOptions(match="prefix", invoke="roundrobin", durable="word counts")
    await session.register(reduce_word, WORDS, options)
    await session.register(map_text, MAP, RegisterOptions(invoke="roundrobin"))
    print("counting", flush=True)


async def watch(session):
    def changed(count, details):
        print(f"{details.topic.removeprefix(WORDS)}: {count}", flush=True)

    await session.subscribe(changed, WORDS, options=StateOptions(match="prefix"))
    print("watching", flush=True)


async def read(session):
    print(await session.call(MAP, arguments.text), "words", flush=True)
    session.leave()


component = Component(transports=arguments.url, realm="realm1")


@component.on_join
async def joined(session, _details):
    match arguments.role:
        case "watch":
            await watch(session)
        case "count":
            await count(session)
        case _:
            await read(session)


run(component, arguments.url)
