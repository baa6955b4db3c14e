"""The nodes of a whole server, joined in one process.

Owns: making a gateway, a shard and the coordinator, with their stores, in order. Never: turns (see
`shell`); clients.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from fox_shard.backplane.links import IsWorking
from fox_shard.config import Config
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.datadir import opening
from fox_shard.embedded.configuring import Configured
from fox_shard.embedded.junction import Junction
from fox_shard.embedded.node_health import health_of
from fox_shard.embedded.outside import AttachedWires
from fox_shard.embedded.parts import Health, Parts
from fox_shard.embedded.shell import JunctionShell
from fox_shard.runtime.addresses import check_listeners
from fox_shard.runtime.attached_names import ended_in, running_in
from fox_shard.runtime.client_side import ClientSide, load_functions
from fox_shard.runtime.coordinator_core import make_coordinator
from fox_shard.runtime.gateway_core import make_gateway
from fox_shard.runtime.health import NODES, ROUTER
from fox_shard.runtime.links import link_settings, new_incarnation
from fox_shard.runtime.logins import Logins
from fox_shard.runtime.metrics import report_interval, send_metrics
from fox_shard.runtime.name_lock import hold_name
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.schemas import read_schemas
from fox_shard.runtime.server_file import Server, write_server
from fox_shard.runtime.shard_core import make_shard
from fox_shard.runtime.sums_socket import open_sums_socket
from fox_shard.runtime.trace_exports import tracings_of
from fox_shard.runtime.watchdog import working_peers
from fox_shard.worker.instance import load_work
from fox_shard.worker.worker import NAME as WORKER

SETTLING: Final = 5.0
"""Seconds that the end of the router waits for what is not on the disk yet."""


async def make_joined(configured: Configured, undo: AsyncExitStack) -> Parts:
    """Open the stores, make the nodes from what is in them, and join them.

    undo: gets what is to be undone at the end, also if this fails. Raises StartError or
    RouterError.
    """
    config = configured.config
    openness = check_openness(config)
    for name in (ROUTER, *NODES, WORKER):
        undo.callback(hold_name(config, name).close)
    check_listeners(config)
    opening.refuse_other_layout(config)
    return await _make_nodes(config, configured.folder, openness, undo)


async def _make_nodes(config: Config, folder: Path, openness: str, undo: AsyncExitStack) -> Parts:
    loop, schemas = asyncio.get_running_loop(), read_schemas(config)
    of_shard, generation = await opening.open_shard(
        0, config, lambda ticket, why: shell.committed("shard-0", ticket, why)
    )
    if of_shard.hold is not None:
        undo.callback(of_shard.hold.release)
    stores = {"shard-0": of_shard.store}
    unused_stores = undo.enter_context(ExitStack())
    unused_stores.callback(of_shard.store.close)
    of_coordinator, _ = await opening.open_coordinator(
        config, lambda ticket, why: shell.committed("coordinator", ticket, why)
    )
    unused_stores.callback(of_coordinator.store.close)
    stores["coordinator"] = of_coordinator.store
    logins = Logins(config, "gateway-0")
    functions, works = load_functions(config, folder), load_work(config, folder)
    terms = link_settings(config, generation, hands_over=True)
    gateway = make_gateway(0, config, terms, new_incarnation(), logins.users, loop.time(), _always)
    incarnations = {name: new_incarnation() for name in ("shard-0", "coordinator")}
    run_dir, working = Path(config.run_dir), _working(config)
    running, has_ended = running_in(run_dir), ended_in(run_dir)
    # There may be millions of rows.
    shard = await asyncio.to_thread(
        make_shard,
        0,
        config,
        terms,
        incarnations["shard-0"],
        of_shard.store,
        loop.time(),
        working,
        running,
        has_ended,
    )
    coordinator = await asyncio.to_thread(
        make_coordinator,
        config,
        terms,
        incarnations["coordinator"],
        of_coordinator.store,
        schemas,
        loop.time(),
        working,
        running,
        has_ended,
    )
    junction = Junction([gateway, coordinator, shard])
    shell = JunctionShell(
        junction, stores, report_interval(config), tracings=tracings_of(config, junction.nodes)
    )
    _let_attach(shell, junction, incarnations, Server(generation, str(folder), config))
    # From here on the shell closes the stores.
    unused_stores.pop_all()
    undo.push_async_callback(shell.stop)
    schedule = partial(shell.schedule, gateway.name)
    clients = ClientSide(gateway, 0, config, logins, functions, schedule)
    undo.callback(clients.stop)
    await _tell_metrics(coordinator, config, undo)
    return Parts(
        process=ROUTER,
        config=config,
        openness=openness,
        gateway=gateway,
        clients=clients,
        shell=shell,
        schedule=schedule,
        settle=partial(shell.settle, SETTLING),
        health=_health(junction, clients, shell.schedule),
        works=works,
        observe=partial(setattr, junction, "observer"),
    )


async def _tell_metrics(coordinator: CoordinatorNode, config: Config, undo: AsyncExitStack) -> None:
    """Let Prometheus and StatsD know what is counted."""
    undo.callback((await open_sums_socket(Path(config.run_dir), coordinator)).close)
    stopping = asyncio.Event()
    metrics = asyncio.create_task(send_metrics(coordinator, config, stopping))
    undo.push_async_callback(_finished, metrics)
    undo.callback(stopping.set)


def _let_attach(
    shell: JunctionShell, junction: Junction, incarnations: Mapping[str, int], server: Server
) -> None:
    """Let gateways be attached beside the process."""
    run_dir = Path(server.config.run_dir)
    shell.outside = AttachedWires(junction, shell, run_dir, incarnations)
    write_server(run_dir, server)


def _health(
    junction: Junction, clients: ClientSide, schedule: Callable[[str], None]
) -> dict[str, Health]:
    """schedule: lets the node of that name take part in a turn."""
    nodes = {node.name: node for node in junction.nodes}
    answers: dict[str, Health] = {
        name: partial(health_of, nodes[name], partial(schedule, name)) for name in NODES
    }
    of_gateway = answers[NODES[0]]
    answers[NODES[0]] = lambda: {**of_gateway(), "listening": clients.listening}
    of_router: Mapping[str, object] = {"name": ROUTER, "status": "ok"}
    answers[ROUTER] = lambda: of_router
    return answers


def _working(config: Config) -> IsWorking:
    """Return what tells of attached gateways whether they work; the other nodes are ours."""
    beside = working_peers(Path(config.run_dir), config.backplane)
    return lambda peer, incarnation, now: peer in NODES or beside(peer, incarnation, now)


def _always(_peer: str, _incarnation: int, _now: float) -> bool:
    """Say that a peer works: an `IsWorking` of nodes that are one process."""
    return True


async def _finished(task: "asyncio.Task[None]") -> None:
    await task
