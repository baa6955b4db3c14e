"""Publishes of MQTT clients: PUBLISH and its acknowledgements, inbound (MQTT 3.3, 4.3, 4.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_gateway import Client, FakeGateway, connected

from fox_shard.backplane.frames import ACKNOWLEDGE, EMPTY, QOS1, QOS2, RETAIN
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import encode

ASSURED = ACKNOWLEDGE | QOS1
ONCE = ACKNOWLEDGE | QOS2
ENDED = ("session_ended", False)


def topics_of(calls):
    return [call[1] for call in calls if call[0] == "publish"]


@pytest.mark.parametrize(
    ("packet", "call", "source"),
    [
        (mqtt.Publish("a/b", b"x"), ("a.b", 0, 0, b"x"), "MQTT 4.3.1"),
        (mqtt.Publish("a/b", b"x", retain=True), ("a.b", RETAIN, 0, b"x"), "MQTT-3.3.1-5"),
        (mqtt.Publish("a/b", b""), ("a.b", EMPTY, 0, b""), "a payload of zero bytes is empty"),
        (mqtt.Publish("a/b", b"", retain=True), ("a.b", RETAIN | EMPTY, 0, b""), "MQTT-3.3.1-10"),
        (mqtt.Publish("a/b", b"x", 1, 9), ("a.b", ASSURED, 1, b"x"), "MQTT 4.3.2"),
        (mqtt.Publish("a/b", b"x", 1, 9, dup=True), ("a.b", ASSURED, 1, b"x"), "MQTT-3.3.1-3"),
        (
            mqtt.Publish("a/b", b"", 1, 9, retain=True),
            ("a.b", ASSURED | RETAIN | EMPTY, 1, b""),
            "MQTT-3.3.1-10",
        ),
        (mqtt.Publish("a/b", b"x", 2, 9), ("a.b", ONCE, 1, b"x"), "MQTT 4.3.3"),
        (
            mqtt.Publish("a/b", b"x", 2, 9, retain=True, dup=True),
            ("a.b", ONCE | RETAIN, 1, b"x"),
            "MQTT-3.3.1-3",
        ),
        (mqtt.Publish("a.b/c", b"x"), ("a/b.c", 0, 0, b"x"), "the swap is a bijection"),
        (mqtt.Publish("/", b"x"), (".", 0, 0, b"x"), "MQTT 4.7.1.1: empty levels"),
        (mqtt.Publish("fromb/qos 0", b"x"), ("fromb.qos 0", 0, 0, b"x"), "MQTT 4.7.3: spaces"),
        (mqtt.Publish("foxes/x", b"x"), ("foxes.x", 0, 0, b"x"), "not reserved"),
        (mqtt.Publish("a/$b", b"x"), ("a.$b", 0, 0, b"x"), "not reserved"),
        (mqtt.Publish("\ufeffa", b"x"), ("\ufeffa", 0, 0, b"x"), "MQTT-1.5.3-3"),
        (mqtt.Publish("a/b", bytes(70_000)), ("a.b", 0, 0, bytes(70_000)), "MQTT 2.2.3"),
        (mqtt.Publish("a" * 300, bytes(200)), ("a" * 300, 0, 0, bytes(200)), "MQTT 2.2.3"),
    ],
)
def test_a_publish_goes_to_the_gateway(packet, call, source):
    client = connected()
    for _ in range(2):  # the second publish finds its route in the cache
        client.feed(encode(packet))
        assert client.calls[0][1:] == call
        client = connected(client.gateway)


@pytest.mark.parametrize("next_", [mqtt.Publish("a/c", b"2", 1, 2), mqtt.Pingreq()])
def test_what_was_read_is_handled_although_the_connection_is_not_read_any_more(next_):
    """So it is if the shard of the first publish is down, which may last long."""
    client = connected()
    publish = client.gateway.publish

    def pausing(*args):
        publish(*args)
        client.connection.pause(paused=True)

    client.gateway.publish = pausing
    client.send(mqtt.Publish("a/b", b"1", 1, 1), next_, mqtt.Publish("a/d", b"3", 1, 3))
    assert topics_of(client.calls) == ["a.b", *["a.c"] * isinstance(next_, mqtt.Publish), "a.d"]


def test_mqtt_3_1_clients_may_set_dup_at_quality_of_service_0():
    client = connected(level=3)
    client.send(mqtt.Publish("a/b", b"x", dup=True), mqtt.Publish("fox/b", b"x", dup=True))
    assert client.calls == [("publish", "a.b", 0, 0, b"x")]
    assert client.gateway.dropped == 1


def test_puback_waits_until_the_publish_is_safe():
    # [MQTT-4.3.2-2]
    client = connected()
    assert client.answers(mqtt.Publish("a", b"x", 1, 77)) == []
    assert client.confirm(1) == [mqtt.Puback(77)]
    assert client.confirm(1, 2, 9) == [], "nothing else was asked for"


@pytest.mark.parametrize(
    ("qos", "answer", "source"),
    [(1, mqtt.Puback, "MQTT-4.6.0-2"), (2, mqtt.Pubrec, "MQTT-4.6.0-3")],
)
@given(order=st.permutations(range(1, 9)))
def test_acknowledgements_come_in_the_order_of_the_publishes(qos, answer, source, order):
    client = connected()
    ids = [40, 7, 65535, 1, 3, 2, 500, 8]
    client.send(*(mqtt.Publish("a", b"x", qos, packet_id) for packet_id in ids))
    answers = []
    for count, request in enumerate(order, 1):
        answers += client.confirm(request)
        # Each acknowledgement is sent as soon as all earlier ones have been.
        ready = next(n for n in range(9) if n + 1 not in order[:count])
        assert answers == [answer(packet_id) for packet_id in ids[:ready]]
    assert len(answers) == 8


def test_a_repeated_confirmation_acknowledges_no_other_publish():
    """A restarted shard may confirm a publish once more."""
    client = connected()
    client.send(mqtt.Publish("a", b"x", 1, 5))
    assert client.confirm(1) == [mqtt.Puback(5)]
    assert client.answers(mqtt.Pingreq()) == [mqtt.Pingresp()]
    client.send(mqtt.Publish("a", b"x", 1, 6))
    assert client.confirm(1) == []
    assert client.confirm(2) == [mqtt.Puback(6)]


def test_acknowledgements_of_both_kinds_keep_the_order_of_the_publishes():
    client = connected()
    client.send(mqtt.Publish("a", b"x", 1, 5), mqtt.Publish("a", b"x", 2, 5))
    assert client.confirm(2) == []
    assert client.confirm(1) == [mqtt.Puback(5), mqtt.Pubrec(5)]


def test_a_publish_of_quality_of_service_2_ends_with_pubcomp():
    # MQTT 4.3.3: methods A and B look the same to the client.
    client = connected()
    assert client.answers(mqtt.Publish("a", b"x", 2, 9)) == []
    assert client.confirm(1) == [mqtt.Pubrec(9)]
    assert client.answers(mqtt.Pubrel(9)) == [mqtt.Pubcomp(9)]
    assert topics_of(client.calls) == ["a"]
    # The identifier is free again.
    client.send(mqtt.Publish("b", b"x", 2, 9))
    assert topics_of(client.calls) == ["b"]


def test_a_repeated_publish_of_quality_of_service_2_is_not_published_again():
    # [MQTT-4.3.3-2]
    client = connected()
    again = mqtt.Publish("a", b"x", 2, 9, dup=True)
    client.send(mqtt.Publish("a", b"x", 2, 9))
    assert client.answers(again) == [], "no PUBREC before the first one is safe"
    assert client.confirm(1) == [mqtt.Pubrec(9), mqtt.Pubrec(9)]
    assert client.answers(again) == [mqtt.Pubrec(9)]
    assert topics_of(client.calls) == ["a"]
    assert client.answers(mqtt.Pubrel(9), mqtt.Pubrel(9)) == [mqtt.Pubcomp(9), mqtt.Pubcomp(9)]


def test_a_repeated_publish_to_a_reserved_topic_is_answered_again():
    client = connected()
    packets = [mqtt.Publish("fox/a", b"x", 2, 9), mqtt.Publish("fox/a", b"x", 2, 9)]
    assert client.answers(*packets) == [mqtt.Pubrec(9), mqtt.Pubrec(9)]
    assert client.calls == []
    assert client.gateway.dropped == 2


def test_a_pubrel_of_an_unknown_identifier_is_completed():
    # MQTT 4.4: a client that has reconnected sends PUBREL again.
    client = connected()
    assert client.answers(mqtt.Pubrel(4711)) == [mqtt.Pubcomp(4711)]


def test_an_mqtt_3_1_client_may_set_dup_in_pubrel():
    client = connected(level=3)
    client.feed(b"\x6a\x02\x12\x34")
    assert client.received() == [mqtt.Pubcomp(0x1234)]


@pytest.mark.parametrize("topic", ["$SYS/x", "$x", "$share/g/x", "wamp/x", "fox", "fox/a", "wamp"])
@pytest.mark.parametrize(
    ("qos", "answers"), [(0, []), (1, [mqtt.Puback(3)]), (2, [mqtt.Pubrec(3)])]
)
def test_publishes_to_reserved_topics_are_dropped_counted_and_acknowledged(topic, qos, answers):
    client = connected()
    assert client.answers(mqtt.Publish(topic, b"x", qos, qos and 3)) == answers
    assert client.calls == []
    assert client.gateway.dropped == 1
    assert not client.closed


def test_a_dropped_publish_keeps_its_place_among_the_acknowledgements():
    # [MQTT-4.6.0-2]
    client = connected()
    client.send(mqtt.Publish("a", b"x", 1, 1), mqtt.Publish("fox/a", b"x", 1, 2))
    assert client.received() == []
    assert client.confirm(1) == [mqtt.Puback(1), mqtt.Puback(2)]


def test_publishes_before_a_violation_take_effect():
    client = connected()
    client.send(mqtt.Publish("a", b"x", 1, 1), mqtt.Publish("a", b"y", 1, 2))
    client.feed(encode(mqtt.Publish("a", b"z", 1, 3)) + b"\x32\5\0\1a\0\0")
    assert [call[-2:] for call in client.calls[:-1]] == [(1, b"x"), (2, b"y"), (3, b"z")]
    assert client.closed


def test_a_publish_with_a_topic_beyond_the_limit_is_dropped():
    client = connected(FakeGateway(topic_length=64))
    client.send(mqtt.Publish("a" * 64, b"x"), mqtt.Publish("a" * 65, b"x"))
    assert topics_of(client.calls) == ["a" * 64]
    assert client.gateway.dropped == 1


@pytest.mark.parametrize(
    "uri", ["wamp.error.not_authorized", "fox.error.condition_failed", "wamp.error.invalid_uri"]
)
def test_a_refused_publish_is_acknowledged_because_mqtt_3_1_1_cannot_refuse(uri):
    # MQTT 3.3.5: "it MUST make a positive acknowledgement … or close the Network Connection"
    client = connected()
    client.send(mqtt.Publish("a", b"x", 1, 1), mqtt.Publish("a", b"x", 2, 2))
    assert client.refuse(1, uri) == [mqtt.Puback(1)]
    assert client.refuse(2, uri) == [mqtt.Pubrec(2)]
    assert client.gateway.dropped == 2


@pytest.mark.parametrize(
    "uri", ["fox.error.queue_full", "fox.error.unavailable_store", "wamp.error.unavailable"]
)
def test_a_publish_that_may_succeed_later_ends_the_connection(uri):
    client = connected()
    client.send(mqtt.Publish("a", b"x", 1, 1))
    client.calls.clear()
    assert client.refuse(1, uri) == []
    assert client.closed
    assert client.calls == [ENDED]


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (b"\x30\x04\0\1+x", "MQTT-3.3.2-2"),
        (b"\x32\x06\0\1#\0\1x", "MQTT-3.3.2-2"),
        (b"\x34\x08\0\3a/#\0\1x", "MQTT-3.3.2-2"),
        (b"\x30\x02\0\0", "MQTT-4.7.3-1"),
        (b"\x30\x03\0\0x", "MQTT-4.7.3-1"),
        (b"\x30\x01\0", "MQTT 3.3.2"),
        (b"\x30\x00", "MQTT 3.3.2"),
        (b"\x30\x04\0\2a\0", "MQTT-4.7.3-2"),
        (b"\x30\x04\0\2\xc3\x28", "MQTT-3.3.2-1"),
        (b"\x30\x05\0\3\xed\xa0\x80", "MQTT-1.5.3-1"),
        (b"\x30\x04\0\3ab", "the topic is longer than the packet"),
        (b"\x30\x04\0\3ab\x30\x04\0\3ab", "the topic is longer than the packet, not than the data"),
        (b"\x32\x04\0\1a\0\xc0\0", "half a packet identifier"),
        (b"\x32\x03\0\1a\xc0\0", "no packet identifier"),
        (b"\x32\x05\0\1a\0\0", "MQTT-2.3.1-1"),
        (b"\x34\x05\0\1a\0\0", "MQTT-2.3.1-1"),
        (b"\x36\x05\0\1a\0\1", "MQTT-3.3.1-4"),
        (b"\x3e\x05\0\1a\0\1", "MQTT-3.3.1-4"),
        (b"\x38\x03\0\1a", "MQTT-3.3.1-2"),
        (b"\x62\x02\0\0", "MQTT-2.3.1-1"),
        (b"\x60\x02\0\1", "MQTT-3.6.1-1"),
        (b"\x62\x01\0", "MQTT 3.6.2"),
        (b"\x20\x02\0\0", "CONNACK is the server's"),
        (b"\x90\x03\0\1\0", "SUBACK is the server's"),
        (b"\xb0\x02\0\1", "UNSUBACK is the server's"),
        (b"\xd0\x00", "PINGRESP is the server's"),
        (b"\x00\x00", "MQTT 2.2.1"),
        (b"\xf0\x00", "MQTT 2.2.1"),
        (b"\xc1\x00", "MQTT-2.2.2-2"),
        (b"\x30\xff\xff\xff\xff\x01", "MQTT 2.2.3"),
        (b"\x30\xff\xff\xff\x7f", "beyond max_message_size"),
    ],
)
def test_a_violation_closes_the_connection_without_an_answer(data, source):
    # [MQTT-4.8.0-1]; the will is published [MQTT-3.1.2-8].
    client = connected()
    client.feed(encode(mqtt.Publish("a", b"before")) + data + encode(mqtt.Publish("a", b"after")))
    assert client.closed
    assert client.received() == []
    assert client.calls == [("publish", "a", 0, 0, b"before"), ENDED]


def test_a_packet_of_the_maximum_size_may_come_in_pieces():
    limit = 1 << 16
    client = connected(FakeGateway(max_message_size=limit))
    packet = encode(mqtt.Publish("a", bytes(limit - 3)))
    for start in range(0, len(packet), 5000):
        client.feed(packet[start : start + 5000])
    assert client.calls == [("publish", "a", 0, 0, bytes(limit - 3))]
    client.feed(encode(mqtt.Publish("a", bytes(limit - 2))))
    assert client.closed


PACKETS = st.one_of(
    st.builds(
        mqtt.Publish,
        st.sampled_from(["a", "a/b", "fox/x", "x" * 150]),
        st.one_of(st.sampled_from([b"x", b"y", b""]), st.binary(max_size=20)),
        st.just(0),
        retain=st.booleans(),
    ),
    st.builds(
        mqtt.Publish,
        st.sampled_from(["a", "a/b"]),
        st.one_of(st.sampled_from([b"x", b"y", b""]), st.binary(max_size=200)),
        st.integers(1, 2),
        st.integers(1, 9),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(mqtt.Pubrel, st.integers(1, 9)),
    st.just(mqtt.Pingreq()),
)


@given(st.lists(PACKETS, max_size=12), st.data())
def test_packets_read_together_have_the_effects_of_packets_read_one_by_one(packets, data):
    slow, fast = connected(), connected()
    for packet in packets:
        slow.send(packet)
    stream = b"".join(encode(packet) for packet in packets)
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        fast.feed(stream[:cut])
        stream = stream[cut:]
    assert fast.received() == slow.received()
    assert fast.calls == slow.calls
    assert fast.gateway.dropped == slow.gateway.dropped


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6))
def test_any_bytes_close_the_connection_exactly_if_they_end_the_session(chunks):
    client = connected()
    for chunk in chunks:
        client.feed(chunk)
    assert client.closed == (
        ENDED in client.gateway.calls or ("session_ended", True) in client.gateway.calls
    )


def test_an_idle_session_keeps_no_state_in_flight():
    client = connected()
    client.send(mqtt.Publish("a", b"x", 2, 9))
    client.confirm(1)
    assert client.answers(mqtt.Pingreq()) == [mqtt.Pingresp()]
    assert client.answers(mqtt.Publish("a", b"x", 2, 9, dup=True)) == [mqtt.Pubrec(9)]
    client.send(mqtt.Pubrel(9), mqtt.Pingreq())
    assert client.session.inbound is None
    assert client.reader._partial is None


def test_answers_are_framed_for_the_transport():
    def frame(chunk):
        return b"<" + chunk + b">"

    client = Client(FakeGateway(), frame)
    client.send(mqtt.Connect(client_id="c"))
    assert client.calls == [("session_opened", "realm1", "mqtt.3.1.1", "websocket", "c")]
    client.send(mqtt.Publish("a", b"x", 1, 1), mqtt.Pingreq())
    client.session.published([1], [1])
    assert client.connection.out == [b"<\x20\x02\0\0>", b"<\xd0\0>", b"<\x40\x02\0\1>"]


def test_a_publish_to_a_topic_with_too_many_levels_is_acknowledged_and_dropped():
    client = connected(FakeGateway(topic_components=8))
    publish = mqtt.Publish("/".join("a" * 9), b"x", 1, 5)
    assert client.answers(publish) == [mqtt.Puback(5)]
    assert client.calls == []
    assert client.gateway.dropped == 1


class RunCounter(FakeGateway):
    """A gateway that notes how many PUBLISHes it is handed at once."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def publish_all(self, session, route, flags, request, encoding, payloads):
        self.runs.append(len(payloads))
        super().publish_all(session, route, flags, request, encoding, payloads)


@pytest.mark.parametrize(
    ("qos", "retain", "longest"),
    [(0, False, 600), (0, True, 64), (1, False, 256), (1, True, 64), (2, False, 256)],
)
def test_runs_that_cost_a_shard_much_are_short(qos, retain, longest):
    """A shard may have no room for the rest, which then has to wait."""
    client = connected(RunCounter())
    client.send(*(mqtt.Publish("a/b", b"x", qos, n if qos else 0, retain) for n in range(1, 601)))
    assert sum(client.gateway.runs) == 600
    assert max(client.gateway.runs) == longest
    assert [call[3] for call in client.calls] == [n if qos else 0 for n in range(1, 601)]
