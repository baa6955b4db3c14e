"""One HTTP connection: uvicorn's, with the limits that it lacks.

Owns: how long a client may take for the head of a request, how much of what it sends is handled at
once, how long it may read nothing. Never: the application.
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, Protocol, cast, final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

SLICE: Final = 1 << 12
"""Bytes that are handled at once."""

WEBSOCKET_SLICE: Final = 1 << 11
"""Bytes of a WebSocket that are handled at once: at most 341 frames, without content."""

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
    """A WebSocket, which counts as a connection of its address until it ends.

    While its client does not take what was written, nothing that it sends is read: each Ping of it
    is answered.
    """

    addresses: Addresses

    def connection_lost(self, exc: Exception | None) -> None:
        """Count one less."""
        self.addresses.leave(self.client[0] if self.client else "")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; read no more of them while the answers wait."""
        super().data_received(data)
        if not self.writable.is_set():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on, unless the application has enough to do."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()


class _Served(Protocol):
    """Whoever is handed the bytes: a connection, or a WebSocket."""

    def connection_lost(self, exc: Exception | None) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


@final
class Reading(asyncio.BufferedProtocol):
    """Hands a connection what its client sends, a slice at a time, as long as it wants to read.

    Nothing is read while there is more, so at most READ bytes wait here.
    """

    _buffer = bytearray(READ)
    """Of all connections: what is in it is taken out at once."""

    def __init__(self, connection: WebConnection, slices: Slices) -> None:
        self._made = connection.connection_made
        self._slices = slices
        self._left = b""
        self._wanted = True
        # Whether bytes are left that the connection does not want yet.
        self._parked = False
        self._transport: asyncio.Transport
        self.serve(connection)

    def serve(self, connection: _Served) -> None:
        """Hand everything to this connection from now on."""
        self._connection = connection
        self._most = WEBSOCKET_SLICE if isinstance(connection, CountedWebSocket) else SLICE
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport
        self._made(cast(asyncio.Transport, _SlicedTransport(transport, self)))

    def want(self, *, more: bool) -> None:
        """Note whether the connection wants more."""
        self._wanted = more
        if self._transport.is_closing():
            return
        if not more:
            self._transport.pause_reading()
        elif self._parked:
            self._parked = False
            self._slices.wait(self)
        elif not self._left:
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where the next bytes are written."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand a slice over; if there is more, when it is this connection's turn.

        So each turn has one slice of those who send much, however many these are.
        """
        waits = bool(self._left)
        self._left += bytes(memoryview(self._buffer)[:nbytes])
        if not waits and _end_of_slice(self._left, self._most) == nbytes:
            self._hand_over()
            return
        self._transport.pause_reading()
        if not waits:
            self._slices.wait(self)

    def read_on(self) -> bool:
        """Hand the next slice over; return whether there is more that the connection wants."""
        if self._wanted:
            self._hand_over()
        if not self._left:
            if self._wanted and not self._transport.is_closing():
                self._transport.resume_reading()
            return False
        self._parked = not self._wanted
        return self._wanted

    def _hand_over(self) -> None:
        if not self._transport.is_closing():
            end = _end_of_slice(self._left, self._most)
            piece, self._left = self._left[:end], self._left[end:]
            self._connection.data_received(piece)
        if self._transport.is_closing():
            # What nobody wants was read nevertheless: so the client gets the answer.
            self._left = b""


@final
class _SlicedTransport:
    """A transport as a connection sees it whose bytes come by way of `Reading`."""

    def __init__(self, transport: asyncio.Transport, reading: Reading) -> None:
        self._transport = transport
        self._reading = reading

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a transport has)
        return getattr(self._transport, name)

    def pause_reading(self) -> None:
        """Want no more."""
        self._reading.want(more=False)

    def resume_reading(self) -> None:
        """Want more."""
        self._reading.want(more=True)

    def set_protocol(self, protocol: _Served) -> None:
        """Hand what comes to another one."""
        self._reading.serve(protocol)


def _end_of_slice(data: bytes, most: int) -> int:
    """Return how many of these bytes are handled at once."""
    end = min(len(data), most)
    if data.count(b"\n", 0, end) <= LINES:
        return end
    lines = _LINES.match(data)
    return lines.end() if lines is not None else end


_LINES: Final = re.compile(rb"(?:[^\n]*+\n){%d}" % LINES)
