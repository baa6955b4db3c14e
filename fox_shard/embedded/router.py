"""`FoxRouter`: a server, or a gateway of one, in the process and event loop of an application.

Owns: its life, from start to stop, in order. Never: the nodes (see `joined`, `attached`); turns
(see `shell`, `wire_shell`); the process, its signals and its log, which belong to the application.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, final

from fox_shard.client.realm import Realm
from fox_shard.compiled import build_of_this_process
from fox_shard.config import Config, ConfigError
from fox_shard.config.reader import NO_SETTINGS
from fox_shard.embedded.asgi import MQTT, WAMP, WebSocketApplication
from fox_shard.embedded.attached import make_attached
from fox_shard.embedded.configuring import configure
from fox_shard.embedded.errors import RouterError
from fox_shard.embedded.handing_over import UserOf
from fox_shard.embedded.joined import make_joined
from fox_shard.embedded.local_clients import LocalClients
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.embedded.parts import Annex, Health, Observe, Parts
from fox_shard.errors import StartError
from fox_shard.gateway.core import Gateway
from fox_shard.runtime.health import ROUTER
from fox_shard.runtime.health_socket import HealthSocket
from fox_shard.runtime.logs import leave_logging_to_application
from fox_shard.runtime.name_lock import AlreadyRunning
from fox_shard.worker.worker import NAME as WORKER
from fox_shard.worker.worker import Worker

if TYPE_CHECKING:
    from fox_shard.embedded.web import WebApplication

_log = logging.getLogger("fox")

_HINT: Final = (
    ". The workers of a web server share one server that runs beside them (`fox run`), to which a "
    "FoxRouter is attached in each of them."
)


@final
class FoxRouter:
    """A router in this process and event loop: a whole server, or a gateway of a running one.

    An async context manager: `start` and `stop`. A router that has stopped may start again, also in
    another event loop.

    A whole server has one gateway, one shard and the coordinator, the listeners, stores and
    promises of a server of several processes, and its files: no other server can use its data or
    run directory meanwhile. With `attach` the router is one more gateway beside a running server.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | None = None,
        settings: Mapping[str, object] = NO_SETTINGS,
        *,
        attach: str | os.PathLike[str] | None = None,
        user: UserOf | None = None,
    ) -> None:
        """Read the configuration, unless it is that of a running server. Raises ConfigError.

        file: the configuration file; None: $FOX_CONFIG, or else conf/fox.toml if there is one, or
        else the defaults. settings: override the file and the FOX_ variables, by the names that
        `fox config` prints: {"data_dir": "/srv/data", "gateway.mqtt": "off"}. There are always one
        gateway and one shard.

        attach: the run directory of a running server, whose configuration counts, without file and
        variables. The gateway has no listeners but those in `settings`, which may have further
        `gateway.` settings.

        user: returns whom the web application has authenticated, a `WebUser`, or None: nobody, so
        that the client has to prove who it is, or is anonymous. Gets the ASGI scope of each
        WebSocket or request that comes to `wamp`, `mqtt` or `web`; may be async.
        """
        leave_logging_to_application()
        self.user_of = user
        self._config: Config | None = None
        if attach is None:
            configured = configure(file, settings, os.environ)
            self._config = configured.config
            self._make = partial(make_joined, configured)
        elif file is None:
            self._make = partial(make_attached, Path(attach).absolute(), settings)
        else:
            raise ConfigError(
                "FoxRouter: with `attach` the configuration of the running server counts, so leave "
                "out `file`."
            )
        self._started = False
        self._ending: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._failure: Exception | None = None
        # What is to be undone at the end, in reverse order.
        self._undo = AsyncExitStack()
        self._parts: Parts
        self._local: LocalClients
        # Made when it is first asked for.
        self._web: WebApplication | None = None
        self._annexes: list[Annex] = []
        self._answers: dict[str, Health] = {}
        # A sentence that says which realms anybody may do everything in; "": none.
        self.openness = ""

    @property
    def config(self) -> Config:
        """The settings in effect. Raises RouterError as long as the server has not told them."""
        if self._config is None:
            raise RouterError("The router is not attached yet: start it first.")
        return self._config

    @property
    def listening(self) -> dict[str, str]:
        """Where clients are let in, by listener: {"mqtt": "127.0.0.1:1883", …}; before: {}."""
        return dict(self._parts.clients.listening) if self._started else {}

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
        if self._ended.is_set():
            self._started, self._ending, self._failure = False, None, None
            self._ended = asyncio.Event()
        if self._started:
            raise RouterError("The router runs already, or has not stopped yet.")
        try:
            await self._start()
        except StartError as error:
            await self._undo.aclose()
            hint = _HINT if isinstance(error, AlreadyRunning) else ""
            raise RouterError(f"{error}{hint}") from error
        except BaseException:
            await self._undo.aclose()
            raise

    async def _start(self) -> None:
        parts = self._parts = await self._make(self._undo)
        self._config, self.openness = parts.config, parts.openness
        self._local = LocalClients(parts.gateway, parts.schedule)
        self._undo.push_async_callback(self._let_clients_go)
        if self._web is not None:
            self._web.open(parts.config)
        parts.shell.after_turn = self._after_turn
        parts.shell.on_failure = self._failed
        parts.shell.start()
        await self._linked_or_failed()
        for annex in self._annexes:
            self._undo.callback(annex.close)
            annex.open(parts.config)
        await parts.clients.listen()
        self._started = True
        self._answers = self._health_answers(self._start_worker(parts))
        for name, answer in self._answers.items():
            socket = HealthSocket(Path(parts.config.run_dir), name, answer)
            await socket.open()
            self._undo.callback(socket.close)
        build = build_of_this_process()
        about = {"process": parts.process, "pid": os.getpid(), "build": build}
        _log.info("started", extra={"fox": about})
        _log.info("ready", extra={"fox": parts.clients.listening})

    def _start_worker(self, parts: Parts) -> dict[str, Health]:
        """Run reducers in Python and webhooks, if there are any; return what tells their health."""
        if not parts.works:
            return {}
        worker = Worker(parts.works, parts.config.reducer.timeout, self._local.join)
        worker.start()
        self._undo.push_async_callback(worker.stop)
        watch = asyncio.create_task(worker.watch())
        self._undo.callback(watch.cancel)
        return {WORKER: worker.health}

    def _health_answers(self, of_worker: Mapping[str, Health]) -> dict[str, Health]:
        """Return the answers about all that is in this process, which `fox health` asks for."""
        of_annexes = {one.name: one.health for one in self._annexes}
        answers = {**self._parts.health, **of_worker, **of_annexes}
        name = self._parts.gateway.name
        of_gateway = answers[name]
        answers[name] = lambda: {**of_gateway(), **self._health_of_web()}
        if (of_router := answers.get(ROUTER)) is not None:
            names = [name for name in answers if name != ROUTER]
            answers[ROUTER] = lambda: {**of_router(), "nodes": names}
        return answers

    def _health_of_web(self) -> dict[str, int]:
        health = {} if self._web is None else self._web.health
        return {f"web_{name}": number for name, number in health.items()}

    async def _linked_or_failed(self) -> None:
        events = (self._parts.clients.linked, self._ended)
        waits = [asyncio.create_task(one.wait()) for one in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if self._ended.is_set():
            await self.wait()

    def _after_turn(self) -> None:
        self._local.collect()
        self._parts.clients.after_flush()
        refusal = self._parts.gateway.refusal
        if refusal and self._failure is None:
            server = f"The server of {self.config.run_dir}"
            self._failed(RouterError(f"{server} does not let this gateway in: {refusal}."))

    # The application's own clients

    def realm(self, name: str) -> Realm:
        """Return the realm of that name, for the application itself; the same one each time.

        It joins when it is first used. It may do everything, whatever roles there are, and has the
        authid `fox.application`. Raises RouterError if the router does not run.
        """
        if self.gateway is None:
            raise RouterError(self.absence)
        return self._local.realm(name)

    @property
    def wamp(self) -> WebSocketApplication:
        """An ASGI application that lets WAMP clients in, at a path of a web application."""
        return WebSocketApplication(self, WAMP)

    @property
    def mqtt(self) -> WebSocketApplication:
        """An ASGI application that lets MQTT clients in, which use WebSockets."""
        return WebSocketApplication(self, MQTT)

    @property
    def web(self) -> "WebApplication":
        """An ASGI application for HTTP: the API of docs/http.md, at a path of a web application.

        Raises RouterError if the router runs already, but `web.keys` cannot be read.
        """
        if self._web is None:
            # The framework is not loaded for those who do without.
            from fox_shard.embedded.web import WebApplication

            web = WebApplication(self)
            if self.gateway is not None:
                try:
                    web.open(self.config)
                except StartError as error:
                    raise RouterError(str(error)) from error
            self._web = web
        return self._web

    @asynccontextmanager
    async def lifespan(self, _application: object = None) -> AsyncIterator[None]:
        """Run the router as long as a web application: a `lifespan` of Starlette, FastAPI."""
        async with self:
            yield

    @property
    def gateway(self) -> Gateway | None:
        """The gateway, for what is in this package; None: the router does not run."""
        return self._parts.gateway if self._started and self._ending is None else None

    @property
    def absence(self) -> str:
        """A sentence that says why the router does not run; "": it does."""
        if self._ending is not None:
            return "The router does not run any more: it is shutting down, or has stopped."
        if not self._started:
            return (
                "The router does not run yet: await `start`, or let the web application have the "
                "lifespan `router.lifespan` (applications that are mounted in another one have "
                "none)."
            )
        return ""

    @property
    def health_answers(self) -> Mapping[str, Health]:
        """The answers about all that is in this process, for what is in this package."""
        return self._answers

    @property
    def observe(self) -> Observe | None:
        """See `Parts`, for what is in this package."""
        return self._parts.observe

    def connect(self, client: Client) -> LocalConnection:
        """Connect a client without a socket, for what is in this package."""
        return self._local.connect(client)

    def add(self, annex: Annex) -> None:
        """Start and end with an annex, for what is in this package. To be called before `start`."""
        self._annexes.append(annex)

    def reload_certificates(self) -> None:
        """Read the listeners' certificates again, for new connections."""
        self._parts.clients.reload_certificates()

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
        error = self._failure
        if isinstance(error, RouterError):
            raise error
        if error is not None:
            raise RouterError(
                f"The router has failed ({type(error).__name__}: {error})."
            ) from error

    async def _end(self) -> None:
        try:
            await self._undo.aclose()
        finally:
            self._ended.set()
            if self._started:
                _log.info("stopped", extra={"fox": {"process": self._parts.process}})

    async def _let_clients_go(self) -> None:
        failed = self._failure is not None
        if self._web is not None and not failed:
            await self._web.close()
        await self._local.leave(says_goodbye=not failed)
        if failed:
            await self._parts.clients.cut_off()
            self._local.cut_off()
            if self._web is not None:
                await self._web.close()
            return
        await self._parts.clients.say_goodbye()
        await self._parts.settle()
        self._local.close()

    def _failed(self, error: Exception) -> None:
        """End the router, because it cannot go on.

        After an exception that nobody expected, nothing that the nodes know can be trusted.
        """
        self._failure = error
        # That the gateway is refused, it has logged itself.
        if not isinstance(error, RouterError):
            _log.critical("failed", exc_info=error)
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
