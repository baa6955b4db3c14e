"""What a gateway has to do with the world of its clients.

Owns: its listeners, logins and threads, from the gateway's start to its end. Never: the gateway's
turns and links; what a client may do.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

from fox_shard.config import Config, Listener
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.sessions.registry import SHUTTING_DOWN
from fox_shard.gateway.sockets.listeners import Listeners
from fox_shard.gateway.sockets.ports import Claims
from fox_shard.gateway.sockets.tls_contexts import TlsContexts
from fox_shard.gateway.transports.factories import makers
from fox_shard.runtime.function_threads import Function, FunctionThreads, consulted_functions
from fox_shard.runtime.logins import Logins
from fox_shard.worker.functions import find

_log = logging.getLogger("fox")


def load_functions(config: Config, folder: Path) -> dict[str, Function]:
    """Return the functions that the gateways consult, by name. Raises MissingFunction.

    folder: where their modules are looked for first.
    """
    return {one: find(one, folder, what) for one, what in consulted_functions(config)}


@final
class ClientSide:
    """The listeners, logins and threads of one gateway.

    linked: set once the gateway is linked to all shards. listening: where it listens, by listener;
    empty before `listen`.
    """

    def __init__(
        self,
        gateway: Gateway,
        number: int | str,
        config: Config,
        logins: Logins,
        functions: dict[str, Function],
        schedule_flush: Callable[[], None],
    ) -> None:
        """Read the listeners' certificates. Raises CertificateError.

        number: see `Gateway`. functions: see `load_functions`. schedule_flush: lets the gateway's
        turn end soon, upon which `after_flush` must be called.
        """
        self._gateway = gateway
        self._number = number
        self._config = config
        self._logins = logins
        self._schedule_flush = schedule_flush
        self._contexts = TlsContexts(config.listeners)
        gateway.notices += self._contexts.expired(time.time())
        self._listeners = Listeners(gateway, makers(gateway, gateway.requests), schedule_flush)
        gateway.client_buffers = self._listeners.buffered
        self._function_threads = FunctionThreads(gateway, functions, schedule_flush)
        self.linked = asyncio.Event()
        self.listening: dict[str, str] = {}
        logins.start(gateway, schedule_flush)

    def after_flush(self) -> None:
        """Do what the gateway's turn has left to its surroundings."""
        gateway = self._gateway
        self._logins.check_passwords()
        self._function_threads.begin()
        self._listeners.perform(gateway.dirty)
        if gateway.linked:
            self._listeners.serve_queued()
            self.linked.set()
        if gateway.busy:
            self._schedule_flush()

    def reload_certificates(self) -> None:
        """Read the certificates again; connections that there are keep what they have."""
        self._gateway.notices += self._contexts.reload()
        self._schedule_flush()

    async def listen(self, internal: tuple[Listener, ...] = ()) -> None:
        """Let clients in, and say where. Raises ListenError.

        internal: listeners for other processes of the server, of which nobody else is told.
        """
        config, listeners = self._config, self._listeners
        claims = Claims(config.run_dir)
        # These come last, so that the others keep their places among the contexts.
        more = (*config.listeners, *internal)
        await listeners.open(config.gateway, claims, more, self._contexts, self._number)
        hidden = [one.address for one in internal]
        found = listeners.addresses.items()
        self.listening = {kind: str(at) for kind, at in found if at not in hidden}
        _log.info("listening", extra={"fox": {"process": self._gateway.name, **self.listening}})

    async def say_goodbye(self) -> None:
        """Let nobody in any more, end all sessions, and write what is left.

        Connections that have not taken everything within `gateway.drain_timeout` are cut off.
        """
        self._stop_accepting()
        self._gateway.end_sessions(SHUTTING_DOWN, "the router is shutting down")
        self._listeners.schedule_flush()
        await self._listeners.close_all(self._config.gateway.drain_timeout)

    async def cut_off(self) -> None:
        """Let nobody in any more, and close all connections as they are."""
        self._stop_accepting()
        await self._listeners.close_all(0.0)

    def _stop_accepting(self) -> None:
        self._listeners.stop_accepting()
        self.listening = {}

    def stop(self) -> None:
        """End what is beside the event loop; checks that have begun are waited for."""
        self._logins.stop()
        self._function_threads.stop()
