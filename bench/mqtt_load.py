"""MQTT 3.1.1 load: publishers and subscribers with ready-made packets.

Owns: the MQTT bytes of the generator. Never: windows, measuring.
"""

import socket
from functools import partial

from bench.flow import Flow, Page, Source
from bench.load import Deliver, Load
from bench.loop import Connection
from bench.payload import LENGTH, PERIOD, Expected, Miscount, payload
from bench.records import cut, mqtt_header
from bench.shape import Shape

_PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = 0x30, 0x40, 0x50, 0x62, 0x70
# Packet ids of messages 1, 2, 3, …: number mod PERIOD + 1. A window is far smaller than PERIOD, so
# no packet id is in use twice.
_IDS_HIGH = bytes((n % PERIOD + 1) >> 8 for n in range(3 * PERIOD))
_IDS_LOW = bytes((n % PERIOD + 1) & 255 for n in range(3 * PERIOD))


def connect(address: tuple[str, int], client: str) -> socket.socket:
    """Connect with a clean session, and return the blocking socket after CONNACK.

    Raises ConnectionError if the broker refuses.
    """
    sock = socket.create_connection(address, timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(connect_packet(client))
    if _exactly(sock, 4) != b"\x20\2\0\0":
        raise ConnectionError("CONNECT was refused")
    return sock


def connect_packet(client: str) -> bytes:
    """Return a CONNECT with a clean session and no keep alive."""
    body = b"\0\4MQTT\4\2\0\0" + _text(client)
    return bytes((0x10, len(body))) + body


def subscribe(sock: socket.socket, topic: str, qos: int) -> None:
    """Subscribe to one filter and wait for SUBACK. Raises ConnectionError if it is refused."""
    body = b"\0\1" + _text(topic) + bytes((qos,))
    sock.sendall(bytes((0x82, len(body))) + body)
    if _exactly(sock, 5) != b"\x90\3\0\1" + bytes((qos,)):
        raise ConnectionError("SUBSCRIBE was refused")


def build(
    load: Load, sockets: tuple[list[socket.socket], list[socket.socket]], shape: Shape
) -> None:
    """Fill `load` with publishers and subscribers.

    sockets: the connected sockets of the publishers, and those of the subscribers, which have
    subscribed. `shape.acknowledged` is the QoS.
    """
    publishing, subscribing = sockets
    qos = shape.acknowledged
    rings = []
    for number, sock in enumerate(publishing):
        connection = load.loop.add(sock)
        rings.append(_ring(shape.topic(number, "/"), qos, number))
        page = Page(memoryview(rings[-1]), range(0, len(rings[-1]) + 1, len(rings[-1]) // PERIOD))
        flow = Flow(
            connection, Source(partial(_same, page)), shape.window_each, acknowledged=qos > 0
        )
        connection.on_bytes = _Publisher(connection, flow).on_bytes
        load.add_flow(flow)
    size = len(rings[0]) // PERIOD
    for number, sock in enumerate(subscribing):
        connection = load.loop.add(sock)
        publishers = shape.publishers_of(number)
        expected = Expected(publishers)
        deliver = load.add_receiver(expected)
        if qos == 0 and len(publishers) == 1:
            ring = rings[publishers[0]]
            connection.on_bytes = _Echo(expected, deliver, ring, size).on_bytes
        else:
            subscriber = _Subscriber(connection, expected, deliver, qos)
            connection.on_bytes = subscriber.on_bytes


class _Publisher:
    """A publisher, which checks that acknowledgements come in the order of sending.

    PUBREC is answered with PUBREL.
    """

    def __init__(self, connection: Connection, flow: Flow) -> None:
        self._send = connection.send
        self._flow = flow
        self._received = 0

    def on_bytes(self, data: bytes) -> int:
        flow = self._flow
        packets = _by_kind(data)
        for kind, acks in packets.items():
            count = len(acks) // 4
            high, low = acks[2::4], acks[3::4]
            if kind == _PUBREC:
                _check_order(high, low, self._received)
                self._received += count
                self._send([_acks(_PUBREL, high, low)])
            elif kind in (_PUBACK, _PUBCOMP):
                _check_order(high, low, flow.acked)
                flow.acked += count
            else:
                raise Miscount(f"a publisher got packet {kind:#x}")
        return sum(map(len, packets.values()))


class _Subscriber:
    """A subscriber, which checks PUBLISHes and acknowledges them as their QoS demands."""

    def __init__(
        self, connection: Connection, expected: Expected, deliver: Deliver, qos: int
    ) -> None:
        self._deliver = deliver
        self._send = connection.send
        self._expected = expected
        self._kind = _PUBLISH | qos << 1
        self._answer = (0, _PUBACK, _PUBREC)[qos]

    def on_bytes(self, data: bytes) -> int:
        packets = _by_kind(data)
        replies = []
        for kind, received in packets.items():
            if kind == self._kind:
                replies += self._on_publish(received)
            elif kind == _PUBREL:
                replies.append(_acks(_PUBCOMP, received[2::4], received[3::4]))
            else:
                raise Miscount(f"a subscriber got packet {kind:#x}")
        if replies:
            self._send([b"".join(replies)])
        return sum(map(len, packets.values()))

    def _on_publish(self, packets: bytes) -> list[bytes]:
        # All packets have the first one's size: another size would make the columns wrong, and so
        # raise Miscount.
        size = 2 + packets[1]
        count, odd = divmod(len(packets), size)
        if odd:
            raise Miscount("PUBLISH packets differ in length")
        self._deliver(self._expected.take(packets, size - LENGTH, size, count))
        if not self._answer:
            return []
        id_at = size - LENGTH - 2
        return [_acks(self._answer, packets[id_at::size], packets[id_at + 1 :: size])]


class _Echo:
    """A QoS 0 subscriber of one publisher, which must receive exactly the bytes that were sent."""

    def __init__(self, expected: Expected, deliver: Deliver, stream: bytes, size: int) -> None:
        self._deliver = deliver
        self._expected = expected
        self._stream = stream * 2
        self._period = len(stream)
        self._size = size
        self._at = size  # the first message has number 1

    def on_bytes(self, data: bytes) -> int:
        at = self._at
        count = len(data) // self._size
        taken = count * self._size
        if not self._stream.startswith(data, at):
            raise Miscount(f"after message {self._expected.total}: not what was sent")
        self._at = (at + taken) % self._period
        self._deliver(self._expected.trust(count))
        return taken


def _by_kind(data: bytes) -> dict[int, bytes]:
    """Return the complete packets in `data`, joined per first byte."""
    runs, _ = cut(data, mqtt_header)
    kinds: dict[int, list[bytes]] = {}
    for at, size, count in runs:
        kinds.setdefault(data[at], []).append(data[at : at + size * count])
    return {kind: b"".join(parts) for kind, parts in kinds.items()}


def _publish(topic: str, qos: int, publisher: int, number: int) -> bytes:
    packet_id = (number % PERIOD + 1).to_bytes(2, "big") if qos else b""
    body = _text(topic) + packet_id + payload(publisher, number)
    return bytes((_PUBLISH | qos << 1, len(body))) + body


def _ring(topic: str, qos: int, publisher: int) -> bytes:
    """Return PERIOD packets, which are sent again and again."""
    return b"".join(_publish(topic, qos, publisher, number) for number in range(PERIOD))


def _same(page: Page, _number: int) -> Page:
    return page


def _acks(kind: int, high: bytes, low: bytes) -> bytes:
    packets = bytearray(4 * len(high))
    packets[0::4] = bytes((kind,)) * len(high)
    packets[1::4] = b"\2" * len(high)
    packets[2::4] = high
    packets[3::4] = low
    return bytes(packets)


def _check_order(high: bytes, low: bytes, before: int) -> None:
    start = (before + 1) % PERIOD
    end = start + len(high)
    if high != _IDS_HIGH[start:end] or low != _IDS_LOW[start:end]:
        raise Miscount(f"acknowledgements out of order after {before}")


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionError("the broker closed the connection")
        data += part
    return data
