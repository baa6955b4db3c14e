"""The MQTT codec: bytes into packets, packets into bytes.

Owns: strings, lengths, the layout of every packet; which bytes are malformed.
Never: I/O; where a packet ends (see `framing`); what a packet means (see `session`).

Every packet can be decoded and encoded, so scripted clients can use the codec too. `level` is the
protocol level of the connection; level 3 is laxer than 4 where MQTT 3.1 left bits undefined.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, final

from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.packets import Packet

MALFORMED = 0x81
"""MQTT 5 reason code: malformed packet."""


class ConnectRefused(Exception):
    """A well-formed CONNECT is answered with a return code above 0 (MQTT 3.2.2.3)."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def decode(header: int, body: bytes, level: int) -> Packet:
    """Decode one packet. header: its first byte. body: all that follows the remaining length.

    Raises ProtocolViolation, or ConnectRefused for a CONNECT of an unknown level.
    """
    decoder = _DECODERS.get(header >> 4)
    if decoder is None:
        raise ProtocolViolation(f"there is no control packet type {header >> 4}", MALFORMED)
    kind = header >> 4
    if kind != mqtt.PUBLISH:
        flags = header & 0x0F
        if level == mqtt.LEVEL_31 and kind in _WITH_RESERVED_FLAGS:
            # MQTT 3.1 let clients set DUP here.
            flags &= ~mqtt.DUP_FLAG
        if flags != (mqtt.RESERVED_FLAGS if kind in _WITH_RESERVED_FLAGS else 0):
            raise ProtocolViolation(
                f"the flags {flags:#x} are not those of packet type {kind} [MQTT-2.2.2-2]",
                MALFORMED,
            )
    reader = _Reader(body)
    packet = decoder(reader, header, level)
    reader.end()
    return packet


def encode(packet: Packet, level: int = mqtt.LEVEL_311) -> bytes:
    """Encode one packet. Raises OverflowError if a length does not fit."""
    header, body = _ENCODERS[type(packet)](packet, level)
    return bytes((header,)) + encode_length(len(body)) + body


def encode_length(length: int) -> bytes:
    """Encode a remaining length (MQTT 2.2.3). Raises OverflowError."""
    if length < 0x80:
        return bytes((length,))
    if length > mqtt.MAX_REMAINING_LENGTH:
        raise OverflowError(f"a packet of {length} bytes does not fit into MQTT")
    out = bytearray()
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)


def encode_string(text: str) -> bytes:
    """Encode a string, with its length before it (MQTT 1.5.3). Raises OverflowError."""
    return encode_binary(text.encode())


def encode_binary(data: bytes) -> bytes:
    """Put the data's length before it, in two bytes. Raises OverflowError."""
    return len(data).to_bytes(2, "big") + data


def decode_string(data: bytes) -> str:
    """Decode the UTF-8 of a string [MQTT-1.5.3-1, -2]; byte order marks stay [MQTT-1.5.3-3].

    Raises ProtocolViolation.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolViolation(f"a string is not UTF-8: {error.reason}", MALFORMED) from None
    if "\0" in text:
        raise ProtocolViolation("a string must not contain U+0000 [MQTT-1.5.3-2]", MALFORMED)
    return text


@final
class _Reader:
    """A cursor in a packet's body. Reading beyond its end raises ProtocolViolation."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def left(self) -> bool:
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise ProtocolViolation("the packet is shorter than what it announces", MALFORMED)
        return self._data[start : self._position]

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._position)

    def byte(self) -> int:
        return self.take(1)[0]

    def uint16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        return self.take(self.uint16())

    def string(self) -> str:
        return decode_string(self.binary())

    def packet_id(self) -> int:
        packet_id = self.uint16()
        if packet_id == 0:
            raise ProtocolViolation("a packet identifier must not be 0 [MQTT-2.3.1-1]", MALFORMED)
        return packet_id

    def qos(self, value: int, statement: str) -> int:
        if value > 2:
            raise ProtocolViolation(
                f"there is no quality of service {value} {statement}", MALFORMED
            )
        return value

    def end(self) -> None:
        if self.left():
            raise ProtocolViolation("the packet is longer than its contents", MALFORMED)


