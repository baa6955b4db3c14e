"""The MQTT codec, compared with an independent one (amqtt), and with malformed packets."""

import asyncio

import amqtt.mqtt
import pytest
from amqtt.adapters import BufferReader
from amqtt.mqtt.connect import ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.packet import MQTTFixedHeader, PacketIdVariableHeader
from amqtt.mqtt.unsubscribe import UnubscribePayload
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import ConnectRefused, decode, encode, encode_length
from fox_shard.gateway.mqtt.framing import Splitter, split

TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=40
)
TOPICS = TEXTS.filter(lambda text: "+" not in text and "#" not in text)
BYTES = st.binary(max_size=300)
IDS = st.integers(1, 0xFFFF)
QOS = st.integers(0, 2)
WILLS = st.builds(mqtt.Will, TOPICS, st.binary(min_size=1, max_size=40), QOS, st.booleans())


@st.composite
def connects(draw):
    user_name = draw(st.none() | TEXTS)
    return mqtt.Connect(
        level=draw(st.sampled_from([3, 4])),
        clean_session=draw(st.booleans()),
        keep_alive=draw(st.integers(0, 0xFFFF)),
        client_id=draw(TEXTS),
        will=draw(st.none() | WILLS),
        user_name=user_name,
        password=None if user_name is None else draw(st.none() | TEXTS.map(str.encode)),
    )


@st.composite
def publishes(draw):
    qos = draw(QOS)
    return mqtt.Publish(
        draw(TOPICS),
        draw(BYTES),
        qos,
        draw(IDS) if qos else 0,
        draw(st.booleans()),
        draw(st.booleans()) if qos else False,
    )


ACKNOWLEDGEMENTS = [mqtt.Puback, mqtt.Pubrec, mqtt.Pubrel, mqtt.Pubcomp, mqtt.Unsuback]
PACKETS = st.one_of(
    connects(),
    publishes(),
    st.builds(mqtt.Connack, st.integers(0, 5), st.booleans()),
    *(st.builds(packet, IDS) for packet in ACKNOWLEDGEMENTS),
    st.builds(
        mqtt.Subscribe, IDS, st.lists(st.tuples(TEXTS, QOS), min_size=1, max_size=5).map(tuple)
    ),
    st.builds(
        mqtt.Suback,
        IDS,
        st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=5).map(tuple),
    ),
    st.builds(mqtt.Unsubscribe, IDS, st.lists(TEXTS, min_size=1, max_size=5).map(tuple)),
    st.sampled_from([mqtt.Pingreq(), mqtt.Pingresp(), mqtt.Disconnect()]),
)

THEIRS = {
    mqtt.Connect: amqtt.mqtt.ConnectPacket,
    mqtt.Connack: amqtt.mqtt.ConnackPacket,
    mqtt.Publish: amqtt.mqtt.PublishPacket,
    mqtt.Puback: amqtt.mqtt.PubackPacket,
    mqtt.Pubrec: amqtt.mqtt.PubrecPacket,
    mqtt.Pubrel: amqtt.mqtt.PubrelPacket,
    mqtt.Pubcomp: amqtt.mqtt.PubcompPacket,
    mqtt.Subscribe: amqtt.mqtt.SubscribePacket,
    mqtt.Suback: amqtt.mqtt.SubackPacket,
    mqtt.Unsubscribe: amqtt.mqtt.UnsubscribePacket,
    mqtt.Unsuback: amqtt.mqtt.UnsubackPacket,
    mqtt.Pingreq: amqtt.mqtt.PingReqPacket,
    mqtt.Pingresp: amqtt.mqtt.PingRespPacket,
    mqtt.Disconnect: amqtt.mqtt.DisconnectPacket,
}


def read_by_amqtt(packet):
    """Encode a packet, let amqtt read it, and return the result as one of our packets."""
    kind = type(packet)
    found = asyncio.run(THEIRS[kind].from_stream(BufferReader(encode(packet))))
    if kind is mqtt.Connect:
        return _connect_of(found)
    if kind is mqtt.Connack:
        return mqtt.Connack(found.return_code, bool(found.session_parent))
    if kind is mqtt.Publish:
        return mqtt.Publish(
            found.topic_name,
            found.data,
            found.qos,
            found.packet_id or 0,
            found.retain_flag,
            found.dup_flag,
        )
    if kind is mqtt.Subscribe:
        return mqtt.Subscribe(found.variable_header.packet_id, tuple(found.payload.topics))
    if kind is mqtt.Suback:
        return mqtt.Suback(found.variable_header.packet_id, tuple(found.payload.return_codes))
    if kind is mqtt.Unsubscribe:
        return mqtt.Unsubscribe(found.variable_header.packet_id, tuple(found.payload.topics))
    return kind(found.variable_header.packet_id) if kind in ACKNOWLEDGEMENTS else kind()


