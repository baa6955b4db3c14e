"""`FoxRouter`: the whole server in the process and event loop of an application.

Owns: starting and stopping it, in order. Never: turns (see `shell`); the process, its signals and
its log, which belong to the application.
"""

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.failures import Unreachable
from fox_shard.client.realm import Realm
from fox_shard.client.transport import Transport
from fox_shard.compiled import build_of_this_process
from fox_shard.config import Config
from fox_shard.config.reader import NO_SETTINGS
from fox_shard.datadir import opening
from fox_shard.embedded.asgi import WampApplication
from fox_shard.embedded.configuring import configure
from fox_shard.embedded.errors import RouterError
from fox_shard.embedded.junction import Junction
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.embedded.local_transport import LocalTransport
from fox_shard.embedded.shell import JunctionShell
from fox_shard.gateway.core import Gateway
from fox_shard.runtime.client_side import ClientSide, load_functions
from fox_shard.runtime.cores import (
    link_settings,
    make_coordinator,
    make_gateway,
    make_shard,
    new_incarnation,
)
from fox_shard.runtime.health import NODES, ROUTER
from fox_shard.runtime.health_socket import HealthSocket
from fox_shard.runtime.logins import Logins
from fox_shard.runtime.metrics import report_interval, send_metrics
from fox_shard.runtime.name_lock import hold_name
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.refusals import REFUSALS
from fox_shard.runtime.schemas import read_schemas
from fox_shard.worker.functions import python_reducers

_log = logging.getLogger("fox")

SETTLING: Final = 5.0
"""Seconds that the end of the router waits for what is not on the disk yet."""


