"""The processes: what each consists of, how it starts, how it ends.

Owns: which core runs in which shell. supervisord starts what is defined here, nothing else does.
Never: decisions about messages.
"""

import asyncio
import logging
import resource
import signal
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TextIO

import uvloop

from fox_shard.backplane.attached import is_attached
from fox_shard.backplane.links import IsWorking
from fox_shard.config import Config
from fox_shard.datadir import opening
from fox_shard.runtime.attached import leave_place, take_place
from fox_shard.runtime.attached_names import running_in
from fox_shard.runtime.client_side import ClientSide, load_functions
from fox_shard.runtime.cores import (
    link_settings,
    make_coordinator,
    make_gateway,
    make_shard,
    new_incarnation,
)
from fox_shard.runtime.descriptors import watch_descriptors
from fox_shard.runtime.logins import Logins
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.metrics import send_metrics
from fox_shard.runtime.name_lock import AlreadyRunning, hold_name
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.readiness import announce_ready
from fox_shard.runtime.refusals import REFUSALS
from fox_shard.runtime.schemas import read_schemas
from fox_shard.runtime.sentences import tell
from fox_shard.runtime.server_file import AttachError, Server, write_server
from fox_shard.runtime.shell import Shell
from fox_shard.runtime.supervision import Supervisor, follow_supervisor
from fox_shard.runtime.watchdog import working_peers
from fox_shard.runtime.web_socket import listener_for_web

_log = logging.getLogger("fox")


def run_gateway(number: int, config: Config, folder: Path) -> int:
    """Run gateway `number` until it is told to stop. Returns the exit code.

    folder: where the modules of Python functions are looked for first.
    """
    supervisor = follow_supervisor()
    return _run(config, _gateway(number, config, folder), supervisor)


def run_attached_gateway(run_dir: Path, environ: Mapping[str, str]) -> int:
    """Run a gateway beside the server of that run directory until it is told to stop.

    environ: see `take_place`. Returns the exit code. Raises ConfigError.
    """
    return _turn(_attached_gateway(run_dir, environ), None, run_dir)


def run_shard(number: int, config: Config) -> int:
    """Run shard `number` until it is told to stop. Returns the exit code."""
    supervisor = follow_supervisor()
    return _run(config, _shard(number, config), supervisor)


def run_coordinator(config: Config, folder: Path) -> int:
    """Run the coordinator until it is told to stop. Returns the exit code.

    folder: as for gateways; attached ones are told.
    """
    supervisor = follow_supervisor()
    return _run(config, _coordinator(config, folder, supervisor), supervisor)


def _run(config: Config, main: Coroutine[Any, Any, None], supervisor: Supervisor | None) -> int:
    set_up_logging(config)
    return _turn(main, supervisor, Path(config.run_dir))


def _turn(main: Coroutine[Any, Any, None], supervisor: Supervisor | None, run_dir: Path) -> int:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except REFUSALS as error:
        tell(f"fox: {error}")
        # One that runs already may be about to end: supervisord tries again.
        if supervisor is not None and not isinstance(error, AlreadyRunning):
            supervisor.stop(run_dir, str(error))
        return 1
    return 0


async def _gateway(number: int, config: Config, folder: Path) -> None:
    _prepare_for_clients(config)
    name = f"gateway-{number}"
    lock = hold_name(config, name)
    generation = await opening.generation(config, name)
    await _run_gateway(number, config, generation, folder, lock)


async def _attached_gateway(run_dir: Path, environ: Mapping[str, str]) -> None:
    place = take_place(run_dir, environ)
    set_up_logging(place.config)
    try:
        _prepare_for_clients(place.config)
        await _run_gateway(place.number, place.config, place.generation, place.folder, place.lock)
    finally:
        leave_place(place)


async def _run_gateway(
    number: int | str, config: Config, generation: int, folder: Path, lock: TextIO
) -> None:
    """Run a gateway until it is told to stop. Raises AttachError if it is attached, and refused."""
    name, incarnation = f"gateway-{number}", new_incarnation()
    logins = Logins(config, name)
    functions = load_functions(config, folder)
    loop = asyncio.get_running_loop()
    terms = link_settings(config, generation)
    gateway = make_gateway(
        number, config, terms, incarnation, logins.users, loop.time(), _working(config)
    )
    shell = Shell(
        gateway,
        config,
        incarnation,
        lock,
        listens=False,
        connects=[link.peer for link in (*gateway.links, gateway.coordinator)],
    )
    clients = ClientSide(gateway, number, config, logins, functions, shell.schedule_flush)

    def after_flush() -> None:
        clients.after_flush()
        if is_attached(name) and gateway.refusal:
            shell.stopping.set()

    shell.after_flush = after_flush
    shell.more_health = lambda: {"listening": clients.listening} if clients.listening else {}
    loop.add_signal_handler(signal.SIGHUP, clients.reload_certificates)
    watch_descriptors(name, loop)
    await shell.start()
    await _either(clients.linked.wait(), shell.stopping.wait())
    if not shell.stopping.is_set():
        await clients.listen(listener_for_web(config, number))
    await shell.stopping.wait()
    await clients.say_goodbye()
    clients.stop()
    await _end(shell)
    if is_attached(name) and gateway.refusal:
        raise AttachError(
            f"The server of {config.run_dir} does not let this gateway in: {gateway.refusal}."
        )


async def _shard(number: int, config: Config) -> None:
    loop = asyncio.get_running_loop()
    incarnation = new_incarnation()
    name = f"shard-{number}"
    lock = hold_name(config, name)
    opened, generation = await opening.open_shard(
        number, config, lambda ticket, why: shell.committed(ticket, why)
    )
    terms = link_settings(config, generation)
    running = running_in(Path(config.run_dir))
    shard = make_shard(
        number, config, terms, incarnation, opened.store, loop.time(), _working(config), running
    )
    higher = [f"shard-{other}" for other in range(number + 1, config.shards)]
    shell = Shell(
        shard, config, incarnation, lock, listens=True, connects=higher, store=opened.store
    )
    await shell.start()
    await shell.stopping.wait()
    await _end(shell)


async def _coordinator(config: Config, folder: Path, supervisor: Supervisor | None) -> None:
    loop = asyncio.get_running_loop()
    incarnation = new_incarnation()
    schemas = read_schemas(config)
    lock = hold_name(config, "coordinator")
    opened, generation = await opening.open_coordinator(
        config, lambda ticket, why: shell.committed(ticket, why)
    )
    terms = link_settings(config, generation)
    run_dir = Path(config.run_dir)
    hub = make_coordinator(
        config,
        terms,
        incarnation,
        opened.store,
        schemas,
        loop.time(),
        _working(config),
        running_in(run_dir),
    )
    write_server(run_dir, Server(generation, str(folder), config))
    shards = [f"shard-{shard}" for shard in range(config.shards)]
    shell = Shell(hub, config, incarnation, lock, listens=True, connects=shards, store=opened.store)
    await shell.start()
    ready = asyncio.create_task(announce_ready(config, supervisor))
    await send_metrics(hub, config, shell.stopping)
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


def _working(config: Config) -> IsWorking:
    return working_peers(Path(config.run_dir), config.backplane)


def _prepare_for_clients(config: Config) -> None:
    """Check who may come, and take as many files as the system gives: a client is one."""
    check_openness(config)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
