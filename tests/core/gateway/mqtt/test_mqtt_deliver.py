"""Deliveries to MQTT clients: PUBLISH, its acknowledgements, the window (MQTT 3.3, 4.3, 4.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_gateway import FakeGateway, connected, event

from fox_shard.config import Mqtt
from fox_shard.documents.payloads import CBOR, JSON, NONE, RAW
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import decode
from fox_shard.gateway.mqtt.event_encoder import MqttEventEncoder, event_encoder_of
from fox_shard.gateway.mqtt.framing import PUBACKS_AT_ONCE, Splitter, pubacks

ENDED = ("session_ended", False)


def deliver(client, *events, granted_qos=2):
    for one in events:
        client.session.deliver(one, granted_qos)
    return client.received()


def read(data):
    [(header, body)] = Splitter().feed(data)
    return decode(header, body, 4)


@pytest.mark.parametrize("size", [0, 1, 119, 120, 121, 16_000, 17_000, 70_000])
def test_an_event_is_one_packet_whatever_its_size(size):
    encoder = MqttEventEncoder(None)
    one = event("a.b/c", bytes(size), 0)
    assert read(encoder.event(one, None)) == mqtt.Publish("a/b.c", bytes(size))
    assert read(encoder.retained(one)) == mqtt.Publish("a/b.c", bytes(size), retain=True)
    head, payload = encoder.parts(one, 0x34)
    assert read(head + b"\0\7" + payload) == mqtt.Publish("a/b.c", bytes(size), 2, 7)


def test_events_are_framed_for_the_transport_and_encoders_are_shared():
    def frame(chunk):
        return b"<" + chunk

    assert event_encoder_of(frame) is event_encoder_of(frame)
    assert event_encoder_of(frame) is not event_encoder_of(None)
    encoder = event_encoder_of(frame)
    assert encoder.event(event("a", b"x", 0), None) == b"<\x30\x04\0\1ax"
    assert encoder.retained(event("a", b"x", 0)) == b"<\x31\x04\0\1ax"
    client = connected(frame=frame)
    assert client.session.encoder is encoder
    client.connection.out.clear()
    client.session.deliver(event("a", b"x", 1), 1)
    assert client.connection.out == [b"<\x32\x06\0\1a\0\1x"]


@pytest.mark.parametrize(
    ("encoding", "args", "kwargs", "payload"),
    [
        (NONE, b"", b"", b""),
        (JSON, b'["x"]', b"", b'"x"'),
        (JSON, b"", b'{"k":1}', b'{"k":1}'),
        (CBOR, b"\x81\x42\x00\xff", b"", b"\x00\xff"),
    ],
)
def test_events_of_wamp_publishers_are_translated(encoding, args, kwargs, payload):
    one = event("a", args, 0, 0, encoding, kwargs)
    assert read(MqttEventEncoder(None).event(one, None)).payload == payload


def test_an_event_too_large_for_mqtt_is_left_out(monkeypatch):
    # MQTT 2.2.3; an event beyond the real limit would need 256 MiB.
    monkeypatch.setattr("fox_shard.gateway.mqtt.event_encoder.MAX_REMAINING_LENGTH", 200)
    encoder = MqttEventEncoder(None)
    fits, too_large = event("a", bytes(195)), event("a", bytes(198))
    assert encoder.event(fits, None)
    assert encoder.retained(fits)
    assert all(encoder.parts(fits, 0x32))
    assert encoder.event(too_large, None) == encoder.retained(too_large) == b""
    assert encoder.events([too_large, fits], None) == [encoder.event(fits, None)]
    assert encoder.parts(too_large, 0x32) == (b"", b"")


def test_an_event_that_mqtt_cannot_express_is_left_out():
    encoder = MqttEventEncoder(None)
    assert encoder.event(event("a", b"\xff", 0, 0, CBOR), None) == b""
    client = connected()
    assert deliver(client, event("a", b"\xff", 1, 0, CBOR), event("b")) == [
        mqtt.Publish("b", b"x", 1, 1)
    ]


def test_the_number_of_cached_topics_is_bounded():
    encoder = MqttEventEncoder(None)
    for number in range(45_000):
        assert encoder.event(event(f"t.{number}", b"", 0), None)[4:] == f"t/{number}".encode()
    assert len(encoder._topics) <= 20_000


@pytest.mark.parametrize(
    ("published", "granted_qos", "sent"), [(1, 1, 1), (2, 1, 1), (1, 2, 1), (2, 2, 2), (0, 2, 0)]
)
def test_the_lower_quality_of_service_counts(published, granted_qos, sent):
    # [MQTT-3.8.4-6]
    packets = deliver(connected(), event("a.b", b"x", published), granted_qos=granted_qos)
    assert packets == [mqtt.Publish("a/b", b"x", sent, 1 if sent else 0, dup=False)]


def test_the_cached_parts_of_an_event_are_never_sent_for_another():
    gateway = FakeGateway()
    one, two = connected(gateway), connected(gateway)
    first, second = event("a", b"1"), event("a", b"2", 2)
    assert deliver(one, first)[0].payload == deliver(two, first)[0].payload == b"1"
    assert deliver(one, second, granted_qos=1) == [mqtt.Publish("a", b"2", 1, 2)]
    assert deliver(two, second, granted_qos=2) == [mqtt.Publish("a", b"2", 2, 2)]
    assert deliver(one, first) == [mqtt.Publish("a", b"1", 1, 3)]


def test_events_beyond_the_window_wait_for_acknowledgements_in_order():
    # [MQTT-4.6.0-5]; the window is 3.
    client = connected()
    packets = deliver(client, *(event("a", b"%d" % n) for n in range(6)))
    assert [p.payload for p in packets] == [b"0", b"1", b"2"]
    assert [p.payload for p in client.answers(mqtt.Puback(2))] == [b"3"]
    more = client.answers(mqtt.Puback(1), mqtt.Puback(3), mqtt.Puback(4))
    assert [p.payload for p in more] == [b"4", b"5"]


def test_a_delivery_of_quality_of_service_2_ends_with_pubcomp():
    # MQTT 4.3.3; an identifier is in use until PUBCOMP [MQTT-2.3.1-4].
    client = connected()
    client.gateway.mqtt = Mqtt(max_inflight=1)
    assert deliver(client, event("a", b"1", 2), event("a", b"2", 2)) == [
        mqtt.Publish("a", b"1", 2, 1)
    ]
    assert client.answers(mqtt.Pubrec(1)) == [mqtt.Pubrel(1)]
    assert client.answers(mqtt.Pubrec(1)) == [mqtt.Pubrel(1)]
    assert client.answers(mqtt.Pubcomp(1)) == [mqtt.Publish("a", b"2", 2, 2)]


def test_remaining_lengths_need_not_be_minimal():
    # MQTT 2.2.3: only MQTT 5 demands the shortest encoding.
    client = connected()
    client.gateway.mqtt = Mqtt(max_inflight=1)
    deliver(client, event("a", b"1"), event("a", b"2"))
    client.feed(b"\x40\x82\x80\x00\0\1")
    assert client.received() == [mqtt.Publish("a", b"2", 1, 2)]


def test_pubrels_go_in_the_order_of_the_pubrecs():
    # [MQTT-4.6.0-4]
    client = connected()
    deliver(client, event(qos=2), event(qos=2))
    assert client.answers(mqtt.Pubrec(2), mqtt.Pubrec(1)) == [mqtt.Pubrel(2), mqtt.Pubrel(1)]


@pytest.mark.parametrize(
    ("packet", "answers"),
    [(mqtt.Puback(99), []), (mqtt.Pubcomp(99), []), (mqtt.Pubrec(99), [mqtt.Pubrel(99)])],
)
@pytest.mark.parametrize("busy", [False, True])
def test_acknowledgements_of_unknown_identifiers_are_harmless(packet, answers, busy):
    client = connected()
    if busy:
        deliver(client, event())
    assert client.answers(packet) == answers
    assert not client.closed


@pytest.mark.parametrize(
    ("qos", "packets"),
    [
        (1, [mqtt.Pubrec(1)]),
        (1, [mqtt.Pubcomp(1)]),
        (2, [mqtt.Puback(1)]),
        (2, [mqtt.Pubcomp(1)]),
        (2, [mqtt.Pubrec(1), mqtt.Puback(1)]),
    ],
)
def test_an_acknowledgement_of_the_wrong_kind_is_a_violation(qos, packets):
    # [MQTT-4.3.2-1, MQTT-4.3.3-1]
    client = connected()
    deliver(client, event(qos=qos))
    client.send(*packets)
    assert client.closed
    assert client.calls == [ENDED]


def test_packet_identifiers_wrap_around_and_skip_those_in_use():
    # [MQTT-2.3.1-2, -4]: identifiers are 1 to 65535, and no two in use are equal.
    client = connected()
    client.gateway.mqtt = Mqtt(max_inflight=2)
    assert deliver(client, event())[0].packet_id == 1
    seen = []
    for _ in range(65_536):
        [packet] = deliver(client, event())
        seen.append(packet.packet_id)
        client.send(mqtt.Puback(packet.packet_id))
    assert seen == [*range(2, 65_536), 2, 3]


def test_a_client_that_acknowledges_nothing_is_disconnected():
    client = connected(FakeGateway(outbound_limit=1 << 12))
    payload = bytes(1000)
    deliver(client, *[event("a", payload)] * 6)
    assert not client.closed
    deliver(client, event("a", payload), event("a", payload))
    assert client.closed
    assert client.calls == [("slow",), ENDED]
    assert client.received() == []


def test_events_sent_from_the_queue_no_longer_count_as_waiting():
    client = connected(FakeGateway(outbound_limit=1 << 12))
    deliver(client, *[event("a", bytes(1000))] * 6)
    for packet_id in range(1, 40):
        client.send(mqtt.Puback(packet_id))
        deliver(client, event("a", bytes(1000)))
    assert not client.closed


def dropping():
    """Return a client with a full window and 3 of 4 KiB queued, whose events may be dropped."""
    client = connected(FakeGateway(outbound_limit=1 << 12, slow_consumer="drop"))
    deliver(client, *[event("a", bytes(1000))] * 6)
    return client


def test_where_events_are_dropped_the_queue_has_room_for_events_at_qos_0_up_to_the_limit():
    client = dropping()
    deliver(client, event("a", b"small", 0))
    for size in (1000, 10_000):
        deliver(client, event("a", bytes(size), 0))
    assert client.session.realm.dropped_events == 2
    assert not client.closed
    for packet_id in (1, 2, 3):
        client.send(mqtt.Puback(packet_id))
    *_, last = client.received()
    assert last == mqtt.Publish("a", b"small", 0)
    assert deliver(client, event("a", bytes(10_000), 0))
    assert client.session.realm.dropped_events == 2


def test_where_events_are_dropped_those_at_qos_1_may_have_twice_the_limit():
    client = dropping()
    deliver(client, *[event("a", bytes(1000), 0)] * 10)
    deliver(client, *[event("a", bytes(1000))] * 4)
    assert not client.closed
    deliver(client, event("a", bytes(1000)))
    assert client.closed
    assert client.calls == [("slow",), ENDED]


def test_an_idle_session_keeps_no_state_in_flight():
    client = connected()
    deliver(client, event())
    client.send(mqtt.Pingreq())
    assert client.session.outbound is not None
    client.send(mqtt.Puback(1), mqtt.Pingreq())
    assert client.session.outbound is None


@given(st.data())
def test_every_event_arrives_once_in_order_whenever_the_client_acknowledges(data):
    client = connected()
    sent = data.draw(st.lists(st.sampled_from([1, 2]), max_size=15))
    events = [event("a", b"%d" % n, qos) for n, qos in enumerate(sent)]
    due, arrived = [], []
    while events or due:
        if events and (not due or data.draw(st.booleans())):
            packets = deliver(client, events.pop(0))
        else:
            packets = client.answers(due.pop(data.draw(st.integers(0, len(due) - 1))))
        for packet in packets:
            match packet:
                case mqtt.Publish(_, payload, 1, packet_id):
                    arrived.append(payload)
                    due.append(mqtt.Puback(packet_id))
                case mqtt.Publish(_, payload, 2, packet_id):
                    arrived.append(payload)
                    due.append(mqtt.Pubrec(packet_id))
                case mqtt.Pubrel(packet_id):
                    due.append(mqtt.Pubcomp(packet_id))
        assert len(due) <= 3, "the window"
    assert arrived == [b"%d" % n for n in range(len(sent))]


RUNS = st.lists(
    st.sampled_from(
        [(b"x", RAW), (b"yy", RAW), (bytes(130), RAW), (b"\x61x", CBOR), (b"\xff", CBOR)]
    ),
    min_size=1,
    max_size=6,
)


@given(
    runs=st.lists(RUNS, max_size=4),
    quality=st.integers(0, 2),
    window=st.integers(1, 20),
    last_id=st.sampled_from([0, 3, 0xFFFC]),
    confirmed=st.sets(st.integers(1, 24)),
    framed=st.booleans(),
)
def test_a_run_is_delivered_like_its_events_one_by_one(
    runs, quality, window, last_id, confirmed, framed
):
    sent = []
    for at_once in (False, True):
        client = connected(frame=(lambda chunk: b"<" + chunk) if framed else None)
        client.connection.out.clear()
        client.gateway.mqtt = Mqtt(max_inflight=window)
        client.session.begin_outbound()._last_id = last_id
        for run in runs:
            events = [event("a.b", args, quality, 0, encoding) for args, encoding in run]
            if at_once:
                client.session.deliver_all(events, 2)
            else:
                for one in events:
                    client.session.deliver(one, 2)
            if quality == 1:
                for packet_id in sorted(confirmed):
                    client.send(mqtt.Puback(packet_id))
        sent.append(b"".join(client.connection.out))
        assert len(client.session.outbound._inflight) <= window
    assert sent[0] == sent[1]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.integers(0, 300),
    st.sampled_from([b"", b"\x40", b"\x40\2\0", b"\xc0\0", b"\x40\3\0\1", b"\x50\2\0\1"]),
)
def test_consecutive_pubacks_are_read_at_once(packet_ids, more, behind):
    packet_ids = [*packet_ids, *range(10, 10 + more)]
    data = b"?" + b"".join(b"\x40\2" + n.to_bytes(2, "big") for n in packet_ids)
    assert [*pubacks(data + behind, 1)] == packet_ids[:PUBACKS_AT_ONCE]


def test_a_run_of_pubacks_releases_waiting_events_and_may_be_a_violation():
    client = connected()
    deliver(client, *(event("a", b"%d" % n) for n in range(7)))
    packets = client.answers(mqtt.Puback(1), mqtt.Puback(9), mqtt.Puback(3), mqtt.Puback(2))
    assert [packet.payload for packet in packets] == [b"3", b"4", b"5"]
    deliver(client, event("a", b"7", 2))
    client.feed(b"\x40\2\0\4\x40\2\0\0")
    assert client.closed
    client = connected()
    deliver(client, event(qos=1), event(qos=2))
    client.send(mqtt.Puback(1), mqtt.Puback(2))
    assert client.closed
