"""Publishes that change the store, or depend on it.

Owns: whether a publish has its effect, waits for its condition, or is refused; whether the effect
waits for the store; and what happens if the commit fails. Never: the key's new value (see
`retained`); the waiters at a key (see `conditional`); the events that are sent (see `broker`).
"""

from collections import deque
from typing import final

from msgspec.structs import replace

from fox_shard.backplane.frames import (
    CONDITION,
    RECORDED,
    REDUCES,
    RETAIN,
    TRACE,
    WILL,
    Again,
    Event,
    Frame,
    Publish,
    Refused,
    Registered,
)
from fox_shard.config import Keys as Limits
from fox_shard.errors import LimitExceeded, QueueFull, Refusal
from fox_shard.shard.budget import SLICE_UNITS, Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.keys.change import WEAK, KeyChange
from fox_shard.shard.keys.conditions import is_shown
from fox_shard.shard.keys.retained import RetainedKeys, changes_key
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.links.outcomes import (
    HIDDEN_KEY,
    INVALID,
    LIMIT_EXCEEDED,
    QUEUE_FULL,
    REFUSED,
    Outcomes,
    condition_failed,
)
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.commit_queue import CommitGroup, CommitQueue
from fox_shard.shard.publishing.conditional import ConditionalPublishes
from fox_shard.shard.publishing.effects import (
    NOT_STORED,
    Effect,
    Granted,
    Parked,
    PublishEffect,
    SessionFrame,
    event_of,
)
from fox_shard.shard.publishing.grants import Grants
from fox_shard.shard.publishing.refusals import Refusals
from fox_shard.shard.publishing.resent import ResentPublishes
from fox_shard.shard.publishing.settled import SettledEvents
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.queue_quota import QueueQuotas
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.rows import KeyRef, Waiter
from fox_shard.shard.tables.tables import Tables
from fox_shard.shard.tables.validation import Validation
from fox_shard.topics.ids import MAX_ID

STORE_FLAGS = RETAIN | CONDITION | TRACE | WILL
"""Flags of publishes that change a key, depend on one, or are recorded in the history."""

UNSTORED = "$"
"""Prefix of the server's own topics, which are not stored: the server publishes them again."""


GRANT_UNITS = 4
KEY_UNITS = 2
"""Units of the turn's budget for a waiter that is let through, and for a key that ends."""


