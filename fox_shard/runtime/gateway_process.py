"""The process of a gateway: what it consists of, how it starts and how it ends.

Owns: which core runs in which shell, and its listeners' beginning and end. Never: decisions about
messages.
"""

import asyncio
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from fox_shard.backplane.attached import is_attached
from fox_shard.config import Config, check_any_listener
from fox_shard.datadir import opening
from fox_shard.runtime.attached import leave_place, take_place
from fox_shard.runtime.client_side import ClientSide, load_functions
from fox_shard.runtime.descriptors import watch_descriptors
from fox_shard.runtime.gateway_core import make_gateway
from fox_shard.runtime.links import link_settings, new_incarnation
from fox_shard.runtime.logins import Logins
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.name_lock import hold_name
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.processes import either, end, run_process, turn, working
from fox_shard.runtime.server_file import AttachError
from fox_shard.runtime.shell import Shell
from fox_shard.runtime.supervision import follow_supervisor
from fox_shard.runtime.web_socket import listener_for_web


def run_gateway(number: int, config: Config, folder: Path) -> int:
    """Run gateway `number` until it is told to stop. Returns the exit code.

    folder: where the modules of Python functions are looked for first. Raises ConfigError.
    """
    check_any_listener(config)
    supervisor = follow_supervisor()
    return run_process(config, _gateway(number, config, folder), supervisor)


def run_attached_gateway(run_dir: Path, environ: Mapping[str, str]) -> int:
    """Run a gateway beside the server of that run directory until it is told to stop.

    environ: see `take_place`. Returns the exit code. Raises ConfigError.
    """
    return turn(_attached_gateway(run_dir, environ), None, run_dir)


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
        number, config, terms, incarnation, logins.users, loop.time(), working(config)
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
    await either(clients.linked.wait(), shell.stopping.wait())
    if not shell.stopping.is_set():
        await clients.listen(listener_for_web(config, number))
    await shell.stopping.wait()
    await clients.say_goodbye()
    clients.stop()
    await end(shell)
    if is_attached(name) and gateway.refusal:
        raise AttachError(
            f"The server of {config.run_dir} does not let this gateway in: {gateway.refusal}."
        )


def _prepare_for_clients(config: Config) -> None:
    """Check who may come, and take as many files as the system gives: a client is one."""
    check_openness(config)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
