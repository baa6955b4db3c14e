"""The HTTP server: uvicorn, with the limits that it lacks.

Owns: its settings. Never: connections (see `web_connection`); the application; signals, which are
the process's.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final

import uvicorn
from starlette.types import ASGIApp

from fox_shard.config import Config
from fox_shard.runtime.web_connection import Addresses, WebConnection
from fox_shard.runtime.web_limits import limits_of
from fox_shard.runtime.web_slices import Reading, Slices
from fox_shard.runtime.web_websocket import CountedWebSocket
from fox_shard.web.room import Room

HEAD: Final = 1 << 15
"""Bytes of the head of a request."""

KEPT: Final = 60
"""Seconds for which a connection without requests is kept."""


def hush_libraries() -> None:
    """Log nothing of each request: what matters of it, the processes say themselves."""
    for name in ("uvicorn", "uvicorn.error", "fox.client"):
        logging.getLogger(name).setLevel(logging.ERROR)


def make_server(app: ASGIApp, config: Config, room: Room | None = None) -> "Server":
    """Return a server of the application, which does not listen yet.

    room: of long messages that come by WebSocket; None: one of its own.
    """
    room_ = room or Room(limits_of(config, is_local=None).messages)
    patience = config.gateway.handshake_timeout

    trusted = config.web.trusted_proxies

    of_addresses = Addresses(config.web.max_connections_per_address, trusted)
    interval = config.gateway.ping_interval

    @final
    class Connection(WebConnection):
        head_timeout = patience
        slow_timeout = config.web.slow_timeout
        addresses = of_addresses

    @final
    class WebSocketConnection(CountedWebSocket):
        addresses = of_addresses
        room = room_
        longest = config.gateway.max_message_size
        message_timeout = config.gateway.message_timeout

    slices = Slices()

    def make_connection(**named: Any) -> Reading:  # noqa: ANN401 (uvicorn's)
        return Reading(Connection(**named), slices)

    settings = uvicorn.Config(
        app,
        http=make_connection,  # type: ignore[arg-type]
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
