"""WAMP load over WebSocket: publishers, subscribers, callers and callees with ready-made frames.

Owns: the WAMP and WebSocket bytes of the generator. Never: windows, measuring.

Client frames are masked with key 0, which leaves the payload unchanged. Request ids count from 1
per session, as WAMP demands; for the next ids a page of PERIOD frames is patched, not built anew.
"""

import os
import socket
from array import array
from base64 import b64encode
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from bench.flow import Flow, Page, Source
from bench.load import Deliver, Load
from bench.loop import Connection
from bench.payload import MARK, PERIOD, Expected, Miscount, payload
from bench.records import cut, websocket_header
from bench.shape import Shape

_HELLO, _WELCOME = 1, 2
_PUBLISH, _PUBLISHED, _SUBSCRIBE, _SUBSCRIBED, _EVENT = 16, 17, 32, 33, 36
_CALL, _RESULT, _REGISTER, _REGISTERED, _INVOCATION, _YIELD = 48, 50, 64, 65, 68, 70
_UINT32_ID = 1_000_000  # any id that msgpack writes in four bytes; a multiple of PERIOD


class Serializer(NamedTuple):
    """One of WAMP's serializers. opcode: the first byte of its WebSocket frames."""

    subprotocol: str
    opcode: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


JSON = Serializer("wamp.2.json", 0x81, msgspec.json.encode, msgspec.json.decode)
MSGPACK = Serializer("wamp.2.msgpack", 0x82, msgspec.msgpack.encode, msgspec.msgpack.decode)
_ROLES: dict[str, dict[str, Any]] = {"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}}


class Session:
    """A joined WAMP session on a blocking socket, for requests before the load begins."""

    def __init__(self, address: tuple[str, int], serializer: Serializer) -> None:
        self.serializer = serializer
        self.sock = socket.create_connection(address, timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._shake_hands(address)
        self.ask([_HELLO, "realm1", {"roles": _ROLES}], _WELCOME)

    def ask(self, message: list[Any], answer: int) -> list[Any]:
        """Send a message, and return its answer.

        answer: the expected message type; any other raises ConnectionError.
        """
        self.sock.sendall(frame(self.serializer, message))
        while True:
            runs, _ = cut(self._data, websocket_header)
            if runs:
                break
            self._more()
        at, size, _ = runs[0]
        content = _content(self._data, at, size)
        self._data = self._data[at + size :]
        reply: list[Any] = self.serializer.decode(content)
        if reply[0] != answer:
            raise ConnectionError(f"answered {reply}")
        return reply

    def _shake_hands(self, address: tuple[str, int]) -> None:
        key = b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {self.serializer.subprotocol}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._data:
            self._more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(f"the handshake was refused: {head!r}")

    def _more(self) -> None:
        part = self.sock.recv(65536)
        if not part:
            raise ConnectionError("the broker closed the connection")
        self._data += part


def subscribe(session: Session, topic: str) -> None:
    """Subscribe, and wait for SUBSCRIBED."""
    session.ask([_SUBSCRIBE, 1, {}, topic], _SUBSCRIBED)


def register(session: Session, procedure: str) -> None:
    """Register, and wait for REGISTERED."""
    session.ask([_REGISTER, 1, {}, procedure], _REGISTERED)


def build(load: Load, sessions: tuple[list[Session], list[Session]], shape: Shape) -> None:
    """Fill `load` with publishers and subscribers.

    sessions: those of the publishers, and those of the subscribers, which have subscribed.
    """
    publishing, subscribing = sessions
    options = {"acknowledge": True} if shape.acknowledged else {}
    for number, session in enumerate(publishing):
        connection = load.loop.add(session.sock)
        head = [_PUBLISH, 0, options, shape.topic(number, ".")]
        source = Source(_Pages(session.serializer, head, number).page)
        acknowledged = shape.acknowledged > 0
        flow = Flow(connection, source, shape.window_each, acknowledged=acknowledged)
        connection.on_bytes = _Publisher(session.serializer, flow).on_bytes
        load.add_flow(flow)
    for number, session in enumerate(subscribing):
        connection = load.loop.add(session.sock)
        expected = Expected(shape.publishers_of(number))
        deliver = load.add_receiver(expected)
        connection.on_bytes = _Receiver(session.serializer, _EVENT, expected, deliver).on_bytes


def build_call(load: Load, caller: Session, callee: Session, procedure: str, window: int) -> None:
    """Fill `load` with one caller and one callee that has registered `procedure`."""
    connection = load.loop.add(caller.sock)
    source = Source(_Pages(caller.serializer, [_CALL, 0, {}, procedure], 0).page)
    flow = Flow(connection, source, window, acknowledged=False)
    load.add_flow(flow)
    expected = Expected([0])
    deliver = load.add_receiver(expected)
    connection.on_bytes = _Receiver(caller.serializer, _RESULT, expected, deliver).on_bytes
    answering = load.loop.add(callee.sock)
    answering.on_bytes = _Callee(answering, callee.serializer).on_bytes


class _Publisher:
    """A publisher, which checks that PUBLISHED comes in the order of publishing."""

    def __init__(self, serializer: Serializer, flow: Flow) -> None:
        self._decode = serializer.decode
        self._flow = flow

    def on_bytes(self, data: bytes) -> int:
        flow = self._flow
        runs, taken = cut(data, websocket_header)
        for at, size, count in runs:
            for start in range(at, at + size * count, size):
                message = self._decode(_content(data, start, size))
                if message[0] != _PUBLISHED or message[1] != flow.acked + 1:
                    raise Miscount(f"expected PUBLISHED {flow.acked + 1}, got {message}")
                flow.acked += 1
        return taken


class _Receiver:
    """A receiver of EVENTs or RESULTs, which checks a run of frames of one length at a time."""

    def __init__(
        self, serializer: Serializer, kind: int, expected: Expected, deliver: Deliver
    ) -> None:
        self._deliver = deliver
        self._expected = expected
        self._begins = serializer.encode([kind, 0])
        # JSON: `[36,`. MessagePack: the message type alone, because the array's header varies.
        self._begins = self._begins[:-2] if serializer is JSON else self._begins[1:2]
        self._begins_at = 0 if serializer is JSON else 1

    def on_bytes(self, data: bytes) -> int:
        runs, taken = cut(data, websocket_header)
        for at, size, count in runs:
            content = at + websocket_header(data, at)[0] + self._begins_at
            # The last mark is the payload's: the bytes of an id may look like one, a payload has
            # only one.
            first = data.rfind(MARK, content, at + size)
            if first < 0 or not data.startswith(self._begins, content):
                raise Miscount(f"a receiver got {data[at : at + size]!r}")
            self._deliver(self._expected.take(data, first, size, count))
        return taken


class _Callee:
    """A callee, which answers each INVOCATION with a YIELD of its arguments."""

    def __init__(self, connection: Connection, serializer: Serializer) -> None:
        self._connection = connection
        self._serializer = serializer

    def on_bytes(self, data: bytes) -> int:
        runs, taken = cut(data, websocket_header)
        decode, encode = self._serializer.decode, self._serializer.encode
        opcode = self._serializer.opcode
        replies = []
        for at, size, count in runs:
            for start in range(at, at + size * count, size):
                message = decode(_content(data, start, size))
                if message[0] != _INVOCATION:
                    raise Miscount(f"a callee got {message}")
                content = encode((_YIELD, message[1], {}, message[4]))
                replies.append(bytes((opcode, 128 | len(content), 0, 0, 0, 0)))
                replies.append(content)
        if replies:
            self._connection.send([b"".join(replies)])
        return taken


class _Pages:
    """The pages of one session's PUBLISH or CALL frames, with request ids 1, 2, 3, …"""

    def __init__(self, serializer: Serializer, head: list[Any], publisher: int) -> None:
        self._serializer = serializer
        self._head = head
        self._publisher = publisher
        self._template = b""
        self._digits = 0
        self._id_at = 0

    def page(self, number: int) -> Page:
        """Return the PERIOD messages from PERIOD * number on."""
        if not number:
            return self._first()
        view = memoryview(
            self._patched_json(number)
            if self._serializer is JSON
            else self._patched_msgpack(number)
        )
        size = len(view) // PERIOD
        return Page(view, range(0, len(view) + 1, size))

    def _first(self) -> Page:
        """Return the page with the ids below PERIOD, which differ in length."""
        frames = [self._frame(number) for number in range(PERIOD)]
        return Page(memoryview(b"".join(frames)), [0, *accumulate(map(len, frames))])

    def _patched_json(self, number: int) -> bytes:
        """Return a page in JSON: only the digits before the last three differ from page to page."""
        prefix = b"%d" % number
        if len(prefix) != self._digits:
            self._digits = len(prefix)
            first = 10 ** (self._digits - 1)
            mark = b"[%d,%d" % (self._head[0], first)
            hole = b"[%d,%s" % (self._head[0], b"#" * self._digits)
            frames = [self._frame(first * PERIOD + n).replace(mark, hole, 1) for n in range(PERIOD)]
            self._template = b"".join(frames)
        return self._template.replace(b"#" * self._digits, prefix)

    def _patched_msgpack(self, number: int) -> bytearray:
        """Return a page in MessagePack: all ids are uint32, so that four columns have to be set.

        MessagePack allows uint32 for smaller numbers, too.
        """
        if not self._template:
            frames = [self._frame(_UINT32_ID + n) for n in range(PERIOD)]
            self._template = b"".join(frames)
            self._id_at = frames[0].index(_UINT32_ID.to_bytes(4, "big"))
        page = bytearray(self._template)
        size = len(page) // PERIOD
        ids = array("I", range(number * PERIOD, (number + 1) * PERIOD))
        ids.byteswap()
        packed = ids.tobytes()
        for column in range(4):
            page[self._id_at + column :: size] = packed[column::4]
        return page

    def _frame(self, number: int) -> bytes:
        message = [*self._head, [payload(self._publisher, number).decode()]]
        message[1] = number
        return frame(self._serializer, message)


def frame(serializer: Serializer, message: list[Any]) -> bytes:
    """Return a message in a WebSocket frame, masked with key 0 (RFC 6455, 5.2)."""
    content = serializer.encode(message)
    length = len(content)
    if length > 125:
        return bytes((serializer.opcode, 254)) + length.to_bytes(2, "big") + bytes(4) + content
    return bytes((serializer.opcode, 128 | length, 0, 0, 0, 0)) + content


def _content(data: bytes, at: int, size: int) -> bytes:
    return data[at + websocket_header(data, at)[0] : at + size]
