"""Releases: the effects of transactions that are durable, one transaction after the other.

Owns: which transactions are durable but still to be released. Never: what an effect does (see
`dispatch`).

A slow disk makes many transactions durable at once. Each is the work of one turn at most, so they
are released one by one, as if the disk had told so: keys, history, events and answers of one
transaction go together, and nothing overtakes what is still to be released.
"""

from typing import final

from fox_shard.shard.budget import Budget
from fox_shard.shard.dispatch import Dispatcher


@final
class Releases:
    """The releases of one shard."""

    __slots__ = ("_budget", "_dispatcher", "_durable", "_released")

    def __init__(self, dispatcher: Dispatcher, budget: Budget) -> None:
        """budget: the turn's."""
        self._dispatcher = dispatcher
        self._budget = budget
        # Tickets up to which transactions are durable, and released.
        self._durable = self._released = 0

    def committed(self, ticket: int, now: float) -> None:
        """Note that all transactions up to this one are durable, and release what can be."""
        self._durable = ticket
        self.go_on(now)

    def commit_failed(self, why: str, now: float) -> None:
        """Undo all transactions that are not durable; those that are have their effects first."""
        while self.busy:
            self._release_next(now)
        self._dispatcher.commit_failed(why, now)

    @property
    def busy(self) -> bool:
        """Whether any durable transaction is to be released."""
        return self._released < self._durable

    def go_on(self, now: float) -> None:
        """Release transactions, as far as the turn's budget goes; call every turn."""
        while self.busy and not self._budget.exhausted:
            self._release_next(now)

    def _release_next(self, now: float) -> None:
        self._released += 1
        self._dispatcher.committed(self._released, now)
