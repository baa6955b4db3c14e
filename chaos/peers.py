"""Clients: WAMP on RawSocket with MessagePack, and MQTT 3.1.1 on TCP.

Owns: bytes on sockets; which answer belongs to which request. Never: the choice of requests,
reconnecting.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

WAMP_HELLO, WAMP_WELCOME, WAMP_GOODBYE, WAMP_ERROR = 1, 2, 6, 8
PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBED, EVENT = 16, 17, 32, 33, 35, 36
CALL, RESULT, REGISTER, REGISTERED, INVOCATION, YIELD = 48, 50, 64, 65, 68, 70
ANSWERS = {PUBLISHED: PUBLISH, SUBSCRIBED: SUBSCRIBE, REGISTERED: REGISTER, RESULT: CALL}

FEATURES = {
    "publisher": {},
    "subscriber": {"features": {"pattern_based_subscription": True}},
    "caller": {},
    "callee": {"features": {"shared_registration": True}},
}

HANDSHAKE = 15.0
"""Seconds from connecting to WELCOME or CONNACK: more than a gateway waits for its shards."""

Answer = asyncio.Future[Any]
"""The answer to a request; fails with `Refused` or `Lost`."""


class Lost(ConnectionError):
    """The connection has ended before the request was answered."""


class Refused(Exception):
    """The request was answered with an error, whose URI is the message."""


class Peer(asyncio.Protocol):
    """A client's connection.

    lost: done when the connection has ended. left: whether the client has ended it itself.
    welcomed: done when the broker has accepted the session. place: the client's own address.
    """

    kind = ""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.left = False
        self.welcomed: Answer = loop.create_future()
        self.transport: asyncio.Transport | None = None
        self.place = ("", 0)
        self._new_answer = loop.create_future
        self._pending: dict[tuple[int, int], Answer] = {}
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.place = transport.get_extra_info("sockname")
        self.greet()

    def greet(self) -> None:
        """Send the first message."""
        raise NotImplementedError

    def cut(self, data: bytes) -> int:
        """Handle the complete messages in the data, and return the number of their bytes."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        data = self._data + data if self._data else data
        self._data = data[self.cut(data) :]

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost.set_result(None)
        waiting = [*self._pending.values(), self.welcomed]
        self._pending.clear()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(Lost())
                answer.exception()  # mark as retrieved, because nobody may be waiting for this one

    def expect(self, kind: int, number: int) -> Answer:
        """Return the future answer to the request of this kind and number."""
        answer = self._new_answer()
        if self.lost.done():
            answer.set_exception(Lost())
            answer.exception()
        else:
            self._pending[kind, number] = answer
        return answer

    def settle(self, kind: int, number: int, result: object) -> None:
        """Complete the answer to a request."""
        answer = self._pending.pop((kind, number))
        if not answer.done():
            answer.set_result(result)

    @property
    def under_way(self) -> int:
        """The number of unanswered requests."""
        return len(self._pending)

    async def ended(self) -> None:
        """Wait until the connection has ended; canceling this wait does not cancel `lost`."""
        await asyncio.wait([self.lost])

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection has ended."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        """Close the connection without sending what waits."""
        self.left = True
        if self.transport is not None:
            self.transport.abort()


class Wamp(Peer):
    """A WAMP session.

    session: its id. revoked: set when the router has revoked a subscription, as at the end of a
    snapshot.
    """

    kind = "rawsocket"

    def __init__(self, _client_id: str = "") -> None:
        super().__init__()
        self.session = 0
        self.on_event: Callable[[list[Any]], None] = lambda message: None
        self.revoked = asyncio.Event()
        self.on_invocation: Callable[[list[Any]], None] = lambda message: None
        self._handshake_done = False
        self._request = 0

    def greet(self) -> None:
        self.write(b"\x7f\xf2\0\0")
        self.send(WAMP_HELLO, "realm1", {"roles": FEATURES})

    def send(self, *message: object) -> None:
        """Send a message."""
        body = msgspec.msgpack.encode(message)
        self.write(len(body).to_bytes(4, "big") + body)

    def request(self, kind: int, options: dict[str, Any], *rest: object) -> Answer:
        """Send a request; its answer is the whole message."""
        self._request += 1
        answer = self.expect(kind, self._request)
        self.send(kind, self._request, options, *rest)
        return answer

    def cut(self, data: bytes) -> int:
        at = 0
        if not self._handshake_done:
            if len(data) < 4:
                return 0
            self._handshake_done, at = True, 4
        while len(data) >= at + 4:
            end = at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
            if len(data) < end:
                break
            self._take(msgspec.msgpack.decode(data[at + 4 : end]))
            at = end
        return at

    def _take(self, message: list[Any]) -> None:
        kind = message[0]
        if kind == UNSUBSCRIBED and message[1] == 0:
            self.revoked.set()
        elif kind == EVENT:
            self.on_event(message)
        elif kind in ANSWERS:
            self.settle(ANSWERS[kind], message[1], message)
        elif kind == INVOCATION:
            self.on_invocation(message)
        elif kind == WAMP_ERROR:
            answer = self._pending.pop((message[1], message[2]))
            answer.set_exception(Refused(message[4]))
            answer.exception()
        elif kind == WAMP_WELCOME:
            self.session = message[1]
            self.welcomed.set_result(None)
        elif kind == WAMP_GOODBYE:
            self.send(WAMP_GOODBYE, {}, "wamp.close.goodbye_and_out")
        else:
            raise AssertionError(f"unexpected: {message}")


CONNACK, MQTT_PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK = 2, 3, 4, 5, 6, 7, 9


class Mqtt(Peer):
    """An MQTT session. on_message: called with topic, payload, QoS, retained."""

    kind = "mqtt"

    def __init__(self, client_id: str) -> None:
        super().__init__()
        self.client_id = client_id
        self.on_message: Callable[[str, bytes, int, bool], None] = lambda *message: None
        self._packet_id = 0

    def greet(self) -> None:
        self._packet(0x10, b"\0\4MQTT\4\2\0\0" + _text(self.client_id))

    def _packet(self, first: int, body: bytes) -> None:
        self.write(bytes((first,)) + _length(len(body)) + body)

    def _next_id(self) -> int:
        """Return a packet id that is not in use."""
        while True:
            self._packet_id = self._packet_id % 0xFFFF + 1
            if not any(
                (kind, self._packet_id) in self._pending for kind in (PUBACK, PUBREC, PUBREL)
            ):
                return self._packet_id

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> Answer:
        """Publish with QoS 1 or 2; the answer is PUBACK or PUBREC.

        PUBREC suffices, because the broker is responsible for the message from then on.
        """
        number = self._next_id()
        answer = self.expect(PUBACK if qos == 1 else PUBREC, number)
        body = _text(topic) + number.to_bytes(2, "big") + payload
        self._packet(0x30 | qos << 1 | retain, body)
        return answer

    def subscribe(self, topic: str, qos: int) -> Answer:
        """Subscribe to one filter; the answer is the granted QoS."""
        number = self._next_id()
        answer = self.expect(SUBACK, number)
        self._packet(0x82, number.to_bytes(2, "big") + _text(topic) + bytes((qos,)))
        return answer

    def cut(self, data: bytes) -> int:
        at = 0
        while (found := _header(data, at)) is not None:
            body, end = found
            if len(data) < end:
                break
            self._take(data[at], data[body:end])
            at = end
        return at

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        number = int.from_bytes(body[:2], "big")
        if kind == MQTT_PUBLISH:
            self._on_publish(first, body)
        elif kind == PUBACK:
            self.settle(PUBACK, number, None)
        elif kind == PUBREC:
            self.settle(PUBREC, number, None)
            self.expect(PUBREL, number)
            self._packet(0x62, body[:2])
        elif kind == PUBCOMP:
            self.settle(PUBREL, number, None)
        elif kind == PUBREL:
            self._packet(0x70, body[:2])
        elif kind == SUBACK:
            self.settle(SUBACK, number, body[2])
        elif kind == CONNACK:
            assert body[1] == 0, f"CONNECT was refused: {body[1]}"
            self.welcomed.set_result(None)
        else:
            raise AssertionError(f"unexpected packet {first:#x}")

    def _on_publish(self, first: int, body: bytes) -> None:
        qos = first >> 1 & 3
        at = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:at].decode()
        if qos:
            self._packet(0x40 if qos == 1 else 0x50, body[at : at + 2])
            at += 2
        self.on_message(topic, body[at:], qos, bool(first & 1))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _length(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes((*digits, number))


def _header(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `at` begins and ends.

    None: the packet's header is incomplete.
    """
    length = 0
    for place in range(4):
        if at + 1 + place >= len(data):
            return None
        byte = data[at + 1 + place]
        length |= (byte & 127) << 7 * place
        if byte < 128:
            return at + 2 + place, at + 2 + place + length
    raise AssertionError("a packet without end")
