"""An application in whose process the server runs, with a realm of its own (see `FoxRouter`).

Owns: the application's lives: each ends with its process, and each begins anew. Never: what the
application does (see the scenarios).
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any, final

from fox_shard.client.realm import Realm
from fox_shard.embedded.local_clients import LocalClients
from fox_shard.testing.one_process import OneProcess
from fox_shard.testing.virtual_loop import VirtualLoop
from fox_shard.testing.world import World

LOOK = 0.01
"""Seconds between two looks whether the gateway is linked."""


@final
class Application:
    """A program that starts with the server, and dies with it. It looks like a `Program`.

    running: its tasks in the present life that have not ended.
    """

    def __init__(self, world: World, name: str, each_life: Callable[[], None]) -> None:
        """each_life: called in each life, as soon as there is a realm."""
        self.world = world
        self.name = name
        self.rng = Random(f"{name} {world.seed}")
        self.loop: VirtualLoop
        self.realm: Realm
        self._joined = False
        self.running: set[asyncio.Task[None]] = set()
        self._each_life = each_life
        world.on_process = self._begin
        world.kill("gateway-0")
        world.start("gateway-0")

    def _begin(self, process: OneProcess) -> None:
        gateway = self.world.gateway(0)
        schedule = partial(process.shell.schedule, gateway.name)
        clients = LocalClients(gateway, schedule, self.rng.random)
        self.world.on_turn = clients.collect
        self.loop, self._joined = process.loop, False
        self.running.clear()
        self.run(self._live(clients))

    async def _live(self, clients: LocalClients) -> None:
        gateway = self.world.gateway(0)
        while not gateway.linked:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(LOOK)
        self.realm = clients.realm("realm1")
        await self.realm.start()
        self._joined = True
        self._each_life()

    @property
    def alive(self) -> bool:
        """Whether the process runs, and its realm has been joined."""
        return self._joined and not self.loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let the application do something beside everything else that it does."""
        task = self.loop.begin(coroutine)
        self.running.add(task)
        task.add_done_callback(partial(self._ended, self.loop))

    def _ended(self, loop: VirtualLoop, task: asyncio.Task[None]) -> None:
        if loop.is_closed():
            return
        self.running.discard(task)
        failed = not task.cancelled() and task.exception() is not None
        self.world.check(not failed, f"{self.name} has failed: {failed and task.exception()!r}")

    def paused_between(self, since: float, until: float) -> float:
        """Return 0: while the process stands still, nobody is given anything by its shard."""
        return 0.0
