"""Virtual time: what happens when, in one thread and from one source of randomness.

Owns: the clock, and the order of what is due. Never: what happens.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import final


@final
class Timing:
    """The time of one simulated world, in seconds.

    rng: decides every delay. max_delay: seconds that anything may be on its way.
    """

    __slots__ = ("_events", "_number", "max_delay", "now", "rng")

    def __init__(self, rng: Random, max_delay: float) -> None:
        self.rng = rng
        self.max_delay = max_delay
        self.now = 100.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Do it then. What is due at the same time happens in the order of asking."""
        self._number += 1
        heappush(self._events, (when, self._number, action))

    def delay(self) -> float:
        """How long something is on the way: mostly short, sometimes long."""
        return self.rng.random() ** 3 * self.max_delay

    def is_due(self, until: float) -> bool:
        """Is there an action that is due by then?"""
        return bool(self._events) and self._events[0][0] <= until

    def next_action(self) -> Callable[[], object]:
        """Take the next action; it is its time from now on."""
        self.now, _, action = heappop(self._events)
        return action
