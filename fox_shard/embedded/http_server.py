"""The HTTP server of `fox serve`, at `web.address`: what the process `web` is in a cluster.

Owns: its sockets, start, health and end. Never: requests (see `fox_shard.web`); the router.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, TextIO, final

from fox_shard.config import Address, Config
from fox_shard.embedded.entrance import Clients
from fox_shard.gateway.sockets.listening import listening_sockets, refusal_of
from fox_shard.gateway.sockets.ports import Claims
from fox_shard.runtime.name_lock import hold_name

if TYPE_CHECKING:
    from fox_shard.embedded.web import WebApplication
    from fox_shard.runtime.web_server import Server

_log = logging.getLogger("fox")

BACKLOG: Final = 2048
"""Connections that wait to be accepted, per listening socket."""

_SETTING: Final = "web.address"


@final
class HttpServer:
    """An `Annex`. The framework is loaded when clients are let in already, as it takes a while."""

    name = "web"

    def __init__(self, clients: Clients, address: Address) -> None:
        self._clients = clients
        self._address = address
        self._lock: TextIO | None = None
        self._claims: Claims | None = None
        self._sockets: list[socket.socket] = []
        self._config: Config
        self._app: WebApplication | None = None
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def open(self, config: Config) -> None:
        """Let connections wait for `start`. Raises StartError."""
        self._config = config
        self._lock = hold_name(config, self.name)
        self._claims = Claims(config.run_dir)
        self._sockets = listening_sockets(self._address, self._claims, _SETTING)
        try:
            for one in self._sockets:
                one.listen(BACKLOG)
        except OSError as error:
            raise refusal_of(self._address, error, _SETTING) from error
        port = self._sockets[0].getsockname()[1]
        self._address = Address(self._address.host, port)
        if config.web.keys:
            # They may be unreadable.
            self._app = self._make_app()

    def _make_app(self) -> "WebApplication":
        from fox_shard.embedded.web import WebApplication

        app = WebApplication(self._clients, self._address)
        app.open(self._config)
        return app

    async def start(self) -> None:
        """Begin to answer."""
        for module in ("embedded.web", "runtime.web_server"):
            await asyncio.to_thread(import_module, f"fox_shard.{module}")
        from fox_shard.runtime.web_server import hush_libraries, make_server

        hush_libraries()
        app = self._app = self._app or self._make_app()
        server = self._server = make_server(app, self._config, app.room)
        self._serving = asyncio.create_task(server.serve(self._sockets))
        _log.info("listening", extra={"fox": {"process": self.name, "web": str(self._address)}})

    async def wait(self) -> None:
        """Wait until it has ended."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """End event streams, answer the requests that are under way, and end all sessions."""
        if self._server is None or self._serving is None or self._app is None:
            return
        self._app.end_streams()
        self._server.should_exit = True
        await self._serving
        await self._app.close()

    def close(self) -> None:
        """Give the address back."""
        for one in self._sockets:
            one.close()
        if self._claims is not None:
            self._claims.drop()
        if self._lock is not None:
            self._lock.close()

    def health(self) -> Mapping[str, object]:
        """Return the state for health checks, as the process `web` does."""
        gateway = self._clients.gateway
        if self._server is None or self._app is None or not self._server.started:
            status = "starting"
        else:
            status = "ok" if gateway is not None and gateway.linked else "unavailable"
        return {
            "name": self.name,
            "status": status,
            "listening": {"web": str(self._address)},
            **({} if self._app is None else self._app.health),
            **({} if self._server is None else self._server.health),
        }
