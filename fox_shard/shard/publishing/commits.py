"""What follows when a transaction is durable, or has failed.

Owns: announcing effects that have waited, and undoing those that depended on a commit. Never: which
effects wait, and who waits behind them (see `commit_queue`).
"""

from typing import final

from fox_shard.backplane.frames import Again, Event, Frame, Refused, Registered
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.publishing.applying import Applying
from fox_shard.shard.publishing.chains import Chains
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
from fox_shard.shard.publishing.ended_keys import EndedKeys
from fox_shard.shard.publishing.refusals import Refusals
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.tables.tables import Tables
from fox_shard.topics.ids import MAX_ID


@final
class Commits:
    """The ends of transactions of one shard."""

    __slots__ = (
        "_applying",
        "_broker",
        "_chains",
        "_commit_queue",
        "_conditional",
        "_ended_keys",
        "_outcomes",
        "_reducers",
        "_refusals",
        "_retained_keys",
        "_tables",
    )

    def __init__(
        self,
        broker: Broker,
        retained_keys: RetainedKeys,
        reducers: Reducers,
        tables: Tables,
        outcomes: Outcomes,
        commit_queue: CommitQueue,
        conditional: ConditionalPublishes,
        applying: Applying,
        chains: Chains,
        ended_keys: EndedKeys,
        refusals: Refusals,
    ) -> None:
        self._broker = broker
        self._retained_keys = retained_keys
        self._reducers = reducers
        self._tables = tables
        self._outcomes = outcomes
        self._commit_queue = commit_queue
        self._conditional = conditional
        self._applying = applying
        self._chains = chains
        self._ended_keys = ended_keys
        self._refusals = refusals

    def committed(self, ticket: int) -> list[CommitGroup]:
        """Note that transactions up to this one are durable; return the groups that waited."""
        self._retained_keys.committed(ticket)
        self._reducers.committed(ticket)
        self._tables.committed(ticket)
        return self._commit_queue.committed(ticket)

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
                self._conditional.committed(effect)
                self._chains.give(effect)
            case Parked():
                pass  # the waiter was added when it was parked; now its row is durable
            case _:
                return effect
        return None

    def commit_failed(self, why: str) -> list[tuple[CommitGroup, list[Frame]]]:
        """Undo all transactions that are not durable: they have failed. why: the store's error.

        Return the groups that waited, each with the refusals of the effects that are undone. Only
        effects that did not depend on the commit are left in the groups.
        """
        groups = self._commit_queue.committed(MAX_ID)
        ends = self._retained_keys.commit_failed()
        self._reducers.commit_failed()
        self._tables.commit_failed()
        undone = [(group, self._undo_group(group, why)) for group in groups]
        for waiter in self._conditional.take_undone():
            self._conditional.waiting.put_back(waiter)
            self._chains.let_waiters_through(waiter.ref)
        self._ended_keys.end(*ends, [])
        self._chains.end_turn()
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
            self._conditional.commit_failed(effect)
            return True
        if isinstance(effect, Parked):
            if self._conditional.cancel(effect.waiter):
                replies += self._refusals.unavailable(effect.waiter.publish, why)
            return True
        if isinstance(effect, KeyChange) and effect.event is None:
            return True  # it is erased, or reduced, again: see `RetainedKeys.commit_failed`
        event = event_of(effect)
        if event is None or not self._applying.is_stored(event.publish):
            return False
        replies += self._refusals.unavailable(event.publish, why)
        return True
