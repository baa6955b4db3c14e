"""The web process: HTTP, carried out by sessions at the gateways.

Owns: its start, its health, its end. Never: requests (see `fox_shard.web`); users, roles and rules,
which are the gateways'.
"""

import asyncio
import logging
import os
import random
import signal
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, final

import uvloop
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake

from fox_shard.client.failures import CannotConnect
from fox_shard.client.transport import Transport
from fox_shard.client.websocket import SUBPROTOCOL, WebSocket
from fox_shard.config import Address, Config
from fox_shard.coordinator.totals import ProcessTotals
from fox_shard.gateway.clients.access import is_loopback
from fox_shard.gateway.sockets.listening import ListenError, listening_sockets
from fox_shard.gateway.sockets.ports import Claims
from fox_shard.runtime.core_share import PERIOD, CoreShare
from fox_shard.runtime.gateway_websocket import connect
from fox_shard.runtime.health import process_names
from fox_shard.runtime.health_socket import HealthSocket
from fox_shard.runtime.interpreter import settle_garbage
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.memory import resident_bytes
from fox_shard.runtime.metrics_token import TokenFileError, read_token
from fox_shard.runtime.name_lock import AlreadyRunning, hold_name
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.sentences import tell
from fox_shard.runtime.server_metrics import metrics_page
from fox_shard.runtime.signing_keys import SigningKeysFileError, read_signing_keys
from fox_shard.runtime.status import ProcessHealth
from fox_shard.runtime.supervision import follow_supervisor
from fox_shard.runtime.web_limits import limits_of
from fox_shard.runtime.web_relay import WebSocketRelay
from fox_shard.runtime.web_server import Server, hush_libraries, make_server
from fox_shard.runtime.web_socket import web_sockets
from fox_shard.web import WebApp, make_app
from fox_shard.web.frames import FrameSource
from fox_shard.web.pool import Pool
from fox_shard.web.router import Router
from fox_shard.web.sessions import Visitor
from fox_shard.web.signatures import SigningKey

_log = logging.getLogger("fox")

NAME: Final = "web"

PATIENCE: Final = 20.0
"""Seconds of silence after which a gateway counts as gone."""


def run_web(config: Config, address: Address, frames: FrameSource | None = None) -> int:
    """Run the HTTP server until it is told to stop. Returns the exit code.

    frames: looks at what the processes send each other.
    """
    supervisor = follow_supervisor()
    set_up_logging(config)
    hush_libraries()
    claims = Claims(config.run_dir)
    try:
        lock = hold_name(config, NAME)
        check_openness(config)
        keys = read_signing_keys(config.web.keys)
        token = read_token(config.metrics.token)
        sockets = listening_sockets(address, claims, "web.address")
    except (AlreadyRunning, ListenError, SigningKeysFileError, TokenFileError) as error:
        tell(f"fox: {error}")
        if supervisor is not None and not isinstance(error, AlreadyRunning):
            supervisor.stop(Path(config.run_dir), str(error))
        return 1
    with lock, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_WebProcess(config, address, keys, frames, token).run(sockets))
    claims.drop()
    return 0


@final
class _WebProcess:
    """The process, from start to end."""

    def __init__(
        self,
        config: Config,
        address: Address,
        keys: tuple[SigningKey, ...],
        frames: FrameSource | None,
        token: str,
    ) -> None:
        """keys: of signed requests. token: for the metrics; "": there is none."""
        self._config = config
        self._address = address
        web = config.web
        router = Router(
            self._dial, random.random, web.stream_bytes, config.gateway.max_message_size
        )
        self._pool = Pool(
            router.open, most=web.max_sessions, idle=web.session_idle, age=web.session_age
        )
        self._relay = WebSocketRelay(self._connect)
        self._app: WebApp = make_app(
            self._pool,
            limits_of(config, is_local=is_loopback(address.host)),
            keys=keys,
            processes=ProcessHealth(config),
            frames=frames,
            wamp=self._relay,
            metrics=metrics_page(config, token, process_names(config), self._counted),
        )
        self._server: Server = make_server(self._app, config, self._app.room)
        self._share = CoreShare(time.monotonic(), time.process_time())

    async def run(self, sockets: list[Any]) -> None:
        """Serve until a signal comes."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        health = HealthSocket(Path(self._config.run_dir), NAME, self._health)
        await health.open()
        sampling = [asyncio.create_task(self._sample())]
        if self._app.recent_states is not None:
            sampling.append(asyncio.create_task(self._app.recent_states.keep_on()))
        settle_garbage()
        _log.info("started", extra={"fox": {"process": NAME, "pid": os.getpid()}})
        _log.info("listening", extra={"fox": {"process": NAME, "web": str(self._address)}})
        await self._server.serve(sockets)
        await self._pool.close()
        for task in sampling:
            task.cancel()
        health.close()
        _log.info("stopped", extra={"fox": {"process": NAME}})

    def _stop(self) -> None:
        self._app.end_streams()
        self._server.should_exit = True

    async def _dial(self, visitor: Visitor) -> Transport:
        """Connect to any gateway that answers. Raises CannotConnect."""
        # Without a port: all connections of the visitor share the session.
        connection = await self._connect(visitor.address, 0, [SUBPROTOCOL], {})
        return WebSocket("a gateway", connection, PATIENCE)

    async def _connect(
        self, host: str, port: int, subprotocols: list[str], headers: dict[str, str]
    ) -> ClientConnection:
        """Connect to any gateway that answers, for an address. Raises CannotConnect."""
        if address := _forwarded(host, port):
            headers = {**headers, "X-Forwarded-For": address}
        reservation = (self._app.room, host, self._config.gateway.max_message_size)
        paths = web_sockets(Path(self._config.run_dir))
        random.shuffle(paths)
        for path in paths:
            with suppress(OSError, EOFError, TimeoutError, InvalidHandshake):
                return await connect(path, subprotocols, headers, reservation)
        raise CannotConnect("No gateway answers.")

    def _counted(self) -> dict[str, ProcessTotals]:
        """Return what this process has counted; the coordinator does not know it."""
        served = self._server.health
        counters = {
            "requests": served["requests"],
            "cpu_milliseconds": round(1000 * time.process_time()),
        }
        gauges = {
            "connections": served["connections"],
            "sessions": len(self._pool),
            "streams": self._app.streams,
            "memory_bytes": resident_bytes(),
        }
        return {NAME: ProcessTotals(counters, gauges)}

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            self._share.sample(time.monotonic(), time.process_time())

    def _health(self) -> dict[str, object]:
        """Return the state for health checks, in the form of `Node.health`."""
        linked = bool(web_sockets(Path(self._config.run_dir)))
        is_well = linked and self._server.started
        return {
            "name": NAME,
            "status": "ok" if is_well else "unavailable",
            "listening": {"web": str(self._address)},
            "sessions": len(self._pool),
            "streams": self._app.streams,
            "websockets": self._relay.open,
            **self._server.health,
            "cores": self._share.value(time.monotonic(), time.process_time()),
        }


def _forwarded(host: str, port: int) -> str:
    """Return the client's address as X-Forwarded-For says it, "": it has none. port: 0: unknown."""
    try:
        version = ip_address(host).version
    except ValueError:
        return ""
    if not port:
        return host
    return f"[{host}]:{port}" if version == 6 else f"{host}:{port}"
