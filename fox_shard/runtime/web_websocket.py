"""One WebSocket of the HTTP server: uvicorn's, with the limits that it lacks.

Owns: how much is read while its client does not read, and the time for a long message. Never: the
application, messages.
"""

import asyncio
from typing import Final

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fox_shard.runtime.web_connection import PROGRESS, Addresses
from fox_shard.runtime.web_slices import WEBSOCKET_SLICE
from fox_shard.web.room import LONG, Reservation, Room


class CountedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket, which counts as a connection of its address until it ends.

    While its client does not take what was written, nothing that it sends is read: each Ping of it
    is answered. A long message is read when there is room for it, and has to go on: its end, or 256
    KiB more of it, has to come within `message_timeout` seconds.
    """

    slice_bytes: Final = WEBSOCKET_SLICE
    addresses: Addresses
    room: Room
    longest: int
    message_timeout: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._reservation = Reservation(self.room, self._address, self.longest, self._go_on)
        # Bytes since the last whole message, and how many there were at the last look.
        self._unfinished = self._looked_at = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        """Count one less."""
        self.addresses.leave(self._address)
        self._reservation.end()
        self._stop_timer()
        super().connection_lost(exc)
        # The connection refers to itself, so it lives until garbage is looked for.
        self.conn.reader.discard()
        self.frames = []

    def data_received(self, data: bytes) -> None:
        """Take bytes; read no more of them while answers wait, or until there is room."""
        self._unfinished += len(data)
        super().data_received(data)
        if not self.frames and not self.conn.reader.buffer:
            self._unfinished = 0
        is_long = self._unfinished > LONG
        if not self.writable.is_set() or (is_long and not self._reservation.ask()):
            self.transport.pause_reading()
        elif is_long and self._timer is None:
            self._looked_at = self._unfinished
            self._timer = self.loop.call_later(self.message_timeout, self._look)

    def send_receive_event_to_app(self) -> None:
        """Hand a whole message over."""
        self._reservation.come(self._unfinished)
        self._unfinished = 0
        self._stop_timer()
        super().send_receive_event_to_app()

    async def receive(self) -> ASGIReceiveEvent:
        """Wait for the next message; the one before is not in use any more."""
        self._reservation.used()
        return await super().receive()

    def resume_writing(self) -> None:
        """Read on, unless the application has enough to do."""
        super().resume_writing()
        self._go_on()

    def _go_on(self) -> None:
        if not self.read_paused and not self._reservation.is_asking and self.writable.is_set():
            self.transport.resume_reading()

    def _look(self) -> None:
        """End the connection, if too little of a long message has come."""
        self._timer = None
        if self._unfinished - self._looked_at < PROGRESS and not self._reservation.is_asking:
            self.transport.abort()
            return
        self._looked_at = self._unfinished
        self._timer = self.loop.call_later(self.message_timeout, self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
