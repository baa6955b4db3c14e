"""Waiters that are let through one after another, as each changes the key again.

Owns: how far a chain goes in one turn, and when grants are sent. Never: which waiter is the next
one (see `conditional`); a grant's answer and its row (see `grants`).
"""

from typing import final

from msgspec.structs import replace

from fox_shard.errors import Refusal
from fox_shard.shard.budget import SLICE_UNITS, Budget
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.publishing.applying import Applying
from fox_shard.shard.publishing.commit_queue import CommitQueue
from fox_shard.shard.publishing.conditional import ConditionalPublishes
from fox_shard.shard.publishing.effects import Granted
from fox_shard.shard.publishing.grants import Grants
from fox_shard.shard.publishing.refusals import Refusals
from fox_shard.shard.publishing.settled import SettledEvents
from fox_shard.shard.rows import KeyRef, Waiter

GRANT_UNITS = 4
"""Units of the turn's budget for a waiter that is let through."""


@final
class Chains:
    """The chains of one shard."""

    __slots__ = (
        "_applying",
        "_budget",
        "_commit_queue",
        "_conditional",
        "_grants",
        "_refusals",
        "_settled",
    )

    def __init__(
        self,
        applying: Applying,
        conditional: ConditionalPublishes,
        commit_queue: CommitQueue,
        grants: Grants,
        settled: SettledEvents,
        refusals: Refusals,
        budget: Budget,
    ) -> None:
        """budget: the turn's."""
        self._applying = applying
        self._conditional = conditional
        self._commit_queue = commit_queue
        self._grants = grants
        self._settled = settled
        self._refusals = refusals
        self._budget = budget

    def let_waiters_through(self, ref: KeyRef) -> None:
        """Let waiters through after a change of the key, as long as each changes the key again.

        After a slice of this work the rest goes on in `go_on`, unless another change comes first.
        """
        self._conditional.changed.pop(ref, None)
        until = self._budget.left - SLICE_UNITS
        waiter = self._conditional.next_waiter(ref)
        while waiter is not None and self._let_one_through(waiter):
            if self._budget.left <= until:
                self._conditional.changed[ref] = None
                return
            waiter = self._conditional.next_waiter(ref)

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return bool(self._conditional.changed)

    def go_on(self) -> None:
        """Let further waiters through, as far as the turn's budget goes."""
        changed, budget = self._conditional.changed, self._budget
        while changed and not budget.exhausted:
            budget.spend(1)
            self.let_waiters_through(next(iter(changed)))

    def _let_one_through(self, waiter: Waiter) -> bool:
        """Let the waiter's publish have its effect.

        Return whether the next waiter gets its turn: this one changed the key, or was refused.
        """
        # A copy: if the commit fails, the publish waits again as it was.
        publish = replace(waiter.publish)
        self._budget.spend(GRANT_UNITS)
        stored = self._applying.is_stored(publish)
        try:
            effect = self._applying.apply(waiter, publish, 0, [], stored=stored, recorded=stored)
        except Refusal as error:
            self._refusals.count(error)
            self._conditional.refuse(waiter, error)
            return True
        return isinstance(effect, KeyChange)

    def send_grants(self) -> None:
        """Send the grants that depend on no commit. Called when the batch has been handled."""
        if self._conditional.granted:
            for granted in self._conditional.take_granted():
                self.give(granted)

    def give(self, granted: Granted) -> None:
        """Send a grant that nothing can undo any more."""
        self._grants.send(granted)
        if granted.stored and granted.event is not None:
            self._settled.add(granted.event.publication)

    def end_turn(self) -> None:
        """Finish what happened in no batch: send the grants, close groups nobody waits for."""
        self.send_grants()
        self._commit_queue.take_groups()
