"""Publishes that change the store, or depend on it.

Owns: whether a publish has its effect, waits for its condition, or is refused. Never: the effect
itself (see `applying`), and what follows when its transaction is durable or fails (see `commits`);
the waiters at a key (see `conditional`, `chains`); how keys end (see `ended_keys`).
"""

from typing import final

from fox_shard.backplane.frames import (
    CONDITION,
    RETAIN,
    TRACE,
    WILL,
    Frame,
    Publish,
    Refused,
    Registered,
)
from fox_shard.config import Keys as Limits
from fox_shard.errors import LimitExceeded, QueueFull, Refusal
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.conditions import is_shown
from fox_shard.shard.keys.retained import RetainedKeys
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
from fox_shard.shard.publishing.applying import Applying
from fox_shard.shard.publishing.chains import Chains
from fox_shard.shard.publishing.commit_queue import CommitQueue
from fox_shard.shard.publishing.commits import Commits
from fox_shard.shard.publishing.conditional import ConditionalPublishes
from fox_shard.shard.publishing.effects import (
    NOT_STORED,
)
from fox_shard.shard.publishing.ended_keys import EndedKeys
from fox_shard.shard.publishing.grants import Grants
from fox_shard.shard.publishing.refusals import Refusals
from fox_shard.shard.publishing.resent import ResentPublishes
from fox_shard.shard.publishing.settled import SettledEvents
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.queue_quota import QueueQuotas
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.tables.tables import Tables
from fox_shard.shard.tables.validation import Validation

STORE_FLAGS = RETAIN | CONDITION | TRACE | WILL
"""Flags of publishes that change a key, depend on one, or are recorded in the history."""


@final
class StoredPublishes:
    """The publishes that come to one shard, and what they have to wait for."""

    __slots__ = (
        "_applying",
        "_chains",
        "_concerns",
        "_defined",
        "_histories",
        "_journal",
        "_outcomes",
        "_reducers",
        "_reducing",
        "_resent",
        "_retained_keys",
        "_ruled",
        "_synced",
        "_tables",
        "_waiting",
        "commit_queue",
        "commits",
        "conditional",
        "ended_keys",
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
        self._retained_keys = retained_keys
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
        self._applying = Applying(
            broker,
            retained_keys,
            histories,
            reducers,
            outcomes,
            self.commit_queue,
            self.conditional,
            self.settled,
            budget,
        )
        self._chains = Chains(
            self._applying,
            self.conditional,
            self.commit_queue,
            self.grants,
            self.settled,
            self.refusals,
            budget,
        )
        self.ended_keys = EndedKeys(
            retained_keys,
            self._applying,
            self._chains,
            self.conditional,
            self.publish,
            outcomes.journal,
            budget,
        )
        self.commits = Commits(
            broker,
            retained_keys,
            reducers,
            tables,
            outcomes,
            self.commit_queue,
            self.conditional,
            self._applying,
            self._chains,
            self.ended_keys,
            self.refusals,
        )
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

    def publish(self, peer: Peer | None, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """Do what `Broker.publish` does, for any publish; hold what has to wait for a commit.

        peer: the sender; None: the publish is the will of a session that has ended. rseq: the
        publish's reliable number; 0: none. replies: gets the answers, which are sent when the batch
        is delivered.
        """
        stored = self._applying.is_stored(publish)
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
        effect = self._applying.apply(
            peer, publish, rseq, replies, stored=stored, recorded=recorded
        )
        if isinstance(effect, KeyChange):
            self._chains.let_waiters_through(effect.ref)

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

    # Turns

    def go_on(self, _now: float) -> None:
        """Publish postponed wills, let reducers' events and further waiters through.

        Call this every turn, as far as the budget goes. Waiters come behind all wills, which
        concern keys as they were.
        """
        if self._synced:
            self.ended_keys.go_on()
            self._applying.announce(self._reducers.invocations.go_on())
        if not self._can_publish_wills:
            self._chains.go_on()
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
            self._chains.busy
            or self._can_publish_wills
            or (self._synced and self._reducers.invocations.busy)
        )

    @property
    def _can_publish_wills(self) -> bool:
        """Whether wills of keys were postponed and can be published now."""
        return self._synced and self.ended_keys.can_publish_wills

    def send_grants(self) -> None:
        """Send the grants that depend on no commit. Called when the batch has been handled."""
        self._chains.send_grants()

    def end_turn(self) -> None:
        """Finish what happened in no batch: send the grants, close groups nobody waits for."""
        self._chains.end_turn()

    # The store

    def answer_when_durable(self, answer: Registered, replies: list[Frame]) -> None:
        """Send the answer when the present transaction is durable. replies: see `publish`."""
        if self._journal.changed and not self._journal.failing:
            self.commit_queue.group(self._journal.ticket).effects.append((answer, NOT_STORED))
        else:
            replies.append(answer)

    def sync_ended(self) -> None:
        """Look at all keys with waiters, and do what was put off: every peer has replayed."""
        self._synced = True
        self._tables.sync_ended()
        self.conditional.look_everywhere()
        if not self._journal.failing:
            self.conditional.changed.update(self.conditional.take_put_off())
        self.end_turn()

    def go_on_if_possible(self) -> None:
        """Go on with what was put off, unless the sync goes on. Called when the store works."""
        if self._synced and self.conditional.has_put_off:
            self.conditional.changed.update(self.conditional.take_put_off())
