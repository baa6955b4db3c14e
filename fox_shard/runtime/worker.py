"""The worker: the process that runs Python functions which are reducers, and posts to webhooks.

Owns: its start, its health, its end. Never: functions, requests (see `worker.instance`).

Without either it waits to be stopped. It ends with exit code 1 if a function hangs, so that
supervisord starts it anew; the server asks again about the events that were out.
"""

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from fox_shard.client.address import url_of
from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.login import Key
from fox_shard.client.realm import Realm
from fox_shard.client.tls import SYSTEM
from fox_shard.client.websocket import dial_of
from fox_shard.config import Config, ConfigError
from fox_shard.errors import StartError
from fox_shard.runtime.health_socket import HealthSocket
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.name_lock import AlreadyRunning, hold_name
from fox_shard.runtime.sentences import tell
from fox_shard.runtime.supervision import follow_supervisor
from fox_shard.runtime.worker_key import WORKER, worker_key
from fox_shard.worker.instance import RealmInstance, Work, load_work

_log = logging.getLogger("fox")

NAME: Final = "worker"

LEAVING: Final = 3.0
"""Seconds for leaving the sessions at the end."""

LOOK: Final = 0.5
"""Seconds between two looks for a failure."""

PATIENCE: Final = 20.0
"""Seconds of silence after which a connection counts as lost."""

BUFFER: Final = 1 << 20
"""Bytes that may wait for the readers of a session; events do not."""

LONGEST_RETURN: Final = 2.0
"""Seconds between two tries to connect again, at most."""


def run_worker(config: Config, folder: Path) -> int:
    """Run the worker until it is told to stop. Returns the exit code.

    folder: where the functions' modules are looked for first.
    """
    supervisor = follow_supervisor()
    set_up_logging(config)
    try:
        lock = hold_name(config, NAME)
        works = load_work(config, folder)
        join = _joining(config) if works else None
    except AlreadyRunning as error:
        tell(f"fox: {error}")
        return 1
    except StartError as error:
        tell(f"fox: {error}")
        if supervisor is not None:
            supervisor.stop(Path(config.run_dir), str(error))
        return 1
    with lock:
        code = asyncio.run(_run(config, works, join))
    # Threads of functions that hang must not hold up the end.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _joining(config: Config) -> Callable[[str], Realm]:
    """Return what makes a session's client, by the realm's name. Raises ConfigError."""
    url = url_of(config)
    if url is None:
        raise ConfigError(
            "gateway.websocket is off: the worker needs it for reducers in Python and for "
            "webhooks, or a [[listener]] for websocket without TLS."
        )
    login = Key(WORKER, worker_key(Path(config.run_dir)))
    dial = dial_of(url, SYSTEM, PATIENCE)

    def join(realm: str) -> Realm:
        core = ClientCore(realm, login, random.random)
        return Realm(Engine(core, dial, Backoff(random.random, most=LONGEST_RETURN), BUFFER))

    return join


async def _run(config: Config, works: list[Work], join: Callable[[str], Realm] | None) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    instances = [
        RealmInstance(work, config.reducer.timeout, partial(join, work.realm))
        for work in works
        if join is not None
    ]
    health = HealthSocket(Path(config.run_dir), NAME, lambda: _health(instances))
    await health.open()
    tasks = [asyncio.create_task(one.run()) for one in instances]
    _log.info("started", extra={"fox": {"process": NAME, "pid": os.getpid()}})
    failure = ""
    while not (stopping.is_set() or failure):
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOOK if instances else None)
        failure = _failure(instances, tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=LEAVING)
    health.close()
    if failure:
        _log.error("failed", extra={"fox": {"process": NAME, "reason": failure}})
    _log.info("stopped", extra={"fox": {"process": NAME}})
    return 1 if failure else 0


def _failure(instances: list[RealmInstance], tasks: "list[asyncio.Task[None]]") -> str:
    """Return why the process has to end; "": it has not."""
    for task in tasks:
        error = task.exception() if task.done() else None
        if error is not None:
            _log.critical("failed", exc_info=error)
            return f"{type(error).__name__}: {error}"
    hanging = next((one.hangs for one in instances if one.hangs), "")
    return f"the function {hanging} does not come to an end" if hanging else ""


def _health(instances: list[RealmInstance]) -> dict[str, object]:
    """Return the state for health checks, in the form of `Node.health`.

    A target that does not work is no trouble of the server.
    """
    well = all(one.registered for one in instances)
    health: dict[str, object] = {
        "name": NAME,
        "status": "ok" if well else "unavailable",
        "realms": len(instances),
    }
    if any(one.webhooks for one in instances):
        health["webhooks"] = sum(len(one.webhooks) for one in instances)
        failing = [name for one in instances for name in one.failing]
        if failing:
            health["failing"] = ",".join(failing)
    return health
