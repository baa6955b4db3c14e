"""One HTTP connection: uvicorn's, with the limits that it lacks.

Owns: how long a client may take for the head of a request, how long it may read nothing. Never:
the application.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fox_shard.runtime.web_slices import SLICE

PROGRESS: Final = 1 << 18
"""Bytes that a client has to take of an answer, or to send of a message, within the timeout."""


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


class WebConnection(H11Protocol):
    """A connection that ends if its client sends, or reads, too slowly. slow_timeout: seconds."""

    slice_bytes: Final = SLICE
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
