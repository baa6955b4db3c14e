"""Who is killed when, as chance has it.

Owns: choosing, signals, their account. Never: starting processes again.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from random import Random

from chaos.broker import Broker, until

SEVERAL, GENTLY = 0.2, 0.35
"""Shares, summed up: of accidents that kill several at once, of those that are a SIGTERM."""

AT_ONCE = 0.35
"""Share of accidents that the next one follows before everything is well again."""

SOON = 0.4
"""Seconds from one accident, or from its being over, to the next, on average."""

ENOUGH = 50
"""Publishes that are acknowledged before an accident, unless it follows at once."""

PATIENCE = 40.0
"""Seconds they may take."""


class Havoc:
    """told: what was done, and when. back: seconds until all was well again after an accident."""

    def __init__(self, broker: Broker, rng: Random, now: Callable[[], float]) -> None:
        self._broker = broker
        self._rng = rng
        self._now = now
        self.counts: Counter[str] = Counter()
        self.told: list[tuple[float, str]] = []
        self.back: list[float] = []

    async def run(self, spared: str, seconds: float, progress: Callable[[], int]) -> None:
        """Kill, but not `spared`. progress: grows while the clients get on."""
        end = self._now() + seconds
        victims = [name for name in self._broker.names if name != spared]
        while self._now() < end:
            began = self._now()
            self._strike(victims)
            if self._rng.random() >= AT_ONCE:
                await self._broker.whole()
                self.back.append(self._now() - began)
                await self._get_on(progress)
            await asyncio.sleep(self._rng.expovariate(1 / SOON))
        await self._broker.whole()

    async def _get_on(self, progress: Callable[[], int]) -> None:
        """The next accident is to meet somebody who is at work."""
        before = progress()
        await until("publishes are acknowledged", lambda: progress() >= before + ENOUGH, PATIENCE)

    def _strike(self, victims: list[str]) -> None:
        chance = self._rng.random()
        number = signal.SIGKILL
        chosen = [self._rng.choice(victims)]
        if chance < SEVERAL:
            chosen = self._rng.sample(victims, self._rng.randint(2, len(victims)))
        elif chance < GENTLY:
            number = signal.SIGTERM
        for name in chosen:
            if self._broker.send(name, number):
                self.counts[f"{number.name} {name.partition('-')[0]}"] += 1
                self.told.append((self._now(), f"{number.name} {name}"))
