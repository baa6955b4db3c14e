"""SUBSCRIBE, UNSUBSCRIBE and retained messages (MQTT 3.8 to 3.11)."""

import pytest
from mqtt_gateway import FakeGateway, connected, event

from fox_shard.backplane.frames import RETAIN
from fox_shard.config import Mqtt
from fox_shard.documents.payloads import JSON, MSGPACK
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.reader import FILTER

ENDED = ("session_ended", False)


def subscribe(client, *filters, packet_id=5):
    return client.answers(mqtt.Subscribe(packet_id, filters))


def confirm(client, request, *retained):
    client.session.subscribed(request, None, list(retained))
    return client.received()


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("a/b", "=a.b"),
        ("a.b/c", "=a/b.c"),
        ("a/+", "*a.+"),
        ("#", "*#"),
        ("/+", "*.+"),
        ("$SYS/#", "*$SYS.#"),
    ],
)
def test_a_filter_becomes_a_pattern(text, pattern):
    client = connected()
    assert subscribe(client, (text, 1)) == [], "no SUBACK before the subscription stands"
    assert client.calls == [("subscribe", 1, pattern, 1)]
    assert confirm(client, 1) == [mqtt.Suback(5, (1,))]


def test_several_filters_are_confirmed_in_one_suback_in_their_order():
    # [MQTT-3.8.4-4, -5]
    client = connected()
    subscribe(client, ("a", 0), ("b/#", 2), ("a", 1))
    assert client.calls == [
        ("subscribe", 1, "=a", 0),
        ("subscribe", 2, "*b.#", 2),
        ("subscribe", 3, "=a", 1),
    ]
    assert confirm(client, 3) == []
    assert confirm(client, 1) == []
    assert confirm(client, 2) == [mqtt.Suback(5, (0, 2, 1))]


def test_two_subscribes_at_once_have_their_own_subacks():
    client = connected()
    subscribe(client, ("a", 0), packet_id=1)
    subscribe(client, ("b", 1), packet_id=2)
    assert confirm(client, 2) == [mqtt.Suback(2, (1,))]
    assert confirm(client, 1) == [mqtt.Suback(1, (0,))]


def test_shared_subscriptions_and_overlong_filters_are_refused_in_their_place():
    client = connected(FakeGateway(topic_length=64))
    subscribe(client, ("$share/g/a", 1), ("b", 1), ("c" * 65, 2))
    assert client.calls == [("subscribe", 1, "=b", 1)]
    assert confirm(client, 1) == [mqtt.Suback(5, (mqtt.FAILURE, 1, mqtt.FAILURE))]
    assert subscribe(client, ("$share/g/a", 1)) == [mqtt.Suback(5, (mqtt.FAILURE,))]


@pytest.mark.parametrize(
    ("filters", "source"),
    [
        ((("a", 0), ("a/#/b", 0)), "MQTT-4.7.1-2"),
        ((("a#", 0),), "MQTT-4.7.1-2"),
        ((("a+/b", 0),), "MQTT-4.7.1-3"),
        ((("", 0),), "MQTT-4.7.3-1"),
        ((("a", 3),), "MQTT-3-8.3-4"),
        ((), "MQTT-3.8.3-3"),
    ],
)
def test_an_invalid_subscribe_closes_the_connection_before_any_effect(filters, source):
    client = connected()
    assert subscribe(client, *filters) == []
    assert client.calls == [ENDED]
    assert client.closed


@pytest.mark.parametrize(
    ("asked", "published", "sent", "source"),
    [
        (0, 2, 0, "MQTT-3.8.4-6"),
        (1, 2, 1, "MQTT-3.8.4-6"),
        (2, 1, 1, ""),
        (2, 2, 2, ""),
        (1, 0, 0, ""),
    ],
)
def test_retained_messages_follow_the_suback_with_the_retain_flag(asked, published, sent, source):
    # [MQTT-3.3.1-6, -8]
    client = connected()
    subscribe(client, ("a/#", asked))
    kept = event("a.b", b"kept", published, RETAIN)
    assert confirm(client, 1, kept) == [
        mqtt.Suback(5, (asked,)),
        mqtt.Publish("a/b", b"kept", sent, 1 if sent else 0, retain=True),
    ]


def test_retained_messages_keep_their_order_and_live_messages_have_no_flag():
    # [MQTT-3.3.1-9]
    client = connected()
    subscribe(client, ("#", 1))
    packets = confirm(client, 1, event("a", b"1"), event("b", b"2", 0), event("c", b"3"))
    client.session.deliver(event("a", b"4", 1, RETAIN), 1)
    packets += client.received()
    assert [(p.topic, p.payload, p.retain) for p in packets[1:]] == [
        ("a", b"1", True),
        ("b", b"2", True),
        ("c", b"3", True),
        ("a", b"4", False),
    ]


def test_keys_of_a_confirmed_filter_do_not_wait_for_the_other_filters():
    # MQTT 3.8.4 permits a PUBLISH before the SUBACK, and a key must not come after a live event.
    client = connected()
    subscribe(client, ("a", 0), ("b", 0))
    assert confirm(client, 1, event("a", b"old", 0)) == [mqtt.Publish("a", b"old", retain=True)]
    assert confirm(client, 2) == [mqtt.Suback(5, (0, 0))]


@pytest.mark.parametrize("topic", ["a.+", "a.#b", "a.b+c", "x" * 65_536])
def test_a_key_whose_topic_mqtt_cannot_express_is_not_sent(topic):
    # [MQTT-3.3.2-2]
    client = connected()
    subscribe(client, ("#", 1))
    assert confirm(client, 1, event(topic), event(topic, qos=0)) == [mqtt.Suback(5, (1,))]


