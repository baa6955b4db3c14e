"""Publishes with `watch`, which wait until their conditions hold.

Owns: when a waiter is let through, and the writing of rows of waiters and grants. Never: the order
of the waiters (see `wait_queues`); what a publish does when it is let through (see `applying`); how
far that goes in one turn (see `chains`).

Each change of a key lets at most one publish through, the first of those whose condition holds;
this publish may change the key in turn. While the store fails, changed keys are put off, to be
looked at when the store works again. A restarted shard looks at all keys with waiters when its sync
has ended.
"""

from typing import final

from fox_shard.backplane.frames import Event, Publish
from fox_shard.config import Keys as Limits
from fox_shard.errors import Refusal
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.keys.wait_queues import WaitQueues
from fox_shard.shard.links.outcomes import PARKED, Outcomes
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.commit_queue import CommitQueue
from fox_shard.shard.publishing.effects import Granted, Parked
from fox_shard.shard.queue_quota import QueueQuotas
from fox_shard.shard.rows import KeyRef, Waiter

CONDITIONS_PER_UNIT = 4
"""Conditions that cost a unit of the turn's budget when a key is compared with them."""


@final
class ConditionalPublishes:
    """The waiters of one shard, and the grants that may still fail or are still to be sent."""

    __slots__ = (
        "_budget",
        "_clock",
        "_commit_queue",
        "_journal",
        "_limits",
        "_outcomes",
        "_owners",
        "_put_off",
        "_realms",
        "_taken",
        "_undone",
        "changed",
        "granted",
        "waiting",
    )

    def __init__(
        self,
        retained_keys: RetainedKeys,
        clock: PublicationClock,
        commit_queue: CommitQueue,
        outcomes: Outcomes,
        limits: Limits,
        budget: Budget,
        quotas: QueueQuotas,
    ) -> None:
        """budget: the turn's, which pays for comparing keys with conditions.

        quotas: of the realms, for publishes that wait.
        """
        self._budget = budget
        self._limits = limits
        self._realms = retained_keys.realms
        self._owners = retained_keys.owners
        self._clock = clock
        self._commit_queue = commit_queue
        self._outcomes = outcomes
        self._journal = outcomes.journal
        self.waiting = WaitQueues(quotas)
        # Keys at which further waiters are to be let through, in order.
        self.changed: dict[KeyRef, None] = {}
        # Keys to be looked at later, in order; None: nothing is put off.
        self._put_off: dict[KeyRef, None] | None = {}
        # Waiters that were let through in transactions that are not durable yet, by session and
        # arrival; and those of them whose transactions have failed.
        self._taken: dict[int, dict[int, Waiter]] = {}
        self._undone: list[Waiter] = []
        # Grants that depend on no commit, to be sent at the end of the batch.
        self.granted: list[Granted] = []

    # Waiting

    def park(self, peer: Peer, publish: Publish, rseq: int, *, stored: bool) -> None:
        """Let the publish wait; later frames of its session do not wait behind it.

        rseq: the publish's reliable number; 0: none. stored: the waiter gets a row, and its batch
        is delivered once this row is durable, however long the publish waits. Raises LimitExceeded
        if too much waits already.
        """
        self.waiting.check_room(publish, self._limits)
        publish.fence = None
        waiter = Waiter(self._clock.next(), peer.name, peer.link.peer_incarnation, publish)
        self.load(waiter)
        if stored:
            self._journal.put(rows.waiter(waiter.arrival), rows.encode(waiter))
            self._outcomes.add(rseq, PARKED)
            self._commit_queue.group(self._journal.ticket).effects.append((Parked(waiter), rseq))

    def load(self, waiter: Waiter) -> None:
        """Add a waiter. Waiters from the store are loaded in the order of arrival."""
        self.waiting.add(waiter)
        session = waiter.publish.session
        self._owners.add(waiter.gateway, waiter.incarnation, session, None)

    def session_ended(self, session: int) -> None:
        """Drop the session's waiters, also those whose grants may still fail, and their rows."""
        taken = self._taken.pop(session, {})
        for waiter in [*self.waiting.session_ended(session), *taken.values()]:
            self._journal.keep(rows.waiter(waiter.arrival), None)

    def cancel(self, waiter: Waiter) -> bool:
        """Remove a waiter whose row could not be stored.

        Return whether it was still waiting, or let through meanwhile; else its session has ended.
        """
        return self._forget_taken(waiter) or self.waiting.remove(waiter)

    # Letting through

    def next_waiter(self, ref: KeyRef) -> Waiter | None:
        """Remove and return the waiter that the key's new value lets through.

        None: no condition holds, or the key is put off.
        """
        if self._put_off is not None or self._journal.failing:
            self._put_off = self._put_off or {}
            self._put_off[ref] = None
            return None
        realm = self._realms[ref[0]]
        self._budget.spend(self.waiting.conditions_at(ref) // CONDITIONS_PER_UNIT)
        return self.waiting.take(ref, realm.keys.get(ref[1]), realm.document_of)

    def grant(self, waiter: Waiter, effect: Event | KeyChange, *, stored: bool) -> Granted:
        """Return the grant of a waiter that has just had its effect.

        stored: the effect is in the present transaction. Then the grant is, too, and the waiter's
        row goes.
        """
        granted = Granted(waiter, effect, stored)
        if stored:
            event = granted.event
            assert event is not None
            self._taken.setdefault(waiter.publish.session, {})[waiter.arrival] = waiter
            row = rows.GrantRow(waiter.gateway, waiter.incarnation, event)
            self._journal.put(rows.waiter(waiter.arrival), None)
            self._journal.put(rows.grant(event.publication), rows.encode(row))
        return granted

    def refuse(self, waiter: Waiter, error: Refusal) -> None:
        """Refuse a publish that was let through but cannot have its effect."""
        self._journal.keep(rows.waiter(waiter.arrival), None)
        self.granted.append(Granted(waiter, error, stored=False))

    def take_granted(self) -> list[Granted]:
        """Remove and return the grants that depend on no commit."""
        granted, self.granted = self.granted, []
        return granted

    def committed(self, granted: Granted) -> None:
        """Forget the waiter of a grant that is durable."""
        self._forget_taken(granted.waiter)

    def commit_failed(self, granted: Granted) -> None:
        """Note that the waiter has to wait again (`take_undone`), unless its session has ended."""
        if self._forget_taken(granted.waiter):
            self._undone.append(granted.waiter)

    def _forget_taken(self, waiter: Waiter) -> bool:
        """Return whether the waiter was let through and its session has not ended since then."""
        session = waiter.publish.session
        taken = self._taken.get(session, {})
        was = taken.pop(waiter.arrival, None) is not None
        if was and not taken:
            del self._taken[session]
        return was

    def take_undone(self) -> list[Waiter]:
        """Return the waiters to put back, the last one first, when a failed commit is undone."""
        undone, self._undone = self._undone, []
        return undone[::-1]

    # Keys that are put off

    @property
    def has_put_off(self) -> bool:
        """Whether keys have to be looked at when the store works and the sync has ended."""
        return self._put_off is not None

    def take_put_off(self) -> dict[KeyRef, None]:
        """Remove and return the keys that were put off; from now on changes are looked at."""
        refs, self._put_off = self._put_off or {}, None
        return refs

    def look_everywhere(self) -> None:
        """Put off all keys with waiters: some may have expired while the shard was down."""
        self._put_off = {**(self._put_off or {}), **dict.fromkeys(self.waiting.refs)}
