"""The process of a shard: what it consists of, how it starts and how it ends.

Owns: which core runs in which shell. Never: decisions about messages.
"""

import asyncio
from pathlib import Path

from fox_shard.config import Config
from fox_shard.datadir import opening
from fox_shard.runtime.attached_names import ended_in, running_in
from fox_shard.runtime.links import link_settings, new_incarnation
from fox_shard.runtime.name_lock import hold_name
from fox_shard.runtime.processes import end, run_process, working
from fox_shard.runtime.shard_core import make_shard
from fox_shard.runtime.shell import Shell
from fox_shard.runtime.supervision import follow_supervisor


def run_shard(number: int, config: Config) -> int:
    """Run shard `number` until it is told to stop. Returns the exit code."""
    supervisor = follow_supervisor()
    return run_process(config, _shard(number, config), supervisor)


async def _shard(number: int, config: Config) -> None:
    loop = asyncio.get_running_loop()
    incarnation = new_incarnation()
    name = f"shard-{number}"
    lock = hold_name(config, name)
    opened, generation = await opening.open_shard(
        number, config, lambda ticket, why: shell.committed(ticket, why)
    )
    terms = link_settings(config, generation)
    run_dir = Path(config.run_dir)
    shard = make_shard(
        number,
        config,
        terms,
        incarnation,
        opened.store,
        loop.time(),
        working(config),
        running_in(run_dir),
        ended_in(run_dir),
    )
    higher = [f"shard-{other}" for other in range(number + 1, config.shards)]
    shell = Shell(
        shard, config, incarnation, lock, listens=True, connects=higher, store=opened.store
    )
    await shell.start()
    await shell.stopping.wait()
    await end(shell)
