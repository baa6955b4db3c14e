"""Deliveries at QoS 0 behind deliveries that wait for a slow client's acknowledgements."""

import pytest

from fox_shard.config import Mqtt
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

WINDOW = Mqtt().max_inflight


@pytest.fixture
def world():
    world = World(5, gateways=1, shards=1)
    world.run_until(lambda: world.linked)
    return world


def client(world):
    one = MqttClient(world, 0)
    world.run_until(lambda: one.connected)
    return one


def acknowledge_all(world, one):
    """Let the client acknowledge until nothing more comes."""
    one.acknowledges = True
    one.acknowledge()
    world.run(10)


@pytest.mark.parametrize("second_topic", ["a", "b"])
@pytest.mark.parametrize("granted_qos", [0, 1])
def test_an_event_at_qos_0_does_not_overtake_queued_ones(second_topic, granted_qos, world):
    slow, publisher, others = client(world), client(world), [client(world) for _ in range(3)]
    slow.acknowledges = False
    slow.subscribe("a", qos=1)
    slow.subscribe("b", qos=granted_qos)
    for other in others:
        other.subscribe("#", qos=0)
    world.run(10)
    for number in range(WINDOW + 2):
        publisher.publish("a", b"%d" % number, 1)
    publisher.publish(second_topic, b"last", 0)
    publisher.publish(second_topic, b"very last", 0)
    world.run(10)
    assert len(slow.messages) == WINDOW
    acknowledge_all(world, slow)
    expected = [*(b"%d" % number for number in range(WINDOW + 2)), b"last", b"very last"]
    assert slow.payloads == expected
    assert [message.qos for message in slow.messages[-2:]] == [0, 0]
    assert [other.payloads for other in others] == [expected] * 3
    assert not world.gateway(0).realms["realm1"].queueing


def test_an_event_for_some_receivers_does_not_overtake_queued_ones(world):
    slow, publisher = client(world), WampClient(world, 0)
    slow.acknowledges = False
    slow.subscribe("a", qos=1)
    world.run(10)
    other = client(world)
    for number in range(WINDOW + 1):
        other.publish("a", b"%d" % number, 1)
    world.run(10)
    publisher.publish("a", "last", exclude_authrole=["nobody"])
    world.run(10)
    acknowledge_all(world, slow)
    assert slow.payloads[-2:] == [b"%d" % WINDOW, b'"last"']


def test_a_change_at_qos_0_does_not_overtake_the_key(world):
    publisher, slow = client(world), client(world)
    for number in range(WINDOW + 5):
        publisher.publish(f"k/{number:05}", b"old", 1, retain=True)
    publisher.publish("k/zero", b"old", 0, retain=True)
    world.run(10)
    slow.acknowledges = False
    slow.subscribe("k/#", qos=1)
    world.run(10)
    assert len(slow.messages) == WINDOW
    changed = f"k/{WINDOW + 4:05}"
    for topic in (changed, "k/zero"):
        publisher.publish(topic, b"new", 0, retain=True)
    world.run(10)
    acknowledge_all(world, slow)
    for topic in (changed, "k/zero"):
        seen = [(m.payload, m.retain) for m in slow.messages if m.topic == topic]
        assert seen == [(b"old", True), (b"new", False)]


def test_queued_events_at_qos_0_are_bounded(world):
    slow, publisher = client(world), client(world)
    slow.acknowledges = False
    slow.subscribe("a", qos=1)
    world.run(10)
    for _ in range(WINDOW + 1):
        publisher.publish("a", b"", 1)
    world.run(10)
    limit = world.gateway(0).settings.outbound_limit
    for _ in range(limit // 60_000):
        publisher.publish("a", bytes(60_000))
    world.run(10)
    assert not slow.closed
    publisher.publish("a", bytes(60_000))
    publisher.publish("a", bytes(60_000))
    world.run(10)
    assert slow.closed
    assert not world.gateway(0).realms["realm1"].queueing