def _connect(reader: _Reader, header: int, level: int) -> Packet:
    name = reader.string()
    if name not in mqtt.PROTOCOL_NAMES.values():
        raise ProtocolViolation(f"{name!r} is not the protocol name [MQTT-3.1.2-1]", 0x84)
    level = reader.byte()
    if mqtt.PROTOCOL_NAMES.get(level) != name:
        # [MQTT-3.1.2-2]
        raise ConnectRefused(mqtt.UNACCEPTABLE_PROTOCOL_VERSION)
    flags = reader.byte()
    if level >= mqtt.LEVEL_311:
        _check_connect_flags(flags)
    has_user_name, has_password = flags & 0x80, flags & 0x40
    if has_password and not has_user_name:
        raise ProtocolViolation("a password without a user name [MQTT-3.1.2-22]", MALFORMED)
    keep_alive = reader.uint16()
    client_id = reader.string()
    will = None
    if flags & 0x04:
        qos = reader.qos(flags >> 3 & 3, "[MQTT-3.1.2-14]")
        will = mqtt.Will(reader.string(), reader.binary(), qos, bool(flags & 0x20))
    # MQTT 3.1, section 3.1: the remaining length takes precedence over these two flags.
    may_lack = level == mqtt.LEVEL_31
    user_name = reader.string() if has_user_name and (reader.left() or not may_lack) else None
    password = reader.binary() if has_password and (reader.left() or not may_lack) else None
    return mqtt.Connect(
        level=level,
        clean_session=bool(flags & 0x02),
        keep_alive=keep_alive,
        client_id=client_id,
        will=will,
        user_name=user_name,
        password=password,
    )


def _check_connect_flags(flags: int) -> None:
    if flags & 0x01:
        raise ProtocolViolation("the reserved flag of CONNECT is set [MQTT-3.1.2-3]", MALFORMED)
    if not flags & 0x04 and flags & 0x38:
        raise ProtocolViolation(
            "quality of service or retain of a will without one [MQTT-3.1.2-13, -15]", MALFORMED
        )


