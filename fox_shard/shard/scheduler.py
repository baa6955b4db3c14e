"""The scheduler: the work that a turn's budget did not pay for, until it is done.

Owns: which kinds of work there are, and that they go on, in order, while the turn has budget.
Never: the work; what frames do (see `backlog`); units (see `budget`).
"""

from typing import Protocol, final

from fox_shard.shard.budget import Budget


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

    __slots__ = ("_budget", "_works")

    def __init__(self, budget: Budget, works: list[Work]) -> None:
        """budget: the turn's. works: in the order in which they go on in a turn."""
        self._budget = budget
        self._works = works

    @property
    def busy(self) -> bool:
        """Whether something waits for a turn with enough budget."""
        return any(work.busy for work in self._works)

    def end_turn(self, now: float) -> bool:
        """Go on with what waits, and give the next turn its budget; call once a turn.

        Return whether something still waits, so that the next turn is due at once.
        """
        busy = self.busy
        if busy:
            for work in self._works:
                work.go_on(now)
            busy = self.busy
        self._budget.begin_turn()
        return busy
