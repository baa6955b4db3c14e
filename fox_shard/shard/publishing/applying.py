"""Letting a publish have its effect.

Owns: what one effect consists of (key, history, reducers, outcome), and whether it waits for the
store. Never: whether a publish may have its effect now (see `stored`, `conditional`); the key's new
value (see `retained`); the events that are sent (see `broker`).
"""

from typing import final

from fox_shard.backplane.frames import CONDITION, RECORDED, REDUCES, Event, Frame, Publish
from fox_shard.shard.budget import Budget
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.retained import RetainedKeys, changes_key
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.commit_queue import CommitQueue
from fox_shard.shard.publishing.conditional import ConditionalPublishes
from fox_shard.shard.publishing.effects import NOT_STORED, event_of
from fox_shard.shard.publishing.settled import SettledEvents
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.rows import Waiter

UNSTORED = "$"
"""Prefix of the server's own topics, which are not stored: the server publishes them again."""

KEY_UNITS = 2
"""Units of the turn's budget for a key that ends, or that a reducer changes."""


@final
class Applying:
    """The effects of publishes on one shard."""

    __slots__ = (
        "_broker",
        "_budget",
        "_commit_queue",
        "_conditional",
        "_histories",
        "_journal",
        "_outcomes",
        "_realms",
        "_reducers",
        "_reducing",
        "_retained_keys",
        "_settled",
    )

    def __init__(
        self,
        broker: Broker,
        retained_keys: RetainedKeys,
        histories: Histories,
        reducers: Reducers,
        outcomes: Outcomes,
        commit_queue: CommitQueue,
        conditional: ConditionalPublishes,
        settled: SettledEvents,
        budget: Budget,
    ) -> None:
        """budget: the turn's."""
        self._broker = broker
        self._retained_keys = retained_keys
        self._realms = retained_keys.realms
        self._histories = histories
        self._reducers = reducers
        self._reducing = reducers.catalog.reducing
        self._outcomes = outcomes
        self._journal = outcomes.journal
        self._commit_queue = commit_queue
        self._conditional = conditional
        self._settled = settled
        self._budget = budget

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

    def apply(
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
        `StoredPublishes.publish`. recorded: the outcome is in the present transaction; stored: the
        effect is, too. Raises a Refusal, without any effect.
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
            ticket = self._commit_queue.ticket_of(publish.session, publish.realm, publish.topic)
        self._histories.record(event, ticket)
        folded = self._reducers.published(reducers, event, stored=stored)
        granted = None if waiter is None else self._conditional.grant(waiter, effect, stored=stored)
        if recorded and granted is None:
            self._settled.add(event.publication)
            self._outcomes.add(rseq, event.publication)
        if ticket:
            self._commit_queue.hold(ticket, granted or effect, rseq if recorded else NOT_STORED)
        elif granted is not None:
            self._conditional.granted.append(granted)
        else:
            self._broker.deliver(effect, replies)
        self.announce(folded)
        return effect

    def announce(self, effects: list[KeyChange | Publish]) -> None:
        """Announce what reducers have made of keys, and tell of their failures."""
        for effect in effects:
            if isinstance(effect, KeyChange):
                self.send_change(effect)
                if len(self._conditional.waiting):
                    # In `Chains.go_on`, as this change may come from a waiter at the same key.
                    self._conditional.changed[effect.ref] = None
            else:
                self._reducers.tell(effect)

    def send_change(self, change: KeyChange) -> None:
        """Announce the change of a key without a publish, as soon as it is durable."""
        self._budget.spend(KEY_UNITS)
        if change.uncommitted:
            self._commit_queue.hold(self._journal.ticket, change, 0)
        else:
            self._broker.deliver(change, [])


def _origin(by: Peer | Waiter | None) -> tuple[str, int, Waiter | None]:
    """Return a publish's gateway, the gateway's incarnation, and the waiter that it was."""
    if isinstance(by, Peer):
        return by.name, by.link.peer_incarnation, None
    return ("", 0, None) if by is None else (by.gateway, by.incarnation, by)