def _connect_of(found):
    header, payload = found.variable_header, found.payload
    will = None
    if header.will_flag:
        will = mqtt.Will(
            payload.will_topic, payload.will_message, header.will_qos, header.will_retain_flag
        )
    password = None if payload.password is None else payload.password.encode()
    return mqtt.Connect(
        level=header.proto_level,
        clean_session=header.clean_session_flag,
        keep_alive=header.keep_alive,
        client_id=payload.client_id,
        will=will,
        user_name=payload.username,
        password=password,
    )


def written_by_amqtt(packet):
    """Return the bytes that amqtt writes for a packet."""
    match packet:
        case mqtt.Connect():
            return _connect_by_amqtt(packet)
        case mqtt.Connack():
            built = THEIRS[mqtt.Connack].build(int(packet.session_present), packet.code)
        case mqtt.Publish():
            built = THEIRS[mqtt.Publish].build(
                packet.topic,
                packet.payload,
                packet.packet_id or None,
                packet.dup,
                packet.qos,
                packet.retain,
            )
        case mqtt.Subscribe():
            built = THEIRS[mqtt.Subscribe].build(list(packet.filters), packet.packet_id)
        case mqtt.Suback():
            built = THEIRS[mqtt.Suback].build(packet.packet_id, list(packet.codes))
        case mqtt.Unsubscribe():
            built = THEIRS[mqtt.Unsubscribe](
                variable_header=PacketIdVariableHeader(packet.packet_id),
                payload=UnubscribePayload(list(packet.filters)),
            )
        case mqtt.Pingreq() | mqtt.Pingresp() | mqtt.Disconnect():
            built = THEIRS[type(packet)]()
        case _:
            built = THEIRS[type(packet)].build(packet.packet_id)
    return built.to_bytes()


def _connect_by_amqtt(packet):
    header = ConnectVariableHeader(
        keep_alive=packet.keep_alive,
        proto_name=mqtt.PROTOCOL_NAMES[packet.level],
        proto_level=packet.level,
    )
    header.clean_session_flag = packet.clean_session
    payload = ConnectPayload(packet.client_id)
    if packet.will is not None:
        header.will_flag = True
        header.will_qos = packet.will.qos
        header.will_retain_flag = packet.will.retain
        payload.will_topic, payload.will_message = packet.will.topic, packet.will.payload
    if packet.user_name is not None:
        header.username_flag = True
        payload.username = packet.user_name
    if packet.password is not None:
        header.password_flag = True
        payload.password = packet.password.decode()
    return amqtt.mqtt.ConnectPacket(variable_header=header, payload=payload).to_bytes()


def decoded(data, level=4):
    body, end = split(data, 0, mqtt.MAX_REMAINING_LENGTH)
    assert end == len(data)
    return decode(data[0], data[body:end], level)


@given(PACKETS)
def test_decoding_restores_an_encoded_packet(packet):
    assert decoded(encode(packet)) == packet


@given(PACKETS)
def test_amqtt_reads_the_packets_that_we_write(packet):
    assert read_by_amqtt(packet) == packet


@given(PACKETS)
def test_we_read_the_packets_that_amqtt_writes(packet):
    assert decoded(written_by_amqtt(packet)) == packet


@given(st.integers(0, mqtt.MAX_REMAINING_LENGTH))
def test_remaining_lengths_are_encoded_as_by_amqtt(length):
    assert b"\x10" + encode_length(length) == MQTTFixedHeader(1, 0, length).to_bytes()
    assert (
        split(b"\x10" + encode_length(length), 0, length)[1]
        == 1 + len(encode_length(length)) + length
    )


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_remaining_lengths_agree_with_table_2_4(length, encoded):
    assert encode_length(length).hex() == encoded


