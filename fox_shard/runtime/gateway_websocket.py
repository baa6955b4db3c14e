"""A WebSocket to a gateway, on behalf of one client of the HTTP server.

Owns: when it is read. Never: what messages mean; who has it.

It is read only while a message is waited for: so what a client does not take stays in its gateway,
which knows what becomes of slow clients. A long message is read when there is room for it.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final, final

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.typing import Data, Subprotocol

from fox_shard.web.room import LONG, Reservation, Room

CONNECTING: Final = 5.0
"""Seconds in which a gateway must answer, and close."""


@final
class GatewayWebSocket(ClientConnection):
    """The WebSocket."""

    def __init__(self, reservation: tuple[Room, str, int], *args: Any, **named: Any) -> None:  # noqa: ANN401
        """reservation: room, address and longest message, as of `Reservation`."""
        super().__init__(*args, **named)
        self._reservation = Reservation(*reservation, self._go_on)
        # Whether a message is waited for; at first the answer to the handshake is.
        self._waits = True

    def data_received(self, data: bytes) -> None:
        """Take bytes. If they are the beginning of a long message, wait for room."""
        super().data_received(data)
        if len(self.protocol.reader.buffer) > LONG and not self._reservation.ask():
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Need no room any more."""
        self._reservation.end()
        super().connection_lost(exc)
        # The connection refers to itself, so it lives until garbage is looked for.
        self.protocol.reader.discard()

    async def recv(self, decode: bool | None = None) -> Data:  # type: ignore[override] # noqa: FBT001 (its own)
        """Wait for the next message, and return it. The one before is not in use any more."""
        self._reservation.used()
        self._waits = True
        if not self._reservation.is_asking:
            self.transport.resume_reading()
        try:
            message = await super().recv(decode)
        finally:
            self._waits = False
            self.transport.pause_reading()
        self._reservation.come(len(message))
        return message

    async def ping(self, data: Data | None = None) -> Awaitable[float]:
        """Send a Ping, unless nobody could hear its answer, as there is no room."""
        if not self._reservation.is_asking:
            return await super().ping(data)
        answered: asyncio.Future[float] = self.loop.create_future()
        answered.set_result(0.0)
        return answered

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it. What has not been read is not read any more."""
        if len(self.protocol.reader.buffer) > LONG:
            self.transport.abort()
        self._waits = True
        self._go_on()
        await super().close(code, reason)

    def _go_on(self) -> None:
        if self._waits and not self.transport.is_closing():
            self.transport.resume_reading()


async def connect(
    path: Path, subprotocols: list[str], headers: dict[str, str], reservation: tuple[Room, str, int]
) -> ClientConnection:
    """Connect to the gateway at a UNIX socket. reservation: see `GatewayWebSocket`."""
    return await unix_connect(
        str(path),
        "ws://localhost/ws",
        create_connection=lambda *args, **named: GatewayWebSocket(reservation, *args, **named),
        additional_headers=headers,
        subprotocols=[Subprotocol(one) for one in subprotocols],
        compression=None,
        max_size=None,
        max_queue=None,
        open_timeout=CONNECTING,
        close_timeout=CONNECTING,
        ping_interval=None,
    )
