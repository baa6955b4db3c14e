"""The processes: what each consists of, how it starts, how it ends.

Owns: which core runs in which shell. supervisord starts what is defined here, nothing else does.
Never: decisions about messages.
"""

import asyncio
import logging
import resource
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from random import SystemRandom
from typing import Any

import uvloop

from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Config
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.coordinator.statsd import Sender
from fox_shard.datadir import opening
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.sessions.registry import SHUTTING_DOWN
from fox_shard.gateway.sockets.certificates import CertificateError
from fox_shard.gateway.sockets.listeners import Listeners
from fox_shard.gateway.sockets.listening import ListenError
from fox_shard.gateway.sockets.ports import Claims
from fox_shard.gateway.sockets.tls_contexts import TlsContexts
from fox_shard.gateway.transports.factories import makers
from fox_shard.runtime.descriptors import watch_descriptors
from fox_shard.runtime.function_threads import FunctionThreads, consulted_functions
from fox_shard.runtime.logins import Logins
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.name_lock import AlreadyRunning, hold_name
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.readiness import announce_ready
from fox_shard.runtime.schemas import SchemaFileError, read_schemas
from fox_shard.runtime.sentences import tell
from fox_shard.runtime.shell import Shell, new_incarnation
from fox_shard.runtime.supervision import Supervisor, follow_supervisor
from fox_shard.runtime.token_keys import TokenKeysFileError
from fox_shard.runtime.watchdog import working_peers
from fox_shard.shard.core import Shard
from fox_shard.store.store import StoreError
from fox_shard.users.file import UsersFileError
from fox_shard.worker.functions import MissingFunction, find

_log = logging.getLogger("fox")

REFUSALS = (
    AlreadyRunning,
    CertificateError,
    ListenError,
    MissingFunction,
    SchemaFileError,
    StoreError,
    TokenKeysFileError,
    UsersFileError,
)
"""Why a process does not start, each in one sentence."""


def run_gateway(number: int, config: Config, folder: Path) -> int:
    """Run gateway `number` until it is told to stop. Returns the exit code.

    folder: where the modules of Python functions are looked for first.
    """
    supervisor = follow_supervisor()
    return _run(config, _gateway(number, config, folder), supervisor)


def run_shard(number: int, config: Config) -> int:
    """Run shard `number` until it is told to stop. Returns the exit code."""
    supervisor = follow_supervisor()
    return _run(config, _shard(number, config), supervisor)


def run_coordinator(config: Config) -> int:
    """Run the coordinator until it is told to stop. Returns the exit code."""
    supervisor = follow_supervisor()
    return _run(config, _coordinator(config, supervisor), supervisor)


def _run(config: Config, main: Coroutine[Any, Any, None], supervisor: Supervisor | None) -> int:
    set_up_logging(config)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except REFUSALS as error:
        tell(f"fox: {error}")
        # One that runs already may be about to end: supervisord tries again.
        if supervisor is not None and not isinstance(error, AlreadyRunning):
            supervisor.stop(Path(config.run_dir), str(error))
        return 1
    return 0


def _terms(config: Config, generation: int) -> LinkSettings:
    return LinkSettings(
        shards=config.shards,
        generation=generation,
        credit=config.backplane.credit,
        outbox_limit=config.backplane.outbox_limit,
        heartbeat=config.backplane.heartbeat,
        peer_timeout=config.backplane.peer_timeout,
    )


async def _gateway(number: int, config: Config, folder: Path) -> None:
    _prepare_for_clients(config)
    name, incarnation = f"gateway-{number}", new_incarnation()
    lock = hold_name(config, name)
    generation = await opening.generation(config, name)
    logins = Logins(config, name)
    functions = {one: find(one, folder, what) for one, what in consulted_functions(config)}
    gateway = Gateway(
        number,
        realms=config.realms,
        settings=config.gateway,
        mqtt=config.mqtt,
        reducer=config.reducer,
        terms=_terms(config, generation),
        incarnation=incarnation,
        rng=SystemRandom(),
        now=asyncio.get_running_loop().time(),
        wall=time.time(),
        gateways=config.gateways,
        realm_limits=config.limits,
        is_working=working_peers(Path(config.run_dir), config.backplane),
        auth=config.auth,
        users=logins.users,
    )
    shell = Shell(
        gateway,
        config,
        incarnation,
        lock,
        listens=False,
        connects=[link.peer for link in (*gateway.links, gateway.coordinator)],
    )
    listeners = Listeners(gateway, makers(gateway, gateway.requests), shell.schedule_flush)
    gateway.client_buffers = listeners.buffered
    logins.start(gateway, shell.schedule_flush)
    function_threads = FunctionThreads(gateway, functions, shell.schedule_flush)
    linked = asyncio.Event()

    def after_flush() -> None:
        logins.check_passwords()
        function_threads.begin()
        listeners.perform(gateway.dirty)
        if gateway.linked:
            listeners.serve_queued()
            linked.set()
        if gateway.busy:
            shell.schedule_flush()

    shell.after_flush = after_flush
    watch_descriptors(name, asyncio.get_running_loop())
    await _serve(gateway, shell, listeners, linked)
    logins.stop()
    await _end(shell)


