"""The HTTP server: uvicorn, with the limits that it lacks.

Owns: how long a client may take for the head of a request, and how long it may not read. Never: the
application; signals, which are the process's.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fox_shard.config import Config
from fox_shard.web import WebApp

HEAD: Final = 1 << 15
"""Bytes of the head of a request."""

KEPT: Final = 60
"""Seconds for which a connection without requests is kept."""


def make_server(app: WebApp, config: Config) -> "Server":
    """Return a server of the application, which does not listen yet."""
    patience = config.gateway.handshake_timeout

    @final
    class Connection(_Connection):
        head_timeout = patience

    trusted = list(config.web.trusted_proxies)
    settings = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted or None,
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
    def connections(self) -> int:
        """How many connections there are."""
        return len(self.server_state.connections)


class _Connection(H11Protocol):
    """A connection that ends if the head of a request does not come in time."""

    head_timeout: float

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401 (uvicorn's)
        super().__init__(*args, **named)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_timeout, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take bytes; if they are the beginning of a head, expect its end."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Close the connection if the client still sends a body that nobody reads."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.abort()
