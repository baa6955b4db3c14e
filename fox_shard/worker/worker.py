"""A worker: the instances of all realms, in an event loop.

Owns: their tasks, and how they are. Never: whose process the loop is in (see `runtime.worker`,
`embedded.router`).
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, final

from fox_shard.client.realm import Realm
from fox_shard.worker.instance import RealmInstance, Work

_log = logging.getLogger("fox")

NAME: Final = "worker"

LOOK: Final = 0.5
"""Seconds between two looks for a failure."""

LEAVING: Final = 3.0
"""Seconds for leaving the sessions at the end."""


@final
class Worker:
    """What a worker does for all realms, from `start` to `stop`."""

    def __init__(self, works: list[Work], timeout: float, join: Callable[[str], Realm]) -> None:
        """timeout: `reducer.timeout`. join: returns a client of a realm, which has not begun."""
        self._works = works
        self._timeout = timeout
        self._join = join
        self._instances: list[RealmInstance] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to join the realms."""
        self._instances = [
            RealmInstance(work, self._timeout, partial(self._join, work.realm))
            for work in self._works
        ]
        self._tasks = [asyncio.create_task(one.run()) for one in self._instances]

    async def watch(self) -> None:
        """Log failures, for a process that does not end by them. To be canceled."""
        told = ""
        while True:
            failure = self.failure
            if failure and failure != told:
                _log.error("failed", extra={"fox": {"process": NAME, "reason": failure}})
            told = failure
            await asyncio.sleep(LOOK)

    async def stop(self) -> None:
        """Leave the realms. Functions that run are not waited for, and requests are broken off."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVING)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._works)

    @property
    def failure(self) -> str:
        """Why a new process might do better; "": all is well."""
        for task in self._tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None:
                return f"{type(error).__name__}: {error}"
        hanging = next((one.hangs for one in self._instances if one.hangs), "")
        return f"the function {hanging} does not come to an end" if hanging else ""

    def health(self) -> dict[str, object]:
        """Return the state for health checks, in the form of `Node.health`.

        A target that does not work is no trouble of the server.
        """
        instances = self._instances
        well = all(one.registered for one in instances)
        failure = self.failure
        status = "ok" if well and not failure else "unavailable"
        health: dict[str, object] = {"name": NAME, "status": status, "realms": len(instances)}
        if failure:
            health["failure"] = failure
        if any(one.webhooks for one in instances):
            health["webhooks"] = sum(len(one.webhooks) for one in instances)
            failing = [name for one in instances for name in one.failing]
            if failing:
                health["failing"] = ",".join(failing)
        return health
