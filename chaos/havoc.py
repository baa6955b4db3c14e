"""The accidents: random processes are killed or stopped at random times.

Owns: the choice, signals, a log of them. Never: starting processes again.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from random import Random

from chaos.broker import Broker, until

SEVERAL, GENTLY, PAUSES, LONG_PAUSES = 0.2, 0.32, 0.44, 0.48
"""Cumulative shares of the accidents that kill several processes at once, that are a SIGTERM, and
that stop a process, or all processes, for a short or a long time; the others kill one process."""

SHORT, LONG = (1.0, 3.0), (8.0, 8.0)
"""Seconds for which a process is stopped, at least and at most: the others do not miss it, or they
declare it gone (after twice PEER_TIMEOUT)."""

ALL = 0.25
"""Share of these accidents that stop all processes, as on a machine that is suspended."""

AT_ONCE = 0.35
"""Share of accidents after which the next one does not wait until all processes are well."""

SOON = 0.4
"""Average number of seconds before the next accident."""

ENOUGH = 50
"""Publishes that must be acknowledged before an accident that does not follow at once."""

PATIENCE = 40.0
"""Seconds within which these publishes must be acknowledged."""


class Havoc:
    """Causes accidents.

    counts: number of accidents by kind. told: a log of (time, accident). back: the seconds from
    accidents until all processes were well again.
    """

    def __init__(self, broker: Broker, rng: Random, now: Callable[[], float]) -> None:
        self._broker = broker
        self._rng = rng
        self._now = now
        self.counts: Counter[str] = Counter()
        self.told: list[tuple[float, str]] = []
        self.back: list[float] = []

    async def run(
        self, spared: str | None, seconds: float, fewest: int, progress: Callable[[], int]
    ) -> None:
        """Cause accidents for so many seconds, then wait until all processes are well.

        spared: a process that is not harmed. fewest: accidents, also on a slow machine. progress:
        returns the number of acknowledged publishes.
        """
        end = self._now() + seconds
        fewest += self.accidents
        victims = [name for name in self._broker.names if name != spared]
        while self._now() < end or self.accidents < fewest:
            began = self._now()
            await self._strike(victims)
            if self._rng.random() >= AT_ONCE:
                await self._broker.whole()
                self.back.append(self._now() - began)
                await self._get_on(progress)
            await asyncio.sleep(self._rng.expovariate(1 / SOON))
        await self._broker.whole()

    @property
    def accidents(self) -> int:
        """Their number, whatever their kind."""
        return sum(self.counts.values())

    async def _get_on(self, progress: Callable[[], int]) -> None:
        """Wait until clients have made progress, so that the next accident meets traffic."""
        before = progress()
        await until("publishes are acknowledged", lambda: progress() >= before + ENOUGH, PATIENCE)

    async def _strike(self, victims: list[str]) -> None:
        chance = self._rng.random()
        one = self._rng.choice(victims)
        if chance < SEVERAL:
            for name in self._rng.sample(victims, self._rng.randint(2, len(victims))):
                self._kill(name, signal.SIGKILL)
        elif chance < GENTLY:
            self._kill(one, signal.SIGTERM)
        elif chance < LONG_PAUSES:
            everything = self._rng.random() < ALL
            seconds = self._rng.uniform(*SHORT if chance < PAUSES else LONG)
            await self._pause(self._broker.names if everything else [one], seconds)
        else:
            self._kill(one, signal.SIGKILL)

    async def _pause(self, names: list[str], seconds: float) -> None:
        for name in names:
            self._tell("SIGSTOP", name)
        if len(names) > 1:
            await self._broker.pause(seconds)
        else:
            await self._broker.hang(names[0], seconds)
        self.told.append((self._now(), f"SIGCONT {' '.join(names)}"))

    def _kill(self, name: str, number: signal.Signals) -> None:
        if self._broker.send(name, number):
            self._tell(number.name, name)

    def _tell(self, what: str, name: str) -> None:
        self.counts[f"{what} {name.partition('-')[0]}"] += 1
        self.told.append((self._now(), f"{what} {name}"))
