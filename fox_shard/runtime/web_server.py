"""The HTTP server: uvicorn, with the limits that it lacks.

Owns: how long a client may take for the head of a request, and how long it may not read. Never: the
application; signals, which are the process's.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any, Final, final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fox_shard.config import Config

HEAD: Final = 1 << 15
"""Bytes of the head of a request."""

KEPT: Final = 60
"""Seconds for which a connection without requests is kept."""


def hush_libraries() -> None:
    """Log nothing of each request: what matters of it, the processes say themselves."""
    for name in ("uvicorn", "uvicorn.error", "fox.client"):
        logging.getLogger(name).setLevel(logging.ERROR)


def make_server(app: ASGIApp, config: Config) -> "Server":
    """Return a server of the application, which does not listen yet."""
    patience = config.gateway.handshake_timeout

    trusted = config.web.trusted_proxies

    of_addresses = Addresses(config.web.max_connections_per_address, trusted)
    interval = config.gateway.ping_interval

    @final
    class Connection(_Connection):
        head_timeout = patience
        addresses = of_addresses

    @final
    class WebSocketConnection(_WebSocketConnection):
        addresses = of_addresses

    settings = uvicorn.Config(
        app,
        http=Connection,
        ws=WebSocketConnection,
        ws_max_size=config.gateway.max_message_size,
        ws_per_message_deflate=False,
        ws_ping_interval=interval or None,
        ws_ping_timeout=interval or None,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=list(trusted) or None,
        limit_concurrency=config.web.max_connections,
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=max(1, round(config.gateway.drain_timeout)),
        h11_max_incomplete_event_size=HEAD,
    )
    return Server(settings)


@final
class Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    @property
    def health(self) -> Mapping[str, int]:
        """How many connections there are, and requests there were."""
        state = self.server_state
        return {"connections": len(state.connections), "requests": state.total_requests}


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


class _Connection(H11Protocol):
    """A connection that ends if the head of a request does not come in time."""

    head_timeout: float
    addresses: Addresses

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401 (uvicorn's)
        super().__init__(*args, **named)
        self._head_timer: asyncio.TimerHandle | None = None

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
        self.addresses.leave(self._address)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Go on with the next request, unless the client still sends a body that nobody reads."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._expect_head()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.transport.close()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Let the connection go on as a WebSocket, unless there are too many connections."""
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            self.transport.abort()
            return
        self._stop_timer()
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


class _WebSocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket, which counts as a connection of its address until it ends."""

    addresses: Addresses

    def connection_lost(self, exc: Exception | None) -> None:
        """Count one less."""
        self.addresses.leave(self.client[0] if self.client else "")
        super().connection_lost(exc)
