"""The process of the coordinator: what it consists of, how it starts and how it ends.

Owns: which core runs in which shell. Never: decisions about messages.
"""

import asyncio
from pathlib import Path

from fox_shard.config import Config
from fox_shard.datadir import opening
from fox_shard.runtime.attached_names import ended_in, running_in
from fox_shard.runtime.coordinator_core import make_coordinator
from fox_shard.runtime.links import link_settings, new_incarnation
from fox_shard.runtime.metrics import send_metrics
from fox_shard.runtime.name_lock import hold_name
from fox_shard.runtime.processes import end, run_process, working
from fox_shard.runtime.readiness import announce_ready
from fox_shard.runtime.schemas import read_schemas
from fox_shard.runtime.server_file import Server, write_server
from fox_shard.runtime.shell import Shell
from fox_shard.runtime.sums_socket import open_sums_socket
from fox_shard.runtime.supervision import Supervisor, follow_supervisor


def run_coordinator(config: Config, folder: Path) -> int:
    """Run the coordinator until it is told to stop. Returns the exit code.

    folder: as for gateways; attached ones are told.
    """
    supervisor = follow_supervisor()
    return run_process(config, _coordinator(config, folder, supervisor), supervisor)


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
        working(config),
        running_in(run_dir),
        ended_in(run_dir),
    )
    write_server(run_dir, Server(generation, str(folder), config))
    shards = [f"shard-{shard}" for shard in range(config.shards)]
    shell = Shell(hub, config, incarnation, lock, listens=True, connects=shards, store=opened.store)
    await shell.start()
    sums_socket = await open_sums_socket(run_dir, hub)
    ready = asyncio.create_task(announce_ready(config, supervisor))
    await send_metrics(hub, config, shell.stopping)
    ready.cancel()
    sums_socket.close()
    await end(shell)
