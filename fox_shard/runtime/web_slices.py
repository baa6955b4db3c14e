"""What clients of the HTTP server send, a slice at a time.

Owns: how much of it is handled at once, and whose turn it is. Never: what it means.
"""

import asyncio
import re
from collections import deque
from typing import Any, Final, Protocol, cast, final

SLICE: Final = 1 << 12
"""Bytes that are handled at once."""

WEBSOCKET_SLICE: Final = 1 << 11
"""Bytes of a WebSocket that are handled at once: at most 341 frames, without content."""

LINES: Final = 64
"""Lines that are handled at once. A body may have a chunk for each six bytes, and each of these
has two lines and costs as much as a long one: here a fraction of a millisecond."""

READ: Final = 1 << 17
"""Bytes that are read at once."""


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


class _Served(Protocol):
    """Whoever is handed the bytes: a connection, or a WebSocket. slice_bytes: at once."""

    @property
    def slice_bytes(self) -> int: ...

    def connection_made(self, transport: asyncio.Transport) -> None: ...

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

    def __init__(self, connection: _Served, slices: Slices) -> None:
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
        self._most = connection.slice_bytes
        self.eof_received = connection.eof_received  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport
        self._made(cast(asyncio.Transport, _SlicedTransport(transport, self)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what is left."""
        self._left = b""
        self._connection.connection_lost(exc)

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