def test_a_length_that_four_bytes_cannot_express_is_an_error():
    with pytest.raises(OverflowError):
        encode_length(268_435_456)


CONNECT = encode(mqtt.Connect(client_id="c"))[2:]


def connect(name=b"MQTT", level=4, flags=2, payload=b"\0\1c"):
    return len(name).to_bytes(2, "big") + name + bytes((level, flags)) + b"\0\0" + payload


@pytest.mark.parametrize(
    ("header", "body", "source"),
    [
        (0x00, b"", "MQTT 2.2.1 type 0"),
        (0xF0, b"", "MQTT 2.2.1 type 15"),
        (0x11, CONNECT, "MQTT-2.2.2-2"),
        (0x80, b"\0\1\0\1a\0", "MQTT-3.8.1-1"),
        (0x8A, b"\0\1\0\1a\0", "MQTT-3.8.1-1"),
        (0xA0, b"\0\1\0\1a", "MQTT-3.10.1-1"),
        (0x60, b"\0\1", "MQTT-3.6.1-1"),
        (0x41, b"\0\1", "MQTT-2.2.2-2"),
        (0xC1, b"", "MQTT-2.2.2-2"),
        (0xE1, b"", "MQTT-3.14.1-1"),
        (0x10, connect(name=b"hj"), "MQTT-3.1.2-1"),
        (0x10, connect(name=b"mqtt"), "MQTT-3.1.2-1"),
        (0x10, connect(flags=3), "MQTT-3.1.2-3"),
        (0x10, connect(flags=0x0A), "MQTT-3.1.2-13"),
        (0x10, connect(flags=0x22), "MQTT-3.1.2-15"),
        (0x10, connect(flags=0x1E, payload=b"\0\1c\0\1t\0\1p"), "MQTT-3.1.2-14"),
        (0x10, connect(flags=0x42, payload=b"\0\1c\0\1p"), "MQTT-3.1.2-22"),
        (0x10, connect(flags=0x82), "MQTT-3.1.2-19"),
        (0x10, connect(flags=0xC2, payload=b"\0\1c\0\1u"), "MQTT-3.1.2-21"),
        (0x10, connect(flags=0x06), "MQTT-3.1.2-9"),
        (0x10, connect(payload=b"\0\1c\0\1u"), "MQTT-3.1.2-18"),
        (0x10, connect(payload=b""), "MQTT-3.1.3-3"),
        (0x10, connect(payload=b"\0\5c"), "MQTT 1.5.3 string beyond the packet"),
        (0x10, connect(payload=b"\0\1\xff"), "MQTT-3.1.3-4"),
        (0x10, connect(payload=b"\0\3\xed\xa0\x80"), "MQTT-1.5.3-1 surrogate"),
        (0x10, connect(payload=b"\0\2c\0"), "MQTT-1.5.3-2"),
        (0x10, b"", "MQTT 3.1.2"),
        (0x36, b"\0\1a\0\1", "MQTT-3.3.1-4"),
        (0x38, b"\0\1a", "MQTT-3.3.1-2"),
        (0x32, b"\0\1a\0\0", "MQTT-2.3.1-1"),
        (0x32, b"\0\1a\0", "MQTT-2.3.1-1"),
        (0x30, b"\0\2a", "MQTT-3.3.2-1"),
        (0x30, b"\0\1\xff", "MQTT-3.3.2-1"),
        (0x40, b"\0", "MQTT 3.4.2"),
        (0x40, b"\0\1\0", "MQTT 3.4.3"),
        (0x40, b"\0\0", "MQTT-2.3.1-1"),
        (0x82, b"\0\0\0\1a\0", "MQTT-2.3.1-1"),
        (0x82, b"\0\1", "MQTT-3.8.3-3"),
        (0x82, b"\0\1\0\1a", "MQTT-3.8.3-3 no quality of service"),
        (0x82, b"\0\1\0\1a\3", "MQTT-3-8.3-4"),
        (0x82, b"\0\1\0\1a\4", "MQTT-3-8.3-4 reserved bit"),
        (0x82, b"\0\1\0\1\xff\0", "MQTT-3.8.3-1"),
        (0xA2, b"\0\1", "MQTT-3.10.3-2"),
        (0xA2, b"\0\0\0\1a", "MQTT-2.3.1-1"),
        (0xA2, b"\0\1\0\1\xff", "MQTT-3.10.3-1"),
        (0xC0, b"x", "MQTT 3.12"),
        (0xE0, b"x", "MQTT 3.14"),
    ],
)
def test_malformed_packets_are_protocol_violations(header, body, source):
    with pytest.raises(ProtocolViolation):
        decode(header, body, 4)


