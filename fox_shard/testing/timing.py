"""Virtual time: scheduled actions in one thread, with one source of randomness.

Owns: the clock, and the order of actions. Never: what the actions do.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import final


@final
class Timing:
    """The time of one simulated world, in seconds.

    rng: decides every delay. max_delay: maximum seconds that bytes are on their way.
    """

    __slots__ = ("_events", "_number", "max_delay", "now", "rng")

    def __init__(self, rng: Random, max_delay: float) -> None:
        self.rng = rng
        self.max_delay = max_delay
        self.now = 100.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Schedule an action. Actions with the same time are performed in the order of calls."""
        self._number += 1
        heappush(self._events, (when, self._number, action))

    def delay(self) -> float:
        """Return a random delay, mostly short, sometimes long."""
        return self.rng.random() ** 3 * self.max_delay

    def is_due(self, until: float) -> bool:
        """Whether an action is due by then."""
        return bool(self._events) and self._events[0][0] <= until

    def next_action(self) -> Callable[[], object]:
        """Take the next action, and set the clock to its time."""
        self.now, _, action = heappop(self._events)
        return action