@pytest.mark.parametrize(
    ("encoding", "args", "kwargs", "payload"),
    [
        (JSON, b'[{"a":1}]', b"", b'{"a":1}'),
        (JSON, b"[1,2]", b"", b"[1,2]"),
        (JSON, b"[1]", b'{"k":2}', b'{"args":[1],"kwargs":{"k":2}}'),
        (MSGPACK, b"\x91\xc4\x02\x00\xff", b"", b"\x00\xff"),
    ],
)
def test_keys_that_wamp_clients_published_are_translated(encoding, args, kwargs, payload):
    client = connected()
    subscribe(client, ("a", 2))
    kept = event("a", args, 0, RETAIN, encoding, kwargs)
    assert confirm(client, 1, kept)[1:] == [mqtt.Publish("a", payload, retain=True)]


def test_a_key_that_cannot_be_translated_is_left_out():
    client = connected()
    subscribe(client, ("a", 2))
    assert confirm(client, 1, event("a", b"\xc1", 0, 0, MSGPACK)) == [mqtt.Suback(5, (2,))]


def test_replayed_keys_wait_for_the_window_without_counting_as_outbound():
    client = connected(FakeGateway(outbound_limit=1 << 12))
    subscribe(client, ("#", 1))
    keys = [event(f"k.{n}", bytes(1000)) for n in range(20)]
    packets = confirm(client, 1, *keys)[1:]
    while len(packets) < 20:
        acknowledged = [mqtt.Puback(p.packet_id) for p in packets[-3:]]
        packets += client.answers(*acknowledged)
    assert [p.topic for p in packets] == [f"k/{n}" for n in range(20)]
    assert not client.closed


@pytest.mark.parametrize("text", ["a/b", "never/subscribed", "$share/g/a"])
def test_unsubscribe_is_always_acknowledged(text):
    # [MQTT-3.10.4-4, -5]
    client = connected()
    assert client.answers(mqtt.Unsubscribe(9, (text, "x/+"))) == [mqtt.Unsuback(9)]
    expected = [] if text.startswith("$share") else ["=" + text.replace("/", ".")]
    assert [call[1] for call in client.calls] == [*expected, "*x.+"]


def test_an_invalid_filter_to_unsubscribe_closes_the_connection_before_any_effect():
    client = connected()
    assert client.answers(mqtt.Unsubscribe(9, ("a", "b#"))) == []
    assert client.calls == [ENDED]


def test_unsubscribing_while_the_subscribe_is_under_way_answers_both():
    client = connected()
    subscribe(client, ("a", 1), ("b", 1))
    assert client.answers(mqtt.Unsubscribe(9, ("a",))) == [mqtt.Unsuback(9)]
    assert confirm(client, 2) == [mqtt.Suback(5, (1, 1))]
    # The gateway does not answer this request any more; an answer would change nothing.
    assert confirm(client, 1, event("a")) == []


def test_callbacks_after_the_end_change_nothing():
    client = connected()
    subscribe(client, ("a", 1))
    client.send(mqtt.Publish("a", b"x", 1, 1), mqtt.Disconnect())
    assert confirm(client, 1, event("a")) == []
    assert client.confirm(1) == []
    client.session.deliver(event("a"), 1)
    assert client.received() == []


# Limits


def test_a_filter_that_the_gateway_refuses_gets_0x80_in_its_place():
    client = connected()
    subscribe(client, ("a", 0), ("b", 1), ("c", 2))
    client.session.not_subscribed(2, "fox.error.limit_exceeded", "a sentence", 0)
    confirm(client, 1)
    assert confirm(client, 3) == [mqtt.Suback(5, (0, 0x80, 2))]


def test_a_filter_with_too_many_levels_is_refused():
    client = connected(FakeGateway(topic_components=8))
    deep = "/".join("+" * 9)
    assert subscribe(client, (deep, 0)) == [mqtt.Suback(5, (0x80,))]
    assert subscribe(client, ("/".join("+" * 8), 0)) == []
    assert client.answers(mqtt.Unsubscribe(6, (deep,))) == [mqtt.Unsuback(6)]


def test_a_packet_with_too_many_filters_ends_the_connection_before_it_is_decoded():
    """One SUBSCRIBE of 150,000 filters once took 9 s."""
    gateway = FakeGateway()
    gateway.mqtt = Mqtt(max_filters=3)
    for packet in (
        mqtt.Subscribe(5, (("a", 0),) * 4),
        mqtt.Unsubscribe(5, ("a",) * 4),
        # The filters behind the limit are not even read.
        mqtt.Subscribe(5, (("a", 0), ("a", 0), ("a", 0), ("#/#", 0))),
    ):
        client = connected(gateway)
        client.send(packet)
        assert client.closed
        assert client.calls == [ENDED]
    client = connected(gateway)
    assert subscribe(client, *((f"{n}", 0) for n in range(3))) == []
    assert not client.closed


@pytest.mark.parametrize(
    "packets",
    [
        [mqtt.Subscribe(n, tuple((f"$share/{m}", 0) for m in range(100))) for n in range(1, 13)],
        [mqtt.Unsubscribe(n, tuple(f"+/{m}" for m in range(100))) for n in range(1, 13)],
    ],
)
def test_packets_of_many_filters_are_work_of_several_turns(packets):
    """12,000 filters in twelve UNSUBSCRIBEs were once handled in one turn."""
    client = connected()
    client.session.connection.budget = 2 * 100 * FILTER
    answers = client.answers(*packets)
    assert len(answers) == 2
    assert len(client.session.connection.backlog) == 1