async def _serve(
    gateway: Gateway, shell: Shell, listeners: Listeners, linked: asyncio.Event
) -> None:
    """Let clients in as soon as the gateway is linked, until it is told to stop."""
    contexts = _certificates(shell)
    await shell.start()
    await _either(linked.wait(), shell.stopping.wait())
    if not shell.stopping.is_set():
        await _listen(shell, listeners, contexts)
    await shell.stopping.wait()
    listeners.stop_accepting()
    await _say_goodbye(gateway, listeners, shell.config.gateway.drain_timeout)


def _certificates(shell: Shell) -> TlsContexts:
    """Read the listeners' certificates, now and at each SIGHUP. Raises CertificateError.

    Connections that there are keep what they have.
    """
    contexts = TlsContexts(shell.config.listeners)
    shell.node.notices += contexts.expired(time.time())

    def reload() -> None:
        shell.node.notices += contexts.reload()
        shell.schedule_flush()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    return contexts


async def _listen(shell: Shell, listeners: Listeners, contexts: TlsContexts) -> None:
    """Let clients in, and say where."""
    config, number = shell.config, int(shell.node.name.rpartition("-")[2])
    claims = Claims(config.run_dir)
    await listeners.open(config.gateway, claims, config.listeners, contexts, number)
    shell.listening = {kind: str(at) for kind, at in listeners.addresses.items()}
    _log.info("listening", extra={"fox": {"process": shell.node.name, **shell.listening}})


async def _say_goodbye(gateway: Gateway, listeners: Listeners, grace: float) -> None:
    """End all sessions, and close each connection when all is written, or after `grace` seconds."""
    gateway.end_sessions(SHUTTING_DOWN, "the router is shutting down")
    listeners.schedule_flush()
    await listeners.close_all(grace)


async def _shard(number: int, config: Config) -> None:
    loop = asyncio.get_running_loop()
    incarnation = new_incarnation()
    name = f"shard-{number}"
    lock = hold_name(config, name)
    opened, generation = await opening.open_shard(
        number, config, lambda ticket, why: shell.committed(ticket, why)
    )
    with opening.loading(name):
        shard = Shard(
            number,
            gateways=config.gateways,
            terms=_terms(config, generation),
            rpc=config.rpc,
            limits=config.keys,
            reducer=config.reducer,
            max_message_size=config.gateway.max_message_size,
            incarnation=incarnation,
            rng=SystemRandom(),
            now=loop.time(),
            wall=time.time(),
            identity=opened.store.identity,
            rows=opened.store.scan(),
            realms=config.realms,
            realm_limits=config.limits,
            is_working=working_peers(Path(config.run_dir), config.backplane),
        )
    higher = [f"shard-{other}" for other in range(number + 1, config.shards)]
    shell = Shell(
        shard, config, incarnation, lock, listens=True, connects=higher, store=opened.store
    )
    await shell.start()
    await shell.stopping.wait()
    await _end(shell)


async def _coordinator(config: Config, supervisor: Supervisor | None) -> None:
    loop = asyncio.get_running_loop()
    incarnation = new_incarnation()
    realms = [realm.name for realm in config.realms]
    schemas = read_schemas(config)
    lock = hold_name(config, "coordinator")
    opened, generation = await opening.open_coordinator(
        config, lambda ticket, why: shell.committed(ticket, why)
    )
    with opening.loading("the coordinator"):
        hub = CoordinatorNode(
            terms=_terms(config, generation),
            incarnation=incarnation,
            rng=SystemRandom(),
            now=loop.time(),
            realms=realms,
            sys_interval=config.mqtt.sys_interval,
            schemas=schemas,
            identity=opened.store.identity,
            stored=opened.store.scan(),
            is_working=working_peers(Path(config.run_dir), config.backplane),
        )
    shards = [f"shard-{shard}" for shard in range(config.shards)]
    shell = Shell(hub, config, incarnation, lock, listens=True, connects=shards, store=opened.store)
    await shell.start()
    ready = asyncio.create_task(announce_ready(config, supervisor))
    if config.statsd.address is None:
        await shell.stopping.wait()
    else:
        sender = Sender(config.statsd.address, config.statsd.prefix, realms)
        while not shell.stopping.is_set():
            await _either(shell.stopping.wait(), asyncio.sleep(config.statsd.interval))
            await sender.send(hub.metrics(loop.time()))
        sender.close()
    ready.cancel()
    await _end(shell)


async def _either(*waits: Coroutine[Any, Any, Any]) -> None:
    """Until one of them is over."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _end(shell: Shell) -> None:
    await shell.stop()
    if shell.failure is not None:
        raise SystemExit(1)


def _prepare_for_clients(config: Config) -> None:
    """Check who may come, and take as many files as the system gives: a client is one."""
    check_openness(config)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
