"""One HTTP connection: uvicorn's, with the limits that it lacks.

Owns: how long a client may take for the head of a request, how much of what it sends is handled at
once, how long it may read nothing. Never: the application.
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

SLICE: Final = 1 << 12
"""Bytes that are handled at once."""

LINES: Final = 64
"""Lines that are handled at once. A body may have a chunk for each six bytes, and each of these
has two lines and costs as much as a long one: here a fraction of a millisecond."""

READ: Final = 1 << 17
"""Bytes that are read at once."""

PROGRESS: Final = 1 << 18
"""Bytes that a client has to take of an answer within the timeout."""


@final
class Addresses:
    """The connections of each address. most: of one. unlimited: networks that may have more."""

    def __init__(self, most: int, unlimited: Sequence[str]) -> None:
        self._most = most
        self._unlimited = [ip_network(one) for one in unlimited]
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more; return whether it may stay."""
        self._counts[address] += 1
        if self._counts[address] <= self._most:
            return True
        return any(ip_address(address) in network for network in self._unlimited)

    def leave(self, address: str) -> None:
        """Count one less."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


@final
class Slices:
    """The connections whose clients have sent more than a slice: one has its turn in each turn."""

    def __init__(self) -> None:
        self._waiting: deque[Reading] = deque()

    def wait(self, reading: "Reading") -> None:
        """Let a connection go on when it is its turn."""
        self._waiting.append(reading)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        reading = self._waiting[0]
        try:
            more = reading.read_on()
        finally:
            self._waiting.popleft()
        if more:
            self._waiting.append(reading)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)


class WebConnection(H11Protocol):
    """A connection that ends if its client sends, or reads, too slowly. slow_timeout: seconds."""

    head_timeout: float
    slow_timeout: float
    addresses: Addresses

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401 (uvicorn's)
        super().__init__(*args, **named)
        self._head_timer: asyncio.TimerHandle | None = None
        self._slow_timer: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        if not self.addresses.enter(self._address):
            transport.abort()
            return
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; if they are the beginning of a head, expect its end."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_timer()
        if self._slow_timer is not None:
            self._slow_timer.cancel()
        self.addresses.leave(self._address)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Expect the client to read."""
        super().pause_writing()
        self._expect_reading()

    def on_response_complete(self) -> None:
        """Go on with the next request, unless the client still sends a body that nobody reads."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._expect_head()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.transport.close()
        self._expect_reading()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Let the connection go on as a WebSocket, unless there are too many connections."""
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            self.transport.abort()
            return
        self._stop_timer()
        if self._slow_timer is not None:
            self._slow_timer.cancel()
        # The WebSocket, which has the connection from now on, counts for its address.
        super().handle_websocket_upgrade(event)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.abort()

    def _expect_reading(self) -> None:
        """Look later how much was read. A connection that is closed ends when all is written."""
        self._unread = self.transport.get_write_buffer_size()
        if self._unread and self._slow_timer is None:
            self._slow_timer = self.loop.call_later(self.slow_timeout, self._judge)

    def _judge(self) -> None:
        self._slow_timer = None
        unread = self.transport.get_write_buffer_size()
        if unread and self._unread - unread < PROGRESS:
            self.transport.abort()
        else:
            self._expect_reading()


class CountedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket, which counts as a connection of its address until it ends."""

    addresses: Addresses

    def connection_lost(self, exc: Exception | None) -> None:
        """Count one less."""
        self.addresses.leave(self.client[0] if self.client else "")
        super().connection_lost(exc)


@final
class Reading(asyncio.BufferedProtocol):
    """Hands a connection what its client sends, a slice at a time."""

    _buffer = bytearray(READ)
    """Of all connections: what is in it is taken out at once."""

    def __init__(self, connection: WebConnection, slices: Slices) -> None:
        self._connection = connection
        self._slices = slices
        self._left = b""
        self._transport: asyncio.Transport
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport
        self._connection.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where the next bytes are written."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand a slice over; if there is more, when it is this connection's turn.

        So each turn has one slice of those who send much, however many these are.
        """
        data = bytes(memoryview(self._buffer)[:nbytes])
        if self._left:
            self._left += data
            self._transport.pause_reading()
            return
        self._left = data
        if _end_of_slice(data) == len(data):
            self._hand_over()
        else:
            self._transport.pause_reading()
            self._slices.wait(self)

    def read_on(self) -> bool:
        """Hand the next slice over; return whether there is more."""
        self._hand_over()
        if not (self._left or self._connection.flow.read_paused or self._transport.is_closing()):
            self._transport.resume_reading()
        return bool(self._left)

    def _hand_over(self) -> None:
        if self._transport.is_closing():
            self._left = b""
            return
        end = _end_of_slice(self._left)
        piece, self._left = self._left[:end], self._left[end:]
        self._connection.data_received(piece)
        protocol = self._transport.get_protocol()
        if self._transport.is_closing():
            # What nobody wants was read nevertheless: so the client gets the answer.
            self._left = b""
        elif protocol is not self and self._left:
            # A WebSocket goes on by itself.
            rest, self._left = self._left, b""
            protocol.data_received(rest)  # type: ignore[attr-defined]


def _end_of_slice(data: bytes) -> int:
    """Return how many of these bytes are handled at once."""
    end = min(len(data), SLICE)
    if data.count(b"\n", 0, end) <= LINES:
        return end
    lines = _LINES.match(data)
    return lines.end() if lines is not None else end


_LINES: Final = re.compile(rb"(?:[^\n]*+\n){%d}" % LINES)
