"""Limits of realms, with real processes: keys, subscriptions, and calls that wait."""

from collections import Counter
from contextlib import closing

import pytest
from cluster import Cluster, await_true
from mqtt_peers import MqttPeers
from raw_wamp import (
    CALL,
    ERROR,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    SUBSCRIBE,
    SUBSCRIBED,
    RawWamp,
)

from fox_shard.backplane.placement import Placement

CONFIG = """
[limits]
max_keys = 10

[[realm]]
name = "realm1"
max_keys = 6
max_subscriptions = 4
max_queue_bytes = 2000

[[realm]]
name = "realm2"
"""
SHARDS = 2
KEYS, SUBSCRIPTIONS = 6, 2
"""What all shards take, and what one gateway takes."""

KEEP = {"acknowledge": True, "retain": True}
EXCEEDED, FULL = "fox.error.limit_exceeded", "fox.error.queue_full"


@pytest.fixture
def start(tmp_path):
    """Start brokers on one data folder, one after another: `start(shards)`."""
    config = tmp_path / "conf" / "fox.toml"
    config.parent.mkdir()
    config.write_text(CONFIG)
    made = []

    def start(shards, gateways=2):
        data = str(tmp_path / "data")
        made.append(Cluster(gateways, shards, config=str(config), FOX_DATA_DIR=data))
        return made[-1]

    yield start
    for cluster in made:
        cluster.stop()


@pytest.fixture
def cluster(start):
    return start(SHARDS, gateways=2)


def ask(client, kind, options, *rest):
    """Return "" or the error's URI."""
    client.request += 1
    client.send(kind, client.request, options, *rest)
    reply = client.receive()
    assert reply[0] in (PUBLISHED, SUBSCRIBED, REGISTERED, ERROR), reply
    return reply[4] if reply[0] == ERROR else ""


def put(client, topic, *args):
    return ask(client, PUBLISH, KEEP, topic, [*args])


def refused(cluster):
    """Return the counters of all processes, added up."""
    total = {}
    for name in cluster.names:
        for limit, count in cluster.health(name).get("refused", {}).items():
            total[limit] = total.get(limit, 0) + count
    return total


def test_a_realm_takes_as_many_keys_as_its_limit_says_before_and_after_a_restart(cluster):
    with closing(RawWamp(cluster.rawsocket)) as client:
        answers = {topic: put(client, topic, 1) for topic in (f"full.k{n}" for n in range(40))}
        kept = [topic for topic, answer in answers.items() if not answer]
        assert (len(kept), set(answers.values())) == (KEYS, {"", EXCEEDED})
        for number in range(SHARDS):
            cluster.kill(f"shard-{number}")
            cluster.start(f"shard-{number}")
        cluster.await_ready()
        again = {topic: put(client, topic, 2) for topic in answers}
        assert again == answers
        assert refused(cluster)["max_keys"] == 40 - KEYS
        # MQTT has no refusal of a publish: it is acknowledged, and nobody gets it.
        with closing(MqttPeers(cluster)) as mqtt:
            peer = mqtt.connect()
            codes = peer.subscribe("full/#", "other/#", "third", "fourth")
            assert codes[SUBSCRIPTIONS:] == [0x80] * (4 - SUBSCRIPTIONS)
            shown = {message[0].replace("/", ".") for message in peer.take(KEYS)}
            assert shown == set(kept)
            peer.publish("full/new", b"x", qos=1, retain=True)
            peer.publish("full/k0", b"end", qos=1)
            assert peer.until("full/k0") == []
        assert put(client, kept[0]) == ""
        assert put(client, kept[0], 3) == ""


def test_subscriptions_and_waiting_calls_are_limited_too(cluster):
    with closing(RawWamp(cluster.rawsocket)) as client:
        topics = [f"topic.{number}" for number in range(4)]
        answers = [ask(client, SUBSCRIBE, {}, topic) for topic in topics]
        assert answers == ["", "", EXCEEDED, EXCEEDED]
        assert ask(client, SUBSCRIBE, {"get_retained": True}, topics[0]) == ""
        assert ask(client, REGISTER, {"concurrency": 1}, "slow") == ""
        with closing(RawWamp(cluster.rawsocket)) as caller:
            for number in range(1, 6):
                caller.send(CALL, number, {}, "slow", ["x" * 400])
            errors = [caller.receive() for _ in range(2)]
            assert [(one[2], one[4]) for one in errors] == [(4, FULL), (5, FULL)]
        await_true("the refusals are counted", lambda: refused(cluster).get("max_queue_bytes") == 2)
        assert refused(cluster)["realm_max_subscriptions"] == 2


def test_after_resharding_all_keys_stay_and_a_full_shard_refuses_new_ones(start):
    many = start(6)  # one key at each shard
    topics = [f"moved.k{number}" for number in range(100)]
    with closing(RawWamp(many.rawsocket)) as client:
        kept = [topic for topic in topics if not put(client, topic, 1)]
    many.end()
    few = start(2)  # three keys at each, but one has more now
    share, owner = 3, Placement(2).shard_of
    moved = Counter(owner("realm1", topic) for topic in kept)
    assert (len(kept), max(moved.values()) > share) == (KEYS, True)
    with closing(RawWamp(few.rawsocket)) as client:
        assert [put(client, topic, 2) for topic in kept] == [""] * KEYS
        new = [topic for topic in topics if topic not in kept and not put(client, topic, 2)]
        assert len(new) == share - min(moved.values())
        assert [put(client, topic) for topic in kept + new] == [""] * (KEYS + len(new))
        assert [put(client, topic, 3) for topic in topics].count("") == 2 * share
