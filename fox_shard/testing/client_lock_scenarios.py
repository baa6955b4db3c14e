"""Scenarios of programs that hold locks, whose connections, gateways and shards die.

Owns: what happens in each, and what must be true of the locks. Each takes a seed, and raises
AssertionError with the trace.
"""

import asyncio
from itertools import pairwise
from math import inf
from random import Random
from typing import Final, final

from fox_shard.client.failures import LockLost, Refused
from fox_shard.testing.client_scenarios import (
    Host,
    client_world,
    end,
    faults_for,
    join,
    settle,
)
from fox_shard.testing.programs import CHECKS, PATIENCE, Program
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

LOCKS: Final = ("lock.a", "lock.b")

NOTICED: Final = PATIENCE * (1 + 2 / CHECKS)
"""Seconds after which a client has noticed that its connection is silent."""

LONG: Final = 600.0
"""Seconds within which all have had their turns, at the end."""


@final
class Hold:
    """A time in which the body of a program ran. until: `inf`: it still does."""

    def __init__(self, program: Host, lock: str, token: int) -> None:
        self.program = program
        self.lock = lock
        self.token = token
        self.since = program.loop.time()
        self.until = inf

    def __repr__(self) -> str:
        return f"{self.program.name} {self.token} {self.since:.3f}-{self.until:.3f}"


@final
class Worker:
    """A program that takes locks several times, holds each for a while, or gives up waiting.

    left: how often it still wants one.
    """

    def __init__(self, program: Host, times: int, holds: list[Hold]) -> None:
        self.program = program
        self.left = times
        self._holds = holds

    def begin(self) -> None:
        """Begin to take locks."""
        self.program.run(self._work(self.program.rng))

    async def _work(self, rng: Random) -> None:
        while self.left:
            self.left -= 1
            try:
                async with asyncio.timeout(None if rng.random() < 0.8 else 0.2):
                    await self._turn(rng)
            except (TimeoutError, LockLost):
                pass
            except Refused as refused:
                stored = refused.uri == "fox.error.unavailable_store"
                self.program.world.check(stored, f"{self.program.name} got {refused}")
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.2)

    async def _turn(self, rng: Random) -> None:
        realm, world = self.program.realm, self.program.world
        name = rng.choice(LOCKS)
        async with realm.lock(name, self.program.name) as token:
            hold = Hold(self.program, name, token)
            self._holds.append(hold)
            world.note(f"{self.program.name} holds {name} with {token}")
            try:
                await self._use(rng)
            finally:
                hold.until = self.program.loop.time()
                world.note(f"{self.program.name} held {name} with {token}")

    async def _use(self, rng: Random) -> None:
        """Do what needs the lock: sleep, publish, for a moment or longer."""
        if rng.random() < 0.3:
            await self.program.realm.publish("work", acknowledge=True)
        await asyncio.sleep(rng.random() ** 3 * rng.choice((1, 30)))


def programs_hold_locks(seed: int) -> None:
    """One body runs at a time, and every program gets its turns."""
    _hold_locks(seed, pauses=False)


def programs_hold_locks_while_all_pauses(seed: int) -> None:
    """A body runs beside another one only until its program can know that the lock is lost."""
    _hold_locks(seed, pauses=True)


def _hold_locks(seed: int, *, pauses: bool) -> None:
    run = Run(client_world(seed))
    world, rng = run.world, run.rng
    holds: list[Hold] = []
    programs = [Program(world, f"p{number}") for number in range(4)]
    workers = [Worker(program, rng.choice((3, 6)), holds) for program in programs]
    join(run, programs)
    for worker in workers:
        worker.begin()
    faults: list[Action] = faults_for(run, programs, pauses=pauses)
    run.perform(faults, rng.choice((0.2, 1.0, 4.0)))
    settle(run, programs)
    world.run_until(lambda: not any(one.running for one in programs), LONG)
    check_tokens(world, holds)
    check_overlaps(world, holds, NOTICED if pauses else 0.0)
    end(run, programs)


def check_tokens(world: World, holds: list[Hold]) -> None:
    tokens = [hold.token for hold in holds]
    world.check(len(set(tokens)) == len(tokens), f"a token came twice: {holds}", LOCKS)


def check_overlaps(world: World, holds: list[Hold], allowed: float) -> None:
    """Check that whoever has the greater token begins when the others have ended.

    allowed: seconds for which a program may go on, as it cannot know better. While its process
    stands still, it knows nothing at all.
    """
    for lock in LOCKS:
        in_order = sorted((hold for hold in holds if hold.lock == lock), key=lambda one: one.token)
        for earlier, later in pairwise(in_order):
            ends = f"{earlier} went on beside {later}"
            paused = earlier.program.paused_between(later.since, earlier.until)
            late = earlier.until - later.since - paused
            world.check(late <= allowed, ends, (lock, "killed", "pause", "cut off"))
