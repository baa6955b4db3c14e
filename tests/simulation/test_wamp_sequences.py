"""WAMP's own sequences of several sessions, against a simulated server (tests/spec)."""

import json
from pathlib import Path

import pytest

from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

FOLDER = Path(__file__).parents[1] / "spec" / "wamp-vectors" / "multisession"
FILES = sorted(FOLDER.glob("*/*.json"))

FIELDS = {
    "SUBSCRIBE": (32, "request_id", "options", "topic"),
    "SUBSCRIBED": (33, "request_id", "subscription_id"),
    "PUBLISH": (16, "request_id", "options", "topic", "args"),
    "EVENT": (36, "subscription_id", "publication_id", "details", "args"),
}
"""Type → its code, and the names of the fields behind it."""

CHOSEN = ("subscription_id", "publication_id")
"""Fields whose values the router chooses: each of the sequence's stands for one of the router's."""


def test_there_are_sequences():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_sequence_goes_as_the_vectors_say(path):
    vector = json.loads(path.read_text())
    world = World(seed=1, gateways=2, shards=2)
    world.run_until(lambda: world.linked)
    clients = {
        one["session_id"]: WampClient(world, number % 2, one["realm"])
        for number, one in enumerate(vector["sessions"])
    }
    world.run_until(lambda: all(client.session for client in clients.values()))
    for client in clients.values():
        client.inbox.clear()
    chosen = {}
    for step in vector["sequence"]:
        message = step["message"]
        code, *names = FIELDS[message["type"]]
        if step["to"] == "router":
            clients[step["from"]].send([code, *(message[name] for name in names)])
            continue
        client = clients[step["to"]]
        world.run_until(lambda client=client: client.inbox)
        got_code, *got = client.inbox.pop(0)
        assert (got_code, len(got)) == (code, len(names)), step["assertion"]
        for name, value in zip(names, got, strict=True):
            if name in CHOSEN:
                assert chosen.setdefault((name, message[name]), value) == value
            else:
                assert value == message[name], (name, step["assertion"])
    # Nobody gets anything else.
    world.run(1)
    assert [client.inbox for client in clients.values()] == [[] for _ in clients]
