"""What the processes have in common: how each is run and how each ends.

Owns: the event loop, refusals to start. Never: what one kind of process consists of (see
`gateway_process`, `shard_process` and `coordinator_process`, which import only what they need).
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from fox_shard.backplane.links import IsWorking
from fox_shard.config import Config
from fox_shard.errors import StartError
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.name_lock import AlreadyRunning
from fox_shard.runtime.sentences import tell
from fox_shard.runtime.shell import Shell
from fox_shard.runtime.supervision import Supervisor
from fox_shard.runtime.watchdog import working_peers


def run_process(
    config: Config, main: Coroutine[Any, Any, None], supervisor: Supervisor | None
) -> int:
    """Run a process of that configuration until it is told to stop. Returns the exit code."""
    set_up_logging(config)
    return turn(main, supervisor, Path(config.run_dir))


def turn(main: Coroutine[Any, Any, None], supervisor: Supervisor | None, run_dir: Path) -> int:
    """Run an event loop until `main` is over. Returns the exit code."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except StartError as error:
        tell(f"fox: {error}")
        # One that runs already may be about to end: supervisord tries again.
        if supervisor is not None and not isinstance(error, AlreadyRunning):
            supervisor.stop(run_dir, str(error))
        return 1
    return 0


async def either(*waits: Coroutine[Any, Any, Any]) -> None:
    """Until one of them is over."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def end(shell: Shell) -> None:
    """Stop a shell. Raises SystemExit if it has failed."""
    await shell.stop()
    if shell.failure is not None:
        raise SystemExit(1)


def working(config: Config) -> IsWorking:
    """Return what tells a busy process from a dead one."""
    return working_peers(Path(config.run_dir), config.backplane)
