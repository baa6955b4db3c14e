"""An attached gateway in the process and event loop of an application.

Owns: its start and its end, in order. Never: turns (see `wire_shell`); the process, its signals and
its log, which belong to the application.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import final

from fox_shard.embedded.errors import RouterError
from fox_shard.embedded.wire_shell import WireShell
from fox_shard.gateway.core import Gateway
from fox_shard.runtime.attached import leave_place, take_place
from fox_shard.runtime.client_side import ClientSide, load_functions
from fox_shard.runtime.cores import link_settings, make_gateway, new_incarnation
from fox_shard.runtime.health_socket import HealthSocket
from fox_shard.runtime.logins import Logins
from fox_shard.runtime.metrics import report_interval
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.refusals import REFUSALS
from fox_shard.runtime.watchdog import working_peers

_log = logging.getLogger("fox")


@final
class AttachedGateway:
    """A gateway beside a running server, from `start` to `stop`; it starts once.

    gateway: the core. schedule_flush: lets its turn end soon. failure: why it cannot go on; None:
    it can. failed: set with that.
    """

    def __init__(self, run_dir: Path, environ: Mapping[str, str]) -> None:
        """run_dir: the server's. environ: see `take_place`."""
        self._run_dir = run_dir
        self._environ = environ
        self._undo = AsyncExitStack()
        self.gateway: Gateway
        self._clients: ClientSide
        self._shell: WireShell
        self.failure: Exception | None = None
        self.failed = asyncio.Event()

    @property
    def listening(self) -> dict[str, str]:
        """Where clients are let in, by listener; empty before, and if all are off."""
        return dict(self._clients.listening)

    def schedule_flush(self) -> None:
        """Let the gateway's turn end soon, because something has come for it."""
        self._shell.schedule_flush()

    async def start(self) -> None:
        """Start, and return when clients are let in; wait for the server, if it is restarting.

        Raises RouterError, and then everything is as before; or ConfigError.
        """
        try:
            await self._start()
        except REFUSALS as error:
            await self._undo.aclose()
            raise RouterError(str(error)) from error
        except BaseException:
            await self._undo.aclose()
            raise

    async def _start(self) -> None:
        loop, run_dir = asyncio.get_running_loop(), self._run_dir
        place = take_place(run_dir, self._environ)
        self._undo.callback(leave_place, place)
        config = place.config
        check_openness(config)
        logins = Logins(config, f"gateway-{place.number}")
        functions = load_functions(config, place.folder)
        incarnation = new_incarnation()
        gateway = self.gateway = make_gateway(
            place.number,
            config,
            link_settings(config, place.generation),
            incarnation,
            logins.users,
            loop.time(),
            working_peers(run_dir, config.backplane),
        )
        connects = [link.peer for link in (*gateway.links, gateway.coordinator)]
        shell = self._shell = WireShell(
            gateway, run_dir, incarnation, connects, report_interval(config)
        )
        self._undo.callback(shell.stop)
        clients = self._clients = ClientSide(
            gateway, place.number, config, logins, functions, shell.schedule_flush
        )
        self._undo.callback(clients.stop)
        shell.after_turn = self._after_turn
        shell.on_failure = self._fail
        shell.start()
        await self._linked_or_failed()
        await clients.listen()
        self._undo.push_async_callback(self._let_clients_go)
        health = HealthSocket(run_dir, gateway.name, self._health)
        await health.open()
        self._undo.callback(health.close)

    def _health(self) -> dict[str, object]:
        return {**self.gateway.health(), "listening": self.listening}

    def _after_turn(self) -> None:
        self._clients.after_flush()
        if self.gateway.refusal and self.failure is None:
            why = f"The server of {self._run_dir} does not let this gateway in: "
            self._fail(RouterError(f"{why}{self.gateway.refusal}."))

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, RouterError):
            _log.critical("failed", exc_info=error)
        self.failure = error
        self.failed.set()

    async def _linked_or_failed(self) -> None:
        waits = [asyncio.create_task(one.wait()) for one in (self._clients.linked, self.failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if self.failure is not None:
            raise self.failure

    async def _let_clients_go(self) -> None:
        if self.failure is None:
            await self._clients.say_goodbye()
        else:
            await self._clients.cut_off()

    async def stop(self) -> None:
        """Say goodbye to all clients, and let go of everything. Stopping twice is stopping once."""
        await self._undo.aclose()
