"""The worker: the process in which the reducers run that are Python functions.

Owns: its start, its health, its end. Never: the functions (see `worker.functions`); sessions.

Without such reducers it waits to be stopped. It ends with exit code 1 if a function hangs, so that
supervisord starts it anew; the server asks again about the events that were out.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from fox_shard.client.address import url_of
from fox_shard.client.login import Key
from fox_shard.config import Config, ConfigError
from fox_shard.runtime.health_socket import HealthSocket
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.name_lock import AlreadyRunning, hold_name
from fox_shard.runtime.sentences import tell
from fox_shard.runtime.supervision import follow_supervisor
from fox_shard.runtime.worker_key import WORKER, worker_key
from fox_shard.worker.functions import MissingFunction, load, python_reducers
from fox_shard.worker.instance import RealmInstance

_log = logging.getLogger("fox")

NAME: Final = "worker"

LEAVING: Final = 3.0
"""Seconds for leaving the sessions at the end."""

LOOK: Final = 0.5
"""Seconds between two looks for a failure."""


def run_worker(config: Config, folder: Path) -> int:
    """Run the worker until it is told to stop. Returns the exit code.

    folder: where the functions' modules are looked for first.
    """
    supervisor = follow_supervisor()
    set_up_logging(config)
    try:
        lock = hold_name(config, NAME)
        instances = _instances(config, folder)
    except AlreadyRunning as error:
        tell(f"fox: {error}")
        return 1
    except MissingFunction as error:
        tell(f"fox: {error}")
        if supervisor is not None:
            supervisor.stop(Path(config.run_dir), str(error))
        return 1
    with lock:
        code = asyncio.run(_run(config, instances))
    # Threads of functions that hang must not hold up the end.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _instances(config: Config, folder: Path) -> list[RealmInstance]:
    wanted = [realm for realm in config.realms if python_reducers(realm)]
    if not wanted:
        return []
    url = url_of(config)
    if url is None:
        raise ConfigError(
            "gateway.websocket is off: the worker's functions need it, or a [[listener]] for "
            "websocket without TLS."
        )
    timeout = config.reducer.timeout
    login = Key(WORKER, worker_key(Path(config.run_dir)))
    return [RealmInstance(url, realm.name, load(realm, folder), timeout, login) for realm in wanted]


async def _run(config: Config, instances: list[RealmInstance]) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    health = HealthSocket(Path(config.run_dir), NAME, lambda: _health(instances))
    await health.open()
    threads = [threading.Thread(target=one.run, daemon=True) for one in instances]
    for thread in threads:
        thread.start()
    _log.info("started", extra={"fox": {"process": NAME, "pid": os.getpid()}})
    failure = ""
    while not (stopping.is_set() or failure):
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOOK if instances else None)
        failure = next((one.failure for one in instances if one.failure), "")
    for one in instances:
        one.stop()
    for thread in threads:
        await asyncio.to_thread(thread.join, LEAVING)
    health.close()
    if failure:
        _log.error("failed", extra={"fox": {"process": NAME, "reason": failure}})
    _log.info("stopped", extra={"fox": {"process": NAME}})
    return 1 if failure else 0


def _health(instances: list[RealmInstance]) -> dict[str, object]:
    """Return the state for health checks, in the form of `Node.health`."""
    well = all(one.registered for one in instances)
    status = "ok" if well else "unavailable"
    return {"name": NAME, "status": status, "realms": len(instances)}
