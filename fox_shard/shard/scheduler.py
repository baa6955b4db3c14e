"""The scheduler: the work that a turn's budget did not pay for, until it is done.

Owns: which kinds of work there are, and that each of them goes on, however much comes in. Never:
the work; what frames do (see `backlog`); units (see `budget`).
"""

from collections import deque
from typing import Protocol, final

from fox_shard.shard.budget import SLICE_UNITS, Budget


class Work(Protocol):
    """Work of any length that is done in slices."""

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""

    def go_on(self, now: float, /) -> None:
        """Do some of the work, as far as the turn's budget goes. now: monotonic seconds."""


@final
class Scheduler:
    """The scheduler of one shard."""

    __slots__ = ("_budget", "_turns", "_works")

    def __init__(self, budget: Budget, works: list[Work]) -> None:
        """budget: the turn's. works: all kinds of work; the order of two kinds must not matter."""
        self._budget = budget
        self._works = works
        self._turns = 0

    @property
    def busy(self) -> bool:
        """Whether something waits for a turn with enough budget."""
        # Asked in every turn, so it is a plain loop.
        for work in self._works:  # noqa: SIM110
            if work.busy:
                return True
        return False

    def end_turn(self, now: float) -> bool:
        """Go on with what waits, and give the next turn its budget; call once a turn.

        Return whether something still waits, so that the next turn is due at once.
        """
        busy = self.busy
        if busy:
            # Whatever has come in this turn, something is left for what waits.
            self._budget.leave_at_least(SLICE_UNITS)
            self._go_on(now)
            busy = self.busy
        self._budget.begin_turn()
        return busy

    def _go_on(self, now: float) -> None:
        """Go on with a slice of each kind of work in turn, each time beginning with another one."""
        budget = self._budget
        self._turns += 1
        first = self._turns % len(self._works)
        waiting = deque(work for work in self._works[first:] + self._works[:first] if work.busy)
        while waiting and not budget.exhausted:
            work = waiting.popleft()
            others = budget.hold_back(SLICE_UNITS)
            work.go_on(now)
            budget.left += others
            if work.busy:
                waiting.append(work)
