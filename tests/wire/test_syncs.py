"""Shards sync before each acknowledgement, once for all publishes that are under way."""

import time
from contextlib import ExitStack, closing

import pytest
from cluster import Cluster
from mqtt_peers import MqttPeers
from raw_wamp import PUBLISH, PUBLISHED, at_gateway

from bench import syncs
from fox_shard.backplane.placement import Placement

SHARDS = range(4)
PLACE = Placement(len(SHARDS))


class Traced(Cluster):
    """A broker whose shards run under strace, which records their syncs."""

    def command(self, name):
        command = super().command(name)
        return syncs.traced(command, self.trace(name)) if name.startswith("shard") else command

    def trace(self, name):
        return self.folder / f"{name}.syncs"

    def syncs(self, shard, began, ended):
        """Return the syncs of the shard's write-ahead log in that period."""
        found = syncs.read(self.trace(f"shard-{shard}"))
        return [
            sync
            for sync in found
            if sync.path.endswith(f"shard-{shard}.sqlite-wal")
            and began <= sync.began
            and sync.ended <= ended
        ]


@pytest.fixture(scope="module")
def traced():
    if not syncs.traceable():
        pytest.skip("strace is not installed (Debian package strace)")
    cluster = Traced(shards=len(SHARDS), FOX_MQTT_SYS_INTERVAL="0")
    if not cluster.trace("shard-0").exists():
        cluster.stop()
        pytest.skip("strace cannot trace here")
    yield cluster
    cluster.end()


def publish_all(client, topics, options, window):
    """Publish to each topic, `window` at a time; return [(topic, time sent, time acknowledged)]."""
    done, under_way = [], {}
    for number, topic in enumerate(topics):
        client.request += 1
        under_way[client.request] = topic, time.time()
        client.send(PUBLISH, client.request, {"acknowledge": True, **options}, topic, [number])
        while len(under_way) >= window or (under_way and number == len(topics) - 1):
            reply = client.receive()
            assert reply[0] == PUBLISHED
            done.append((*under_way.pop(reply[1]), time.time()))
    return done


def unsynced(cluster, done):
    """Return the topics without a sync between publish and acknowledgement."""
    began = min(sent for _, sent, _ in done)
    found = {shard: cluster.syncs(shard, began, time.time()) for shard in SHARDS}
    return [
        topic
        for topic, sent, acknowledged in done
        if not any(
            sent <= sync.began and sync.ended <= acknowledged
            for sync in found[PLACE.shard_of("realm1", topic)]
        )
    ]


@pytest.mark.parametrize("window", [1, 20])
def test_a_retained_publish_is_synced_before_its_acknowledgement(traced, window):
    with ExitStack() as stack:
        for gateway in (0, 1):
            client = stack.enter_context(closing(at_gateway(traced, gateway)))
            topics = [f"sync.g{gateway}.k{number}" for number in range(300)]
            done = publish_all(client, topics, {"retain": True}, window)
            assert len(done) == len(topics)
            assert unsynced(traced, done) == []


@pytest.mark.parametrize("qos", [1, 2])
def test_a_retained_mqtt_publish_is_synced_before_its_acknowledgement(traced, qos):
    peers = MqttPeers(traced)
    try:
        device = peers.connect(f"sync-{qos}")
        done = []
        for number in range(50):
            sent = time.time()
            device.publish(f"sync/{qos}/k{number}", "1", qos=qos, retain=True)
            done.append((f"sync.{qos}.k{number}", sent, time.time()))
    finally:
        peers.close()
    assert unsynced(traced, done) == []


def test_publishes_that_come_together_are_synced_together(traced):
    with closing(at_gateway(traced, 0)) as client:
        began = time.time()
        topics = [f"sync.many.k{number}" for number in range(3000)]
        assert len(publish_all(client, topics, {"retain": True}, 500)) == len(topics)
        count = sum(len(traced.syncs(shard, began, time.time())) for shard in SHARDS)
    assert 0 < count < len(topics) / 10


def test_a_publish_that_is_not_retained_does_not_wait_for_the_disk(traced):
    with closing(at_gateway(traced, 0)) as client:
        began = time.time()
        topics = [f"sync.plain.k{number % 10}" for number in range(500)]
        assert len(publish_all(client, topics, {}, 1)) == len(topics)
        count = sum(len(traced.syncs(shard, began, time.time())) for shard in SHARDS)
    assert count < len(topics) / 10