def _encode_connect(packet: mqtt.Connect, level: int) -> tuple[int, bytes]:
    will = packet.will
    flags = packet.clean_session << 1
    payload = encode_string(packet.client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += encode_string(will.topic) + encode_binary(will.payload)
    if packet.user_name is not None:
        flags |= 0x80
        payload += encode_string(packet.user_name)
    if packet.password is not None:
        flags |= 0x40
        payload += encode_binary(packet.password)
    head = encode_string(mqtt.PROTOCOL_NAMES[packet.level]) + bytes((packet.level, flags))
    return mqtt.CONNECT << 4, head + packet.keep_alive.to_bytes(2, "big") + payload


def _connack(reader: _Reader, header: int, level: int) -> Packet:
    flags = reader.byte()
    return mqtt.Connack(reader.byte(), bool(flags & 1))


def _publish(reader: _Reader, header: int, level: int) -> Packet:
    qos = reader.qos(header >> 1 & 3, "[MQTT-3.3.1-4]")
    dup = bool(header & mqtt.DUP_FLAG)
    if dup and not qos and level >= mqtt.LEVEL_311:
        raise ProtocolViolation("DUP with quality of service 0 [MQTT-3.3.1-2]", MALFORMED)
    topic = reader.string()
    packet_id = reader.packet_id() if qos else 0
    retain = bool(header & mqtt.RETAIN_FLAG)
    return mqtt.Publish(topic, reader.rest(), qos, packet_id, retain, dup)


def _encode_publish(packet: mqtt.Publish, level: int) -> tuple[int, bytes]:
    flags = packet.dup << 3 | packet.qos << 1 | packet.retain
    packet_id = packet.packet_id.to_bytes(2, "big") if packet.qos else b""
    return mqtt.PUBLISH << 4 | flags, encode_string(packet.topic) + packet_id + packet.payload


def _subscribe(reader: _Reader, header: int, level: int) -> Packet:
    packet_id = reader.packet_id()
    filters = []
    while reader.left():
        # A byte above 2 has reserved bits, or both QoS bits, set.
        filters.append((reader.string(), reader.qos(reader.byte(), "[MQTT-3-8.3-4]")))
    if not filters:
        raise ProtocolViolation("a SUBSCRIBE without a filter [MQTT-3.8.3-3]", MALFORMED)
    return mqtt.Subscribe(packet_id, tuple(filters))


def _encode_subscribe(packet: mqtt.Subscribe, level: int) -> tuple[int, bytes]:
    filters = b"".join(encode_string(text) + bytes((qos,)) for text, qos in packet.filters)
    header = mqtt.SUBSCRIBE << 4 | mqtt.RESERVED_FLAGS
    return header, packet.packet_id.to_bytes(2, "big") + filters


def _suback(reader: _Reader, header: int, level: int) -> Packet:
    return mqtt.Suback(reader.packet_id(), tuple(reader.rest()))


def _unsubscribe(reader: _Reader, header: int, level: int) -> Packet:
    packet_id = reader.packet_id()
    filters = []
    while reader.left():
        filters.append(reader.string())
    if not filters:
        raise ProtocolViolation("an UNSUBSCRIBE without a filter [MQTT-3.10.3-2]", MALFORMED)
    return mqtt.Unsubscribe(packet_id, tuple(filters))


def _encode_unsubscribe(packet: mqtt.Unsubscribe, level: int) -> tuple[int, bytes]:
    filters = b"".join(encode_string(text) for text in packet.filters)
    header = mqtt.UNSUBSCRIBE << 4 | mqtt.RESERVED_FLAGS
    return header, packet.packet_id.to_bytes(2, "big") + filters


_Decoder: TypeAlias = Callable[[_Reader, int, int], Packet]
# Each encoder takes the packet type that is its key in _CODECS, which a dict's type cannot say.
_Encoder: TypeAlias = Callable[[Any, int], tuple[int, bytes]]


def _id_alone(kind: int, packet: type[mqtt.Acknowledgement]) -> tuple[_Decoder, _Encoder]:
    """Return the codec of a packet that holds only a packet identifier."""
    header = kind << 4 | (mqtt.RESERVED_FLAGS if kind in _WITH_RESERVED_FLAGS else 0)
    return (
        lambda reader, header, level: packet(reader.packet_id()),
        lambda packet, level: (header, packet.packet_id.to_bytes(2, "big")),
    )


def _empty(
    kind: int, packet: mqtt.Pingreq | mqtt.Pingresp | mqtt.Disconnect
) -> tuple[_Decoder, _Encoder]:
    """Return the codec of a packet that holds nothing."""
    return lambda reader, header, level: packet, lambda packet, level: (kind << 4, b"")


_WITH_RESERVED_FLAGS = (mqtt.PUBREL, mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE)

_CODECS: dict[type[Packet], tuple[int, tuple[_Decoder, _Encoder]]] = {
    mqtt.Connect: (mqtt.CONNECT, (_connect, _encode_connect)),
    mqtt.Connack: (
        mqtt.CONNACK,
        (_connack, lambda p, level: (mqtt.CONNACK << 4, bytes((p.session_present, p.code)))),
    ),
    mqtt.Publish: (mqtt.PUBLISH, (_publish, _encode_publish)),
    mqtt.Puback: (mqtt.PUBACK, _id_alone(mqtt.PUBACK, mqtt.Puback)),
    mqtt.Pubrec: (mqtt.PUBREC, _id_alone(mqtt.PUBREC, mqtt.Pubrec)),
    mqtt.Pubrel: (mqtt.PUBREL, _id_alone(mqtt.PUBREL, mqtt.Pubrel)),
    mqtt.Pubcomp: (mqtt.PUBCOMP, _id_alone(mqtt.PUBCOMP, mqtt.Pubcomp)),
    mqtt.Subscribe: (mqtt.SUBSCRIBE, (_subscribe, _encode_subscribe)),
    mqtt.Suback: (
        mqtt.SUBACK,
        (
            _suback,
            lambda p, level: (mqtt.SUBACK << 4, p.packet_id.to_bytes(2, "big") + bytes(p.codes)),
        ),
    ),
    mqtt.Unsubscribe: (mqtt.UNSUBSCRIBE, (_unsubscribe, _encode_unsubscribe)),
    mqtt.Unsuback: (mqtt.UNSUBACK, _id_alone(mqtt.UNSUBACK, mqtt.Unsuback)),
    mqtt.Pingreq: (mqtt.PINGREQ, _empty(mqtt.PINGREQ, mqtt.Pingreq())),
    mqtt.Pingresp: (mqtt.PINGRESP, _empty(mqtt.PINGRESP, mqtt.Pingresp())),
    mqtt.Disconnect: (mqtt.DISCONNECT, _empty(mqtt.DISCONNECT, mqtt.Disconnect())),
}
_DECODERS = {kind: codec[0] for kind, codec in _CODECS.values()}
_ENCODERS = {packet: codec[1] for packet, (_, codec) in _CODECS.items()}