@pytest.mark.parametrize(
    ("name", "level"),
    [(b"MQTT", 5), (b"MQTT", 3), (b"MQIsdp", 4), (b"MQTT", 0), (b"MQTT", 0x84), (b"MQIsdp", 6)],
)
def test_unknown_levels_are_refused_with_return_code_1(name, level):
    # [MQTT-3.1.2-2]; the bytes after the level need not be valid.
    with pytest.raises(ConnectRefused) as caught:
        decode(0x10, len(name).to_bytes(2, "big") + name + bytes((level,)) + b"anything", 0)
    assert caught.value.code == mqtt.UNACCEPTABLE_PROTOCOL_VERSION


@pytest.mark.parametrize(
    ("header", "body", "packet", "source"),
    [
        (0x8A, b"\0\1\0\1a\1", mqtt.Subscribe(1, (("a", 1),)), "MQTT 3.1, 3.8: DUP"),
        (0x6A, b"\0\1", mqtt.Pubrel(1), "MQTT 3.1, 3.6: DUP"),
        (0x38, b"\0\1ax", mqtt.Publish("a", b"x", dup=True), "MQTT 3.1, 2.1: DUP"),
        (
            0x10,
            connect(b"MQIsdp", 3, 0xC2),
            mqtt.Connect(level=3, client_id="c"),
            "MQTT 3.1, 3.1: the remaining length takes precedence over the user name flag",
        ),
        (0x10, connect(b"MQIsdp", 3, 0x3B), mqtt.Connect(level=3, client_id="c"), "3.1, 3.1"),
    ],
)
def test_packets_of_mqtt_3_1_are_read_more_leniently(header, body, packet, source):
    assert decode(header, body, 3) == packet


def test_a_byte_order_mark_is_kept():
    # [MQTT-1.5.3-3]
    assert decode(0x30, b"\0\4\xef\xbb\xbfa", 4).topic == "\ufeffa"


@given(st.integers(0, 255), st.binary(max_size=60), st.sampled_from([0, 3, 4]))
def test_any_bytes_are_a_packet_or_a_violation(header, body, level):
    try:
        packet = decode(header, body, level)
    except (ProtocolViolation, ConnectRefused):
        return
    assert decoded(encode(packet), level) == packet


@given(st.lists(PACKETS, max_size=6), st.data())
def test_packets_may_be_cut_anywhere(packets, data):
    stream = b"".join(encode(packet) for packet in packets)
    splitter = Splitter()
    found = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert [decode(header, body, 4) for header, body in found] == packets


def test_a_large_packet_in_small_pieces_is_joined_once():
    packet = encode(mqtt.Publish("a", bytes(100_000)))
    splitter = Splitter()
    for start in range(0, len(packet) - 1, 1000):
        assert splitter.feed(packet[start : min(start + 1000, len(packet) - 1)]) == []
    assert splitter.feed(packet[-1:]) == [(0x30, packet[4:])]


@pytest.mark.parametrize(
    ("data", "limit", "source"),
    [
        (b"\x30\xff\xff\xff\xff", mqtt.MAX_REMAINING_LENGTH, "MQTT 2.2.3: a fifth announced"),
        (b"\x30\x80\x80\x80\x80", mqtt.MAX_REMAINING_LENGTH, "MQTT 2.2.3: a fifth announced"),
        (b"\x30\xff\xff\xff\x7f", 1 << 24, "larger than max_message_size"),
        (b"\x30\x81\x08", 1024, "larger than max_message_size by one"),
    ],
)
def test_bad_remaining_lengths_are_violations_before_the_packet_is_complete(data, limit, source):
    with pytest.raises(ProtocolViolation):
        split(data, 0, limit)
    splitter = Splitter(limit)
    assert [splitter.feed(bytes((byte,))) for byte in data[:-1]] == [[]] * (len(data) - 1)
    with pytest.raises(ProtocolViolation):
        splitter.feed(data[-1:])
