"""The reducers of one shard, as its other parts see them.

Owns: how the parts of this folder are put together, and what reaches them. Never: what they do.

`StoredPublishes` asks which events reducers want, and announces what they make of keys.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, final

from fox_shard.backplane.frames import Event, Fold, FoldsHeld, Frame, Publish, RouterPublish
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.config import Realm
from fox_shard.config import Reducers as Limits
from fox_shard.deadline import Deadline
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget, units_of
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.inquiries import Inquiries
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.inbox import Inbox
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.reducers.built_in import BuiltIns, Effect
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.configured import Configured
from fox_shard.shard.reducers.instances import Instances
from fox_shard.shard.reducers.invocations import Invocations
from fox_shard.shard.reducers.queues import Queues
from fox_shard.shard.reducers.reducer import Reducer
from fox_shard.shard.reducers.reports import Reports
from fox_shard.store.journal import Journal

DROPPED_AT_ONCE: Final = 1000
"""The most events of reducers that do not come back that are dropped in one step."""


REDUCER_UNITS: Final = 2
"""Units of the turn's budget for each reducer that wants an event."""


@final
class Reducers:
    """The reducers of one shard."""

    __slots__ = (
        "_budget",
        "_full",
        "_other_shards",
        "_outbox",
        "built_ins",
        "catalog",
        "configured",
        "instances",
        "invocations",
        "queues",
        "reports",
    )

    def __init__(
        self,
        shard: int,
        placement: Placement,
        retained_keys: RetainedKeys,
        clock: PublicationClock,
        journal: Journal,
        budget: Budget,
        deadline: Deadline,
        limits: Limits,
        max_message_size: int,
        outbox: ShardOutbox,
        inbox: Inbox,
        inquiries: Inquiries,
        other_shards: Callable[[], list[Peer]],
        settings: Iterable[Realm],
    ) -> None:
        """max_message_size: bytes of a key's value at most, as of a message.

        settings: those of the configured realms.
        """
        inbox.handlers[Fold] = self._fold
        self.catalog = Catalog(retained_keys.realms, journal)
        self._budget = budget
        self._outbox = outbox
        self._other_shards = other_shards
        # Reducers whose queues are full, as the other shards have been told.
        self._full: set[int] = set()
        self.queues = Queues(shard, outbox, self.catalog, clock, journal, limits, budget)
        self.built_ins = BuiltIns(
            settings, self.catalog, self.queues, retained_keys, budget, max_message_size
        )
        self.invocations = Invocations(
            self.catalog,
            self.queues,
            self.built_ins,
            retained_keys,
            journal,
            budget,
            deadline,
            max_message_size,
        )
        self.instances = Instances(
            shard, placement, self.catalog, self.queues, self.invocations, limits, deadline
        )
        self.configured = Configured(settings, self.catalog, self.queues)
        self.reports = Reports(self.catalog, self.instances, self.invocations, clock, inquiries)

    # Events

    def published(self, reducers: Sequence[Reducer], event: Event, *, stored: bool) -> list[Effect]:
        """Queue an event for its reducers, or fold it at once; return the effects.

        reducers: as `Queues.admit` has returned them. stored: the event is part of the present
        transaction.
        """
        if not reducers:
            return []
        size = len(event.publish.args) + len(event.publish.kwargs)
        self._budget.spend((REDUCER_UNITS + units_of(size)) * len(reducers))
        self.queues.add(reducers, event, stored=stored)
        return self.built_ins.fold(reducers, event, stored=stored)

    # Other shards

    def _fold(self, fold: Fold, _shard: int) -> None:
        """Queue an event for a key of this shard, from the shard where it was published."""
        reducer = self.queues.add_fold(fold)
        if not reducer.takes_events:
            self.instances.changed(reducer)
        if reducer.id not in self._full and self.queues.room.is_full(reducer):
            self._full.add(reducer.id)
            self._tell_shards(FoldsHeld(reducer.id, held=True))

    def _tell_shards(self, frame: FoldsHeld) -> None:
        for peer in self._other_shards():
            peer.reply(frame)

    def _look_for_room(self) -> None:
        """Let other shards send events again to queues that have room again."""
        for id_ in list(self._full):
            reducer = self.catalog.by_id.get(id_)
            if reducer is None or self.queues.room.has_room_again(reducer):
                self._full.discard(id_)
                self._tell_shards(FoldsHeld(id_, held=False))

    def announcements(self) -> list[Frame]:
        """Return the frames that tell another shard, in a new pair, of full queues."""
        return [FoldsHeld(id_, held=True) for id_ in sorted(self._full)]

    def folds_held(self, frame: FoldsHeld, shard: int) -> None:
        """Note that a queue of another shard is full, or has room again."""
        if frame.held:
            self.queues.room.held.setdefault(frame.reducer, set()).add(shard)
        elif frame.reducer in self.queues.room.held:
            self.queues.room.held[frame.reducer].discard(shard)

    def link_broken(self, peer: Peer) -> None:
        """Forget what the peer tells again in the next pair."""
        self.instances.link_broken(peer)
        if peer.kind is Kind.SHARD:
            shard = int(peer.name.partition("-")[2])
            for shards in self.queues.room.held.values():
                shards.discard(shard)

    def tell(self, failure: Publish) -> None:
        """Publish what is to be told of a reducer's failure."""
        self._outbox.send_to_owner(RouterPublish(failure))

    # Time

    @property
    def next_due(self) -> float:
        """When `tick` is due, in monotonic seconds."""
        return min(self.invocations.next_due, self.instances.next_due)

    def tick(self, now: float) -> None:
        """Do what is due. now: monotonic seconds."""
        self.invocations.tick(now)
        self.instances.expire(now, DROPPED_AT_ONCE)

    def take_counts(self) -> dict[str, int]:
        """Return the counters since the last call."""
        queues = self.queues
        counts = {
            "folded": queues.folded,
            "reducer_failures": queues.failed,
            "reducer_dropped": queues.dropped,
            **self.configured.take_counts(),
        }
        queues.folded = queues.failed = queues.dropped = 0
        return counts

    # The store

    def committed(self, ticket: int) -> None:
        """Take the transactions up to that one as durable."""
        if not self.queues.idle:
            self.queues.committed(ticket)
            if self._full:
                self._look_for_room()

    def commit_failed(self) -> None:
        """Undo all transactions that are not durable: they have failed."""
        self.queues.commit_failed()

    def gauges(self) -> dict[str, int]:
        """Return how many events wait."""
        return {
            "reducer_queue": self.queues.waiting,
            "webhook_queue": self.queues.webhooks_waiting,
        }

    def loaded(self) -> list[Notice]:
        """Begin with what was loaded; return what is to be told."""
        self.instances.loaded()
        return self.configured.loaded()

    def load_reducer(self, key: bytes, row: rows.ReducerRow) -> None:
        """Take a reducer from the store, before all events."""
        self.catalog.load(rows.reducer_of(key), row)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self.queues.idle and self.invocations.idle
