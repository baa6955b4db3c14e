"""CONNECT, keep-alive and the end of an MQTT session (MQTT 3.1, 3.14, 4.8)."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_gateway import Client, FakeGateway, connected

from fox_shard.backplane.frames import EMPTY, QOS1, QOS2, RETAIN
from fox_shard.deadline import NEVER
from fox_shard.documents.payloads import RAW
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import encode
from fox_shard.gateway.sessions.router import Router

ENDED = ("session_ended", False)


@pytest.mark.parametrize(
    "name",
    [
        "session_opened",
        "session_ended",
        "publish",
        "publish_all",
        "unsubscribe",
        "slow",
        "set_will",
        "subscribe",
    ],
)
def test_the_fake_gateway_has_the_signatures_of_router(name):
    def shape(function):
        parameters = inspect.signature(function).parameters.values()
        return [(one.name, one.kind, one.default) for one in parameters]

    assert shape(getattr(FakeGateway, name)) == shape(getattr(Router, name))


@pytest.mark.parametrize(
    ("connect", "attached", "source"),
    [
        (mqtt.Connect(client_id="c"), ("realm1", "mqtt.3.1.1", "tcp", "c"), "MQTT-3.1.4-4"),
        (mqtt.Connect(level=3, client_id="c"), ("realm1", "mqtt.3.1", "tcp", "c"), "MQTT 3.1"),
        (
            mqtt.Connect(level=3, client_id="c" * 24),
            ("realm1", "mqtt.3.1", "tcp", "c" * 24),
            "more than MQTT 3.1's 23 characters",
        ),
        (mqtt.Connect(), ("realm1", "mqtt.3.1.1", "tcp", ""), "MQTT-3.1.3-6"),
        (
            mqtt.Connect(client_id="c", clean_session=False),
            ("realm1", "mqtt.3.1.1", "tcp", "c"),
            "taken as a clean session",
        ),
        (
            mqtt.Connect(client_id="c", user_name="me"),
            ("realm1", "mqtt.3.1.1", "tcp", "c"),
            "no realm named",
        ),
        (
            mqtt.Connect(client_id="c", user_name="me@other", password=b"\0\xff"),
            ("other", "mqtt.3.1.1", "tcp", "c"),
            "user@realm",
        ),
        (
            mqtt.Connect(client_id="c", user_name="me@home@other"),
            ("other", "mqtt.3.1.1", "tcp", "c"),
            "the last @ counts",
        ),
    ],
)
def test_connect_is_accepted_without_session_present(connect, attached, source):
    client = Client()
    assert client.answers(connect) == [mqtt.Connack(mqtt.ACCEPTED, session_present=False)]
    assert client.calls == [("session_opened", *attached)]
    assert not client.closed


@pytest.mark.parametrize(
    ("connect", "code", "source"),
    [
        (mqtt.Connect(clean_session=False), mqtt.IDENTIFIER_REJECTED, "MQTT-3.1.3-8"),
        (mqtt.Connect(level=3), mqtt.IDENTIFIER_REJECTED, "MQTT 3.1, section 3.1"),
        (
            mqtt.Connect(client_id="c", user_name="me@nowhere"),
            mqtt.NOT_AUTHORIZED,
            "MQTT 3.2.2.3",
        ),
        (mqtt.Connect(client_id="c", user_name="me@"), mqtt.NOT_AUTHORIZED, "MQTT 3.2.2.3"),
    ],
)
def test_connect_is_refused_with_a_return_code(connect, code, source):
    client = Client()
    # Packets after a refused CONNECT are not processed [MQTT-3.1.4-5].
    assert client.answers(connect, mqtt.Publish("a", b"x")) == [mqtt.Connack(code)]
    assert client.closed
    assert client.calls == []


def test_an_mqtt_5_client_is_told_that_its_level_is_unacceptable():
    # [MQTT-3.1.2-2]
    client = Client().feed(b"\x10\x10\0\4MQTT\5\2\0\0\0\0\3abc")
    assert client.received() == [mqtt.Connack(mqtt.UNACCEPTABLE_PROTOCOL_VERSION)]
    assert client.closed


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (encode(mqtt.Pingreq()), "MQTT-3.1.0-1"),
        (encode(mqtt.Publish("a", b"x")), "MQTT-3.1.0-1"),
        (b"\x30", "MQTT-3.1.0-1, before the packet is complete"),
        (b"GET / HTTP/1.1\r\n\r\n", "another protocol"),
        (b"\x10\x0e\0\2hj\4\2\0\0\0\4abcd", "MQTT-3.1.2-1"),
        (b"\x10\xff\xff\xff\x7f", "a CONNECT can not be that large"),
        (encode(mqtt.Connect(client_id="c", will=mqtt.Will("a/+", b""))), "will topic, MQTT 4.7.1"),
        (encode(mqtt.Connect(client_id="c", will=mqtt.Will("", b""))), "MQTT-4.7.3-1"),
    ],
)
def test_a_connection_without_a_proper_connect_is_closed_without_an_answer(data, source):
    client = Client().feed(data)
    assert client.closed
    assert client.received() == []
    assert client.calls == []


def test_a_second_connect_is_a_violation():
    # [MQTT-3.1.0-2]
    client = connected()
    assert client.answers(mqtt.Connect(client_id="c")) == []
    assert client.closed
    assert client.calls == [ENDED]


def test_a_connect_may_come_byte_by_byte_with_other_packets_behind_it():
    client = Client()
    packets = (mqtt.Connect(client_id="c"), mqtt.Publish("a/b", b"x"), mqtt.Pingreq())
    for byte in b"".join(encode(packet) for packet in packets):
        client.feed(bytes((byte,)))
    assert client.received() == [mqtt.Connack(mqtt.ACCEPTED), mqtt.Pingresp()]
    assert client.calls[1:] == [("publish", "a.b", 0, 0, b"x")]


def test_packets_behind_the_connect_are_processed_at_once():
    # MQTT 3.1.4: clients need not wait for the CONNACK.
    client = Client()
    answers = client.answers(mqtt.Connect(client_id="c"), mqtt.Publish("a/b", b"x"), mqtt.Pingreq())
    assert answers == [mqtt.Connack(mqtt.ACCEPTED), mqtt.Pingresp()]
    assert client.calls[1:] == [("publish", "a.b", 0, 0, b"x")]


def test_a_client_that_never_connects_is_cut_off():
    gateway = FakeGateway(handshake_timeout=5.0)
    slow, quick = Client(gateway), Client(gateway)
    slow.feed(b"\x10")
    quick.send(mqtt.Connect(client_id="c"))
    gateway.advance(4.9)
    assert not slow.closed
    gateway.advance(0.2)
    assert slow.closed
    assert not quick.closed


@pytest.mark.parametrize(
    ("will", "call", "source"),
    [
        (mqtt.Will("a/b", b"x"), ("a.b", 0, b"x"), "MQTT-3.1.2-8"),
        (mqtt.Will("a/b", b"x", 1), ("a.b", QOS1, b"x"), "MQTT 3.1.2.6"),
        (mqtt.Will("a/b", b"x", 2, retain=True), ("a.b", QOS2 | RETAIN, b"x"), "MQTT-3.1.2-17"),
        (mqtt.Will("a/b", b"", 0, retain=True), ("a.b", RETAIN | EMPTY, b""), "MQTT 3.1.3.3"),
    ],
)
def test_the_will_is_given_to_the_gateway(will, call, source):
    client = Client()
    client.send(mqtt.Connect(client_id="c", will=will))
    topic, flags, payload = call
    assert client.calls[1:] == [("will", topic, flags, RAW, payload)]


@pytest.mark.parametrize("topic", ["$SYS/x", "wamp/session/on_join", "fox/x"])
def test_a_will_on_a_reserved_topic_is_dropped(topic):
    client = Client()
    client.send(mqtt.Connect(client_id="c", will=mqtt.Will(topic, b"x")))
    assert [call[0] for call in client.calls] == ["session_opened"]
    assert client.gateway.dropped == 1


def test_disconnect_is_graceful_and_packets_after_it_are_ignored():
    # [MQTT-3.14.4-1, -3]
    client = connected()
    assert client.answers(mqtt.Disconnect(), mqtt.Pingreq(), mqtt.Publish("a", b"x")) == []
    assert client.calls == [("session_ended", True)]
    assert client.closed
    client.session.end("wamp.close.killed", "too late")
    client.reader.connection_lost(1.0)
    client.send(mqtt.Pingreq())
    assert client.calls == []


def test_a_lost_connection_is_not_graceful():
    client = connected()
    client.reader.connection_lost(1.0)
    client.reader.connection_lost(1.0)
    assert client.calls == [ENDED]


def test_a_connection_lost_before_connect_is_not_reported():
    client = Client()
    client.reader.connection_lost(1.0)
    assert client.calls == []


def test_a_session_that_the_router_ends_is_closed():
    client = connected()
    client.session.end("wamp.close.killed", "an administrator killed it")
    assert client.calls == [ENDED]
    assert client.closed
    assert client.received() == []


def test_a_transport_that_has_a_hangup_is_hung_up_instead_of_closed():
    hung_up = []
    client = Client(hangup=lambda: hung_up.append(1))
    client.send(mqtt.Connect(client_id="c"), mqtt.Disconnect())
    assert hung_up == [1]
    assert not client.closed


@pytest.mark.parametrize("keep_alive", [1, 5, 60, 0xFFFF])
def test_a_silent_client_is_cut_off_after_one_and_a_half_keep_alives(keep_alive):
    # [MQTT-3.1.2-24]
    client = connected(keep_alive=keep_alive)
    gateway = client.gateway
    gateway.advance(keep_alive)
    client.send(mqtt.Pingreq())
    gateway.advance(1.5 * keep_alive - 0.01)
    assert not client.closed
    gateway.advance(0.02)
    assert client.closed
    assert client.calls == [ENDED]


def test_a_client_without_keep_alive_may_be_silent():
    # MQTT 3.1.2.10: zero turns keep-alive off.
    client = connected(keep_alive=0)
    client.gateway.advance(1e6)
    assert not client.closed


def test_the_timers_forget_an_ended_session_soon():
    client = connected(keep_alive=0xFFFF)
    client.send(mqtt.Disconnect())
    client.gateway.advance(31)
    assert client.gateway.timers.next() == NEVER


@given(
    interval=st.integers(1, 100),
    spoke=st.floats(0, 1),
    paused_after=st.floats(0, 1),
    paused_for=st.floats(0, 10),
)
def test_keep_alive_is_suspended_while_the_client_is_not_read(
    interval, spoke, paused_after, paused_for
):
    """A client that pings every interval is never cut off, however long it is not read."""
    client = connected(keep_alive=interval)
    gateway = client.gateway
    gateway.advance(spoke * interval)
    client.send(mqtt.Pingreq())
    # The next ping comes at most an interval later, and waits in the socket during the pause.
    gateway.advance(paused_after * interval * 0.99)
    client.connection.pause(paused=True)
    gateway.advance(max(paused_for, 1 - paused_after) * interval)
    client.connection.pause(paused=False)
    client.send(mqtt.Pingreq())
    assert not client.closed


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_before_connect_close_the_connection_or_may_become_a_connect(chunks):
    client = Client()
    for chunk in chunks:
        client.feed(chunk)
    assert client.closed or b"".join(chunks)[:1] in (b"", b"\x10")