@final
class StoredPublishes:
    """The handling of publishes on one shard, from arrival to commit or failure."""

    __slots__ = (
        "_broker",
        "_budget",
        "_chains",
        "_concerns",
        "_defined",
        "_histories",
        "_journal",
        "_outcomes",
        "_postponed_wills",
        "_realms",
        "_reducers",
        "_reducing",
        "_resent",
        "_retained_keys",
        "_ruled",
        "_synced",
        "_tables",
        "_waiting",
        "commit_queue",
        "conditional",
        "grants",
        "refusals",
        "settled",
    )

    def __init__(
        self,
        broker: Broker,
        retained_keys: RetainedKeys,
        histories: Histories,
        reducers: Reducers,
        tables: Tables,
        clock: PublicationClock,
        outcomes: Outcomes,
        unannounced: UnannouncedChanges,
        peers: dict[str, Peer],
        limits: Limits,
        validation: Validation,
        budget: Budget,
        quotas: QueueQuotas,
    ) -> None:
        """peers: all peers, by name. budget: the turn's. quotas: of the realms, for what waits."""
        self._budget = budget
        self._broker = broker
        self._retained_keys = retained_keys
        self._realms = retained_keys.realms
        self._histories = histories
        self._ruled = histories.ruled
        self._reducers = reducers
        self._reducing = reducers.catalog.reducing
        self._tables = tables
        self._defined = validation.defined
        self._concerns = validation.concerns
        self._outcomes = outcomes
        self._journal = outcomes.journal
        self.commit_queue = CommitQueue()
        self._waiting = self.commit_queue.waiting
        self.conditional = ConditionalPublishes(
            retained_keys, clock, self.commit_queue, outcomes, limits, budget, quotas
        )
        self.grants = Grants(broker, peers, outcomes.journal)
        self.refusals = Refusals()
        self.settled = SettledEvents(self.commit_queue, outcomes, unannounced)
        self._resent = ResentPublishes(
            broker, retained_keys, histories, outcomes, self.commit_queue, self.refusals
        )
        # Keys at which further waiters are to be let through, in order.
        self._chains: dict[KeyRef, None] = {}
        # Wills of keys that could not be published because the store failed.
        self._postponed_wills: deque[Publish] = deque()
        # Whether the sync has ended.
        self._synced = False

    # Publishing

    def is_plain(self, peer: Peer, publish: Publish) -> bool:
        """Whether the publish has nothing to do with the store, nor with what waits for it.

        A plain publish needs `Broker.publish` only. The check is made for every publish, so it is
        quick, and may be False for a plain one: `publish` then has the same result.
        """
        return not (
            publish.flags & STORE_FLAGS
            or self._waiting
            or peer.may_repeat
            or (self._ruled and publish.realm in self._ruled and self._histories.wants(publish))
            or (self._reducing and self._reducers.catalog.wanting(publish))
            or (self._defined and publish.realm in self._defined and self._concerns(publish))
        )

    def is_stored(self, publish: Publish) -> bool:
        """Whether the publish changes a row of the store, or depends on one."""
        return (
            (
                self._concerns_rows(publish)
                or bool(self._reducing and self._reducers.catalog.wanting(publish))
            )
            and self._realms[publish.realm].stored
            and not publish.topic.startswith(UNSTORED)
        )

    def _concerns_rows(self, publish: Publish) -> bool:
        """Whether the publish would be stored even if no reducer had room for its event."""
        return (
            changes_key(publish)
            or publish.flags & (CONDITION | REDUCES) > 0
            or self._histories.wants(publish)
        )

    def publish(self, peer: Peer | None, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """Do what `Broker.publish` does, for any publish; hold what has to wait for a commit.

        peer: the sender; None: the publish is the will of a session that has ended. rseq: the
        publish's reliable number; 0: none. replies: gets the answers, which are sent when the batch
        is delivered.
        """
        stored = self.is_stored(publish)
        # The coordinator's outbox repeats a frame until it is recorded, whatever the frame changes.
        from_outbox = rseq > 0 and peer is not None and peer.kind is Kind.COORDINATOR
        retain, failing = publish.retain, self._journal.failing
        watches = retain is not None and retain.watch and peer is not None
        met = self._retained_keys.meets(publish)
        if (
            peer is not None
            and peer.may_repeat
            and (stored or from_outbox)
            and self._outcomes.is_recorded(peer, rseq)
        ):
            self._resent.answer(peer, publish, rseq, replies)
        elif not (met or watches):
            self._condition_failed(publish, rseq, replies, stored=stored)
        elif stored and failing:
            self._outcomes.add(rseq, REFUSED)
            replies += self.refusals.unavailable(publish, failing)
        else:
            recorded = stored or (from_outbox and not failing)
            try:
                if met or peer is None:
                    self._publish(peer, publish, rseq, replies, stored=stored, recorded=recorded)
                else:
                    if retain is None or not retain.patch:
                        self._retained_keys.check(publish)
                    self.conditional.park(peer, publish, rseq, stored=stored)
            except Refusal as error:
                self._refuse(publish, error, rseq, replies, stored=stored)

    def _publish(
        self,
        peer: Peer | None,
        publish: Publish,
        rseq: int,
        replies: list[Frame],
        *,
        stored: bool,
        recorded: bool,
    ) -> None:
        effect = self._apply(peer, publish, rseq, replies, stored=stored, recorded=recorded)
        if isinstance(effect, KeyChange):
            self._let_waiters_through(effect.ref)

    def _condition_failed(
        self, publish: Publish, rseq: int, replies: list[Frame], *, stored: bool
    ) -> None:
        key = self._retained_keys.key((publish.realm, publish.topic))
        present = 0 if key is None else key.publication
        if key is not None and not is_shown(key, publish.session):
            present = HIDDEN_KEY
        answers = self.refusals.condition_failed(publish, present)
        self._refused(answers, condition_failed(present), rseq, replies, stored=stored)

    def _refuse(
        self, publish: Publish, error: Refusal, rseq: int, replies: list[Frame], *, stored: bool
    ) -> None:
        """Refuse a publish for what it says, for a limit, or because of a schema."""
        answers = self.refusals.refuse(publish, error)
        outcome = INVALID
        if isinstance(error, LimitExceeded):
            outcome = LIMIT_EXCEEDED
        elif isinstance(error, QueueFull):
            outcome = QUEUE_FULL
        self._refused(answers, outcome, rseq, replies, stored=stored)

    def _refused(
        self,
        answers: list[Refused],
        outcome: int,
        rseq: int,
        replies: list[Frame],
        *,
        stored: bool,
    ) -> None:
        """Answer a publish that has no effect because of what is stored or waits at its key."""
        if not stored or self._journal.failing:
            replies += answers
            return
        # The outcome is recorded, too: a repeated publish must get the same answer.
        self._outcomes.add(rseq, outcome)
        self.commit_queue.group(self._journal.ticket).effects.extend(
            (answer, NOT_STORED) for answer in answers
        )

    def _apply(
        self,
        by: Peer | Waiter | None,
        publish: Publish,
        rseq: int,
        replies: list[Frame],
        *,
        stored: bool,
        recorded: bool,
    ) -> Event | KeyChange:
        """Let the publish have its effect, and announce it when nothing can undo it any more.

        by: the publish's sender, or the waiter that it was; None: neither. rseq, replies: see
        `publish`. recorded: the outcome is in the present transaction; stored: the effect is, too.
        Raises a Refusal, without any effect.
        """
        reducers = self._reducers.queues.admit(publish) if self._reducing else []
        if stored and not self._concerns_rows(publish) and not reducers:
            stored = recorded = False  # The event passes the reducers by, which have no room.
        if recorded:
            publish.flags |= RECORDED
        gateway, incarnation, waiter = _origin(by)
        effect = self._retained_keys.change(publish, gateway, incarnation, stored=stored)
        event = event_of(effect)
        assert event is not None
        if recorded:
            ticket = self._journal.ticket
        else:
            # The publish must not overtake what waits for a commit.
            ticket = self.commit_queue.ticket_of(publish.session, publish.realm, publish.topic)
        self._histories.record(event, ticket)
        folded = self._reducers.published(reducers, event, stored=stored)
        granted = None if waiter is None else self.conditional.grant(waiter, effect, stored=stored)
        if recorded and granted is None:
            self.settled.add(event.publication)
            self._outcomes.add(rseq, event.publication)
        if ticket:
            self.commit_queue.hold(ticket, granted or effect, rseq if recorded else NOT_STORED)
        elif granted is not None:
            self.conditional.granted.append(granted)
        else:
            self._broker.deliver(effect, replies)
        self._announce(folded)
        return effect

    def _announce(self, effects: list[KeyChange | Publish]) -> None:
        """Announce what reducers have made of keys, and tell of their failures."""
        for effect in effects:
            if isinstance(effect, KeyChange):
                self._send_change(effect)
                if len(self.conditional.waiting):
                    # In `go_on`, as this change may come from a waiter at the same key.
                    self._chains[effect.ref] = None
            else:
                self._reducers.tell(effect)

    # Waiters

    def _let_waiters_through(self, ref: KeyRef) -> None:
        """Let waiters through after a change of the key, as long as each changes the key again.

        After a slice of this work the rest goes on in `go_on`, unless another change comes first.
        """
        self._chains.pop(ref, None)
        until = self._budget.left - SLICE_UNITS
        waiter = self.conditional.next_waiter(ref)
        while waiter is not None and self._let_through(waiter):
            if self._budget.left <= until:
                self._chains[ref] = None
                return
            waiter = self.conditional.next_waiter(ref)

    def go_on(self, _now: float) -> None:
        """Publish postponed wills, let reducers' events and further waiters through.

        Call this every turn, as far as the budget goes. Waiters come behind all wills, which
        concern keys as they were.
        """
        budget = self._budget
        while self._can_publish_wills and not budget.exhausted:
            budget.spend(KEY_UNITS)
            will = self._postponed_wills.popleft()
            self._retained_keys.will_published(will)
            self._end([], [will], [])
        if self._synced:
            self._announce(self._reducers.invocations.go_on())
        while self._chains and not self._can_publish_wills and not budget.exhausted:
            budget.spend(1)
            self._let_waiters_through(next(iter(self._chains)))
        self.end_turn()

    def write_aggregates(self) -> None:
        """Publish the rows of aggregates that this turn has changed; call once, at its end.

        So everything that a turn has brought an aggregate is one change, in the transaction that
        has what the rows contribute.
        """
        for publish in self._tables.due():
            self._publish(None, publish, 0, [], stored=True, recorded=True)
        self.end_turn()

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return (
            bool(self._chains)
            or self._can_publish_wills
            or (self._synced and self._reducers.invocations.busy)
        )

    @property
    def _can_publish_wills(self) -> bool:
        """Whether wills of keys were postponed and can be published now."""
        return bool(self._postponed_wills) and self._synced and not self._journal.failing

    def _let_through(self, waiter: Waiter) -> bool:
        """Let the waiter's publish have its effect.

        Return whether the next waiter gets its turn: this one changed the key, or was refused.
        """
        # A copy: if the commit fails, the publish waits again as it was.
        publish = replace(waiter.publish)
        self._budget.spend(GRANT_UNITS)
        stored = self.is_stored(publish)
        try:
            effect = self._apply(waiter, publish, 0, [], stored=stored, recorded=stored)
        except Refusal as error:
            self.refusals.count(error)
            self.conditional.refuse(waiter, error)
            return True
        return isinstance(effect, KeyChange)

    def send_grants(self) -> None:
        """Send the grants that depend on no commit. Called when the batch has been handled."""
        if self.conditional.granted:
            for granted in self.conditional.take_granted():
                self._give(granted)

    def _give(self, granted: Granted) -> None:
        self.grants.send(granted)
        if granted.stored and granted.event is not None:
            self.settled.add(granted.event.publication)

    # Sessions end, time passes

    def session_ended(self, session: int, replies: list[Frame]) -> None:
        """Drop the session's waiters, erase its weak keys, and publish the wills of its keys."""
        self.conditional.session_ended(session)
        self._end(*self._retained_keys.session_ended(session), replies)

    def expire(self, wall: float) -> None:
        """Erase the keys whose time has come, and further keys of sessions that have ended.

        wall: seconds since 1970.
        """
        for change in self._retained_keys.expire(wall):
            self._key_removed(change)
        # Sessions may have had more keys than could be erased at once.
        self._end(*self._retained_keys.end_more(), [])
        self.end_turn()

    def _end(self, changes: list[KeyChange], wills: list[Publish], replies: list[Frame]) -> None:
        for change in changes:
            self._key_removed(change)
        for will in wills:
            if self._journal.failing and self.is_stored(will):
                self._postponed_wills.append(will)
            else:
                self.publish(None, will, 0, replies)
                self._erase_if_refused(will)

    def _erase_if_refused(self, will: Publish) -> None:
        """Erase the key if its will was refused, as by a newer schema: its session has ended."""
        key = self._retained_keys.key((will.realm, will.topic))
        retain = will.retain
        if key is not None and retain is not None and key.publication == retain.when_id:
            change = self._retained_keys.erase((will.realm, will.topic), key, WEAK)
            self._key_removed(change)

    def _key_removed(self, change: KeyChange) -> None:
        """Announce a key that was erased by time or by the end of its session."""
        self._send_change(change)
        self._let_waiters_through(change.ref)

    def _send_change(self, change: KeyChange) -> None:
        """Announce the change of a key without a publish, as soon as it is durable."""
        self._budget.spend(KEY_UNITS)
        if change.uncommitted:
            self.commit_queue.hold(self._journal.ticket, change, 0)
        else:
            self._broker.deliver(change, [])

    def end_turn(self) -> None:
        """Finish what happened in no batch: send the grants, close groups nobody waits for."""
        self.send_grants()
        self.commit_queue.take_groups()

    # The store

    def answer_when_durable(self, answer: Registered, replies: list[Frame]) -> None:
        """Send the answer when the present transaction is durable. replies: see `publish`."""
        if self._journal.changed and not self._journal.failing:
            self.commit_queue.group(self._journal.ticket).effects.append((answer, NOT_STORED))
        else:
            replies.append(answer)

    def committed(self, ticket: int) -> list[CommitGroup]:
        """Note that transactions up to this one are durable; return the groups that waited."""
        self._retained_keys.committed(ticket)
        self._reducers.committed(ticket)
        self._tables.committed(ticket)
        return self.commit_queue.committed(ticket)

    def finish(
        self, effect: PublishEffect | SessionFrame, replies: list[Frame]
    ) -> SessionFrame | None:
        """Announce an effect whose transaction is durable.

        A frame that only waited behind a publish is returned instead, to be handled now.
        """
        match effect:
            case Event() | KeyChange():
                self._broker.deliver(effect, replies)
            case Again():
                assert isinstance(effect.event, Event)
                self._broker.send_again(effect.event, replies)
            case Refused() | Registered():
                replies.append(effect)
            case Granted():
                self.conditional.committed(effect)
                self._give(effect)
            case Parked():
                pass  # the waiter was added when it was parked; now its row is durable
            case _:
                return effect
        return None

    def sync_ended(self) -> None:
        """Look at all keys with waiters, and do what was put off: every peer has replayed."""
        self._synced = True
        self._tables.sync_ended()
        self.conditional.look_everywhere()
        if not self._journal.failing:
            self._chains.update(self.conditional.take_put_off())
        self.end_turn()

    def go_on_if_possible(self) -> None:
        """Go on with what was put off, unless the sync goes on. Called when the store works."""
        if self._synced and self.conditional.has_put_off:
            self._chains.update(self.conditional.take_put_off())

    def commit_failed(self, why: str) -> list[tuple[CommitGroup, list[Frame]]]:
        """Undo all transactions that are not durable: they have failed. why: the store's error.

        Return the groups that waited, each with the refusals of the effects that are undone. Only
        effects that did not depend on the commit are left in the groups.
        """
        groups = self.commit_queue.committed(MAX_ID)
        ends = self._retained_keys.commit_failed()
        self._reducers.commit_failed()
        self._tables.commit_failed()
        undone = [(group, self._undo_group(group, why)) for group in groups]
        for waiter in self.conditional.take_undone():
            self.conditional.waiting.put_back(waiter)
            self._let_waiters_through(waiter.ref)
        self._end(*ends, [])
        self.end_turn()
        return undone

    def _undo_group(self, group: CommitGroup, why: str) -> list[Frame]:
        replies: list[Frame] = []
        remaining: list[Effect] = []
        rseqs: list[int] = []
        for effect, rseq in group.effects:
            if rseq == NOT_STORED or not self._undo(effect, why, replies):
                remaining.append((effect, rseq))
            elif rseq:
                rseqs.append(rseq)
        if rseqs and group.peer is not None:
            self._outcomes.commit_failed(group.peer.name, group.identity, rseqs)
        group.effects = remaining
        return replies

    def _undo(self, effect: object, why: str, replies: list[Frame]) -> bool:
        """Undo the effect if it depended on the commit; return whether it did."""
        if isinstance(effect, Granted):
            self.conditional.commit_failed(effect)
            return True
        if isinstance(effect, Parked):
            if self.conditional.cancel(effect.waiter):
                replies += self.refusals.unavailable(effect.waiter.publish, why)
            return True
        if isinstance(effect, KeyChange) and effect.event is None:
            return True  # it is erased, or reduced, again: see `RetainedKeys.commit_failed`
        event = event_of(effect)
        if event is None or not self.is_stored(event.publish):
            return False
        replies += self.refusals.unavailable(event.publish, why)
        return True


def _origin(by: Peer | Waiter | None) -> tuple[str, int, Waiter | None]:
    """Return a publish's gateway, the gateway's incarnation, and the waiter that it was."""
    if isinstance(by, Peer):
        return by.name, by.link.peer_incarnation, None
    return ("", 0, None) if by is None else (by.gateway, by.incarnation, by)
