"""A session that publishes faster than `gateway.publish_rate` is slowed down, and loses nothing."""

import pytest

from fox_shard.config import Gateway as Settings
from fox_shard.config import Role
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.pubsub.publish_rate import Bucket
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

RATE, BURST = 10, 5


def world(**settings):
    return World(3, gateways=2, shards=2, settings=Settings(**settings))


def limited():
    return world(publish_rate=RATE, publish_burst=BURST)


def reader_of(made, prefix="a."):
    """Return a client at the other gateway that gets the events, with the times of their coming."""
    times = []
    reader = WampClient(
        made, 1, on_message=lambda message: message[0] == 36 and times.append(made.now)
    )
    made.run_until(lambda: reader.session)
    request = reader.subscribe(prefix, match="prefix")
    made.run_until(lambda: reader.answer(33, request))
    return reader, times


def check_pace(times, *, since):
    """Check that at no time more have come than the rate and the burst allow."""
    slack = 0.1
    for number, time in enumerate(times, 1):
        assert number <= BURST + RATE * (time - since) + slack


def pauses(made):
    return made.gateway(0).limit_counts.totals().get("publish_rate", 0)


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = Bucket(RATE, BURST, 0.0)
    assert bucket.take(3, 0.0) == 3
    assert bucket.take(3, 0.0) == 2
    assert bucket.take(1, 0.0) == 0
    assert bucket.pause(0.0) == pytest.approx(0.1)
    assert bucket.take(9, 0.1) == 1
    assert bucket.take(9, 100.0) == BURST


@pytest.mark.parametrize("rate", [1, 3, 7, 1000, 10_000_000])
def test_after_its_pause_a_session_may_always_go_on(rate):
    bucket, now = Bucket(rate, BURST, 1e6), 1e6
    for _ in range(1000):
        bucket.take(BURST, now)
        now += bucket.pause(now)
        assert bucket.take(1, now) == 1


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("acknowledge", [False, True])
def test_wamp_publishes_beyond_the_rate_come_later_in_order(acknowledge, together):
    made = limited()
    reader, times = reader_of(made)
    client = WampClient(made, 0)
    made.run_until(lambda: client.session)
    began = made.now

    def publish():
        return [
            client.publish(f"a.{number % 3}", number, acknowledge=acknowledge)
            for number in range(40)
        ]

    if together:
        with client.wire.together():
            requests = publish()
    else:
        requests = publish()
    made.run_until(lambda: len(reader.events) == 40, 10.0)
    assert reader.events == [*range(40)]
    check_pace(times, since=began)
    assert made.now - began < 40 / RATE
    assert not client.of(8)
    assert pauses(made) > 0
    if acknowledge:
        made.run_until(lambda: len(client.of(17)) == 40)
        assert sorted(message[1] for message in client.of(17)) == requests


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_publishes_beyond_the_rate_come_later_in_order(qos):
    made = limited()
    reader, times = reader_of(made)
    client = MqttClient(made, 0, "c")
    made.run_until(lambda: client.connected)
    began = made.now
    with client.wire.together():
        for number in range(40):
            client.publish(f"a/{number // 15}", b"%d" % number, qos)
    made.run_until(lambda: len(reader.events) == 40, 10.0)
    assert reader.events == [*range(40)]
    check_pace(times, since=began)
    made.run_until(lambda: len(client.acknowledged) == (40 if qos else 0))
    assert not client.closed
    assert pauses(made) > 0


def test_whatever_follows_waits_too_and_others_are_not_held_up():
    made = limited()
    reader, _ = reader_of(made)
    client, other = MqttClient(made, 0, "c"), WampClient(made, 0)
    made.run_until(lambda: client.connected and other.session)
    with client.wire.together():
        for number in range(25):
            client.publish("a/b", b"%d" % number)
        client.subscribe("x/y")
    began = made.now
    request = other.publish("c.d", 1, acknowledge=True)
    made.run_until(lambda: other.answer(17, request))
    assert made.now - began < 0.5
    made.run_until(lambda: client.subscribed, 10.0)
    assert len(reader.events) >= 24
    assert made.now - began > 1.9


