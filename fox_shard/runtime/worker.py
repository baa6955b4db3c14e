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
from fox_shard.worker.instance import load_work
from fox_shard.worker.worker import LOOK, NAME, Worker

_log = logging.getLogger("fox")

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
        worker = Worker(works, config.reducer.timeout, _joining(config, needed=bool(works)))
    except AlreadyRunning as error:
        tell(f"fox: {error}")
        return 1
    except StartError as error:
        tell(f"fox: {error}")
        if supervisor is not None:
            supervisor.stop(Path(config.run_dir), str(error))
        return 1
    with lock:
        code = asyncio.run(_run(config, worker))
    # Threads of functions that hang must not hold up the end.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _joining(config: Config, *, needed: bool) -> Callable[[str], Realm]:
    """Return what makes a client of a realm. Raises ConfigError if it is needed and cannot be."""
    url = url_of(config) or ""
    if needed and not url:
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


async def _run(config: Config, worker: Worker) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    health = HealthSocket(Path(config.run_dir), NAME, worker.health)
    await health.open()
    worker.start()
    _log.info("started", extra={"fox": {"process": NAME, "pid": os.getpid()}})
    while not (stopping.is_set() or worker.failure):
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOOK if worker.busy else None)
    failure = worker.failure
    await worker.stop()
    health.close()
    if failure:
        _log.error("failed", extra={"fox": {"process": NAME, "reason": failure}})
    _log.info("stopped", extra={"fox": {"process": NAME}})
    return 1 if failure else 0
