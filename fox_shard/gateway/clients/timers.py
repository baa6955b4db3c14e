"""Timers: what a gateway has to do later.

Owns: the order of deadlines; which of them may be gathered. Never: the clock.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import ceil
from typing import Final, final

from fox_shard.deadline import NEVER, Deadline

GATHERED: Final = 0.1
"""Seconds between two moments at which gathered timers are due.

Each client has a few timers that nearly always find nothing to do. Ten thousand clients would wake
their gateway hundreds of times a second for them.
"""


@final
class Timers:
    """One-shot timers. They cannot be cancelled: a callback checks whether it is still wanted."""

    __slots__ = ("_deadline", "_heap", "_number")

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = count()

    def at(self, when: float, callback: Callable[[float], None]) -> None:
        """Call `callback(now)` once `now` is `when` or later."""
        heappush(self._heap, (when, next(self._number), callback))
        self._deadline.by(when)

    def gathered(self, when: float, callback: Callable[[float], None]) -> float:
        """Do the same as `at`, up to GATHERED seconds later, together with others.

        For what watches over a client's patience or silence. Returns when the timer is due.
        """
        due = ceil(when / GATHERED) * GATHERED
        self.at(due, callback)
        return due

    def next(self) -> float:
        """Return when the next timer is due, NEVER if there is none."""
        return self._heap[0][0] if self._heap else NEVER

    def run(self, now: float) -> None:
        """Call the callbacks that are due, in the order of their times."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            heappop(heap)[2](now)