@final
class FoxRouter:
    """A server with one gateway, one shard and the coordinator, in this process and event loop.

    An async context manager: `start` and `stop`. It has the listeners, stores and promises of a
    server of several processes, and its files: no other server can use its data or run directory
    meanwhile. A router starts once.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | None = None,
        settings: Mapping[str, object] = NO_SETTINGS,
    ) -> None:
        """Read the configuration. Raises ConfigError.

        file: the configuration file; None: $FOX_CONFIG, or else conf/fox.toml if there is one, or
        else the defaults. settings: override the file and the FOX_ variables, by the names that
        `fox config` prints: {"data_dir": "/srv/data", "gateway.mqtt": "off"}. There are always one
        gateway and one shard.
        """
        self._configured = configure(file, settings, os.environ)
        self._started = False
        self._ending: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failure: Exception | None = None
        # What is to be undone at the end, in reverse order.
        self._undo = AsyncExitStack()
        self._shell: JunctionShell
        self._gateway: Gateway
        # The sessions of the application itself, by realm.
        self._realms: dict[str, Realm] = {}
        # The connections without a socket.
        self._local: set[LocalConnection] = set()
        self._clients: ClientSide
        # A sentence that says which realms anybody may do everything in; "": none.
        self.openness = ""

    @property
    def config(self) -> Config:
        """The settings in effect."""
        return self._configured.config

    @property
    def listening(self) -> dict[str, str]:
        """Where clients are let in, by listener: {"mqtt": "127.0.0.1:1883", …}; before: {}."""
        return dict(self._clients.listening) if self._started else {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # The start

    async def start(self) -> None:
        """Start, and return when clients are let in.

        Raises RouterError, and then everything is as before; or ConfigError.
        """
        if self._started or self._ended.is_set():
            raise RouterError("A FoxRouter starts once: make another one.")
        try:
            await self._start()
        except REFUSALS as error:
            await self._undo.aclose()
            raise RouterError(str(error)) from error
        except BaseException:
            await self._undo.aclose()
            raise

    async def _start(self) -> None:
        config, folder = self.config, self._configured.folder
        _refuse_workers(config)
        self.openness = check_openness(config)
        for name in (ROUTER, *NODES):
            self._undo.callback(hold_name(config, name).close)
        opening.refuse_other_layout(config)
        junction = await self._make_nodes(config, folder)
        shell = self._shell
        shell.on_failure = self._failed
        shell.start()
        await self._linked_or_failed()
        await self._clients.listen()
        self._started = True
        await self._answer_health(junction)
        about = {"process": ROUTER, "pid": os.getpid(), "build": build_of_this_process()}
        _log.info("started", extra={"fox": about})
        _log.info("ready", extra={"fox": self._clients.listening})

    async def _linked_or_failed(self) -> None:
        waits = [asyncio.create_task(one.wait()) for one in (self._clients.linked, self._ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if self._ended.is_set():
            await self.wait()

    async def _make_nodes(self, config: Config, folder: Path) -> Junction:
        """Open the stores, make the nodes from what is in them, and join them."""
        loop = asyncio.get_running_loop()
        schemas = read_schemas(config)
        of_shard, generation = await opening.open_shard(
            0, config, lambda ticket, why: shell.committed("shard-0", ticket, why)
        )
        if of_shard.hold is not None:
            self._undo.callback(of_shard.hold.release)
        stores = {"shard-0": of_shard.store}
        unused_stores = self._undo.enter_context(ExitStack())
        unused_stores.callback(of_shard.store.close)
        of_coordinator, _ = await opening.open_coordinator(
            config, lambda ticket, why: shell.committed("coordinator", ticket, why)
        )
        unused_stores.callback(of_coordinator.store.close)
        stores["coordinator"] = of_coordinator.store
        logins = Logins(config, "gateway-0")
        functions = load_functions(config, folder)
        terms = link_settings(config, generation, hands_over=True)
        gateway = make_gateway(
            0, config, terms, new_incarnation(), logins.users, loop.time(), _always
        )
        # There may be millions of rows.
        shard = await asyncio.to_thread(
            make_shard,
            0,
            config,
            terms,
            new_incarnation(),
            of_shard.store,
            loop.time(),
            _always,
        )
        coordinator = await asyncio.to_thread(
            make_coordinator,
            config,
            terms,
            new_incarnation(),
            of_coordinator.store,
            schemas,
            loop.time(),
            _always,
        )
        junction = Junction([gateway, coordinator, shard])
        shell = self._shell = JunctionShell(junction, stores, report_interval(config))
        self._clients = ClientSide(
            gateway, 0, config, logins, functions, partial(shell.schedule, gateway.name)
        )
        self._gateway = gateway
        shell.after_turn = self._after_turn
        # From here on the shell closes the stores.
        unused_stores.pop_all()
        self._undo.push_async_callback(shell.stop)
        self._undo.callback(self._clients.stop)
        metrics = asyncio.create_task(send_metrics(coordinator, config, self._stopping))
        self._undo.push_async_callback(_finished, metrics)
        self._undo.callback(self._stopping.set)
        self._undo.push_async_callback(self._let_clients_go)
        return junction

    async def _answer_health(self, junction: Junction) -> None:
        run_dir = Path(self.config.run_dir)
        answers: dict[str, Callable[[], Mapping[str, object]]] = {
            node.name: node.health for node in junction.nodes
        }
        of_gateway = answers[NODES[0]]
        answers[NODES[0]] = lambda: {**of_gateway(), "listening": self.listening}
        answers[ROUTER] = lambda: {"name": ROUTER, "status": "ok", "nodes": NODES}
        for name, answer in answers.items():
            socket = HealthSocket(run_dir, name, answer)
            await socket.open()
            self._undo.callback(socket.close)

    def _after_turn(self) -> None:
        for connection in [*self._local]:
            connection.collect()
            if connection.closed:
                self._local.discard(connection)
        self._clients.after_flush()

    def realm(self, name: str) -> Realm:
        """Return the realm of that name, for the application itself; the same one each time.

        It joins when it is first used. It may do everything, whatever roles there are, and has the
        authid `fox.application`. Raises RouterError if the router does not run.
        """
        if not self._started or self._ending is not None:
            raise RouterError("The router does not run.")
        realm = self._realms.get(name)
        if realm is None or realm.over:
            realm = self._realms[name] = self._make_realm(name)
        return realm

    def _make_realm(self, name: str) -> Realm:
        async def dial() -> Transport:
            if self.gateway is None:
                raise Unreachable("The router does not run.")
            return LocalTransport(self.connect, lambda: engine.buffer.held)

        core = ClientCore(name, None, random.random)
        # What does not fit into the buffer waits for the application, too; the gateway counts both.
        buffer = self._gateway.settings.outbound_limit // 4
        engine = Engine(core, dial, Backoff(random.random), buffer)
        return Realm(engine)

    @property
    def wamp(self) -> WampApplication:
        """An ASGI application that lets WAMP clients in, at a path of a web application."""
        return WampApplication(self)

    @asynccontextmanager
    async def lifespan(self, _application: object = None) -> AsyncIterator[None]:
        """Run the router as long as a web application: a `lifespan` of Starlette, FastAPI."""
        async with self:
            yield

    @property
    def gateway(self) -> Gateway | None:
        """The gateway, for what is in this package; None: the router does not run."""
        return self._gateway if self._started and self._ending is None else None

    def connect(self, client: Client) -> LocalConnection:
        """Connect a client without a socket, for what is in this package."""
        connection = LocalConnection(
            self._gateway, client, partial(self._shell.schedule, self._gateway.name)
        )
        self._local.add(connection)
        return connection

    def reload_certificates(self) -> None:
        """Read the listeners' certificates again, for new connections."""
        self._clients.reload_certificates()

    # The end

    async def stop(self) -> None:
        """Say goodbye to all clients, write what is left, and let go of everything.

        This takes up to `gateway.drain_timeout` seconds, and what the disk needs. Stopping twice is
        stopping once.
        """
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def wait(self) -> None:
        """Wait until the router has stopped. Raises RouterError if it could not go on."""
        await self._ended.wait()
        if self._failure is not None:
            raise RouterError(
                f"The router has failed ({type(self._failure).__name__}: {self._failure})."
            ) from self._failure

    async def _end(self) -> None:
        try:
            await self._undo.aclose()
        finally:
            self._ended.set()
            if self._started:
                _log.info("stopped", extra={"fox": {"process": ROUTER}})

    async def _let_clients_go(self) -> None:
        for realm in self._realms.values():
            await realm.stop("The router is shutting down.", leaves=self._failure is None)
        if self._failure is not None:
            await self._clients.cut_off()
            for connection in [*self._local]:
                with suppress(Exception):
                    # The gateway cannot be trusted any more.
                    connection.close()
            return
        await self._clients.say_goodbye()
        await self._shell.settle(SETTLING)
        for connection in [*self._local]:
            connection.close()

    def _failed(self, error: Exception) -> None:
        """An exception nobody expected: nothing that the nodes know can be trusted any more."""
        self._failure = error
        _log.critical("failed", exc_info=error)
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())


def _always(_peer: str, _incarnation: int, _now: float) -> bool:
    """Say that a peer works: an `IsWorking` of nodes that are one process."""
    return True


async def _finished(task: "asyncio.Task[None]") -> None:
    await task


def _refuse_workers(config: Config) -> None:
    for realm in config.realms:
        for reducer in python_reducers(realm):
            raise RouterError(
                f"The reducer {reducer.function} is a Python function, which needs a worker: "
                "start the server with `fox run`, which has one."
            )