def test_a_client_that_leaves_has_published_all_that_was_read():
    """It cannot be slowed down any more, and what it sent would only take memory."""
    made = limited()
    reader, _ = reader_of(made)
    client = MqttClient(made, 0, "c", will=mqtt.Will("a/will", b"99", 0, False))
    made.run_until(lambda: client.connected)
    with client.wire.together():
        for number in range(200):
            client.publish("a/b", b"%d" % number)
    made.run(0.2)
    assert len(reader.events) < 20
    left = made.now
    client.drop()
    made.run_until(lambda: len(reader.events) == 201)
    assert reader.events == [*range(200), 99]
    assert made.now - left < 0.5


def test_a_client_says_goodbye_behind_what_it_published():
    made = limited()
    reader, times = reader_of(made)
    client = WampClient(made, 0)
    made.run_until(lambda: client.session)
    began = made.now
    with client.wire.together():
        for number in range(20):
            client.publish("a.b", number)
        client.leave()
    made.run_until(lambda: client.of(6), 10.0)
    made.run(0.2)
    assert reader.events == [*range(20)]
    check_pace(times, since=began)


def test_the_publishes_of_a_session_that_is_ended_by_the_server_are_dropped():
    made = limited()
    reader, _ = reader_of(made)
    client = WampClient(made, 0)
    made.run_until(lambda: client.session)
    with client.wire.together():
        for number in range(100):
            client.publish("a.b", number)
    made.run(0.2)
    made.gateway(0).sessions[client.session].end("wamp.close.normal", "enough")
    made.turn("gateway-0")
    made.run_until(lambda: client.of(6))
    made.run(2)
    assert len(reader.events) < 20
    assert made.gateway(0).turns.idle
    assert not made.gateway(0).requests._publish_rate._buckets


def test_a_repeated_message_at_quality_of_service_2_is_published_once():
    made = limited()
    reader, _ = reader_of(made)
    client = MqttClient(made, 0, "c")
    made.run_until(lambda: client.connected)
    with client.wire.together():
        for packet_id in (1, 2, 3, 4, 5, 6, 7, 3, 8, 9):
            client.send(mqtt.Publish("a/b", b"%d" % packet_id, 2, packet_id))
    made.run_until(lambda: len(reader.events) == 9, 10.0)
    assert reader.events == [*range(1, 10)]


def test_without_a_rate_nothing_stands_in_the_way():
    made = world()
    publishing = made.gateway(0).requests._publishing
    assert made.gateway(0).requests.publish == publishing.publish
    assert made.gateway(0).requests.publish_all == publishing.publish_all


def test_a_session_waits_for_its_rate_and_for_its_authorizer_and_loses_no_order():
    """Both hold the connection; the rate counts before the authorizer is asked."""
    role = Role(name="anonymous", authorizer="rules:may", authorizer_cache=0.0)
    made = World(
        1,
        shards=2,
        gateways=1,
        roles=(role,),
        settings=Settings(publish_rate=RATE, publish_burst=BURST),
    )
    made.functions["rules:may"] = lambda _session, _action, uri: "secret" not in uri
    made.run_until(lambda: made.linked)
    reader, client, mqtt_client = WampClient(made, 0), WampClient(made, 0), MqttClient(made, 0)
    made.run_until(lambda: reader.session and client.session and mqtt_client.connected)
    request = reader.subscribe("a.", match="prefix")
    made.run_until(lambda: reader.answer(33, request))
    began = made.now
    with client.wire.together(), mqtt_client.wire.together():
        for number in range(30):
            topic = f"a.{'secret' if number % 3 == 2 else number}"
            client.publish(topic, number, acknowledge=True)
            mqtt_client.publish(f"a/b{number // 4}", b"%d" % (100 + number), 1)
    made.run_until(lambda: len(client.of(17)) == 20 and len(client.of(8)) == 10, 20.0)
    made.run_until(lambda: len(mqtt_client.acknowledged) == 30, 20.0)
    assert made.now - began > (30 - BURST) / RATE - 0.2
    for first, due in ((0, [n for n in range(30) if n % 3 != 2]), (100, [*range(100, 130)])):
        assert [event for event in reader.events if first <= event < first + 100] == due
    assert made.gateway(0).turns.idle


def test_calls_do_not_count():
    made = limited()
    client = WampClient(made, 0)
    made.run_until(lambda: client.session)
    began = made.now
    for number in range(50):
        client.call("no.such", number)
    made.run_until(lambda: len(client.of(8)) == 50)
    assert made.now - began < 0.5
    assert pauses(made) == 0
