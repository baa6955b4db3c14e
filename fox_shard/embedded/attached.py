"""An attached gateway in the process and event loop of an application.

Owns: making it, given the run directory of a running server. Never: turns (see `wire_shell`);
clients.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from fox_shard.embedded.node_health import health_of
from fox_shard.embedded.parts import Parts
from fox_shard.embedded.wire_shell import WireShell
from fox_shard.runtime.attached import leave_place, refuse_if_ended, take_place
from fox_shard.runtime.client_side import ClientSide, load_functions
from fox_shard.runtime.gateway_core import make_gateway
from fox_shard.runtime.links import link_settings, new_incarnation
from fox_shard.runtime.logins import Logins
from fox_shard.runtime.metrics import report_interval
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.trace_exports import tracing_of
from fox_shard.runtime.watchdog import working_peers


async def make_attached(
    run_dir: Path, settings: Mapping[str, object], undo: AsyncExitStack
) -> Parts:
    """Make a gateway beside the server of that run directory.

    settings: see `attached_config`. undo: gets what is to be undone at the end, also if this fails.
    Raises StartError or ConfigError.
    """
    place = take_place(run_dir, {}, settings)
    undo.callback(leave_place, place)
    config = place.config
    refuse_if_ended(run_dir, config)
    openness = check_openness(config)
    logins = Logins(config, f"gateway-{place.number}")
    functions = load_functions(config, place.folder)
    incarnation = new_incarnation()
    gateway = make_gateway(
        place.number,
        config,
        link_settings(config, place.generation),
        incarnation,
        logins.users,
        asyncio.get_running_loop().time(),
        working_peers(run_dir, config.backplane),
    )
    connects = [link.peer for link in (*gateway.links, gateway.coordinator)]
    tracing = tracing_of(config, gateway)
    if tracing is not None:
        undo.push_async_callback(asyncio.to_thread, tracing.close)
    shell = WireShell(gateway, run_dir, incarnation, connects, report_interval(config), tracing)
    undo.callback(shell.stop)
    clients = ClientSide(gateway, place.number, config, logins, functions, shell.schedule_flush)
    undo.callback(clients.stop)

    def health() -> dict[str, object]:
        return {**health_of(gateway, shell.schedule_flush), "listening": clients.listening}

    return Parts(
        process=gateway.name,
        config=config,
        openness=openness,
        gateway=gateway,
        clients=clients,
        shell=shell,
        schedule=shell.schedule_flush,
        settle=_nothing,
        works=[],
        observe=None,
        health={gateway.name: health},
    )


async def _nothing() -> None:
    """Wait for nothing: what the gateway knows is in no store of its own."""
