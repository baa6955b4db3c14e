"""The reducers of one shard, as its other parts see them.

Owns: how the parts of this folder are put together, and what reaches them. Never: what they do.

`StoredPublishes` asks which events reducers want, and announces what they make of keys.
"""

from typing import Final, final

from fox_shard.backplane.frames import (
    Fold,
    Frame,
    NotReduced,
    Reduced,
    RegisterReducer,
    UnregisterReducer,
)
from fox_shard.backplane.placement import Placement
from fox_shard.config import Reducers as Limits
from fox_shard.deadline import Deadline
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.instances import Instances
from fox_shard.shard.reducers.invocations import Invocations
from fox_shard.shard.reducers.queues import Queues
from fox_shard.store.journal import Journal

DROPPED_AT_ONCE: Final = 1000
"""The most events of reducers that do not come back that are dropped in one step."""

ReducerFrame = RegisterReducer | UnregisterReducer | Reduced | NotReduced


@final
class Reducers:
    """The reducers of one shard."""

    __slots__ = ("catalog", "instances", "invocations", "queues")

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
    ) -> None:
        """max_message_size: bytes of a key's value at most, as of a message."""
        self.catalog = Catalog(retained_keys.realms, journal)
        self.queues = Queues(shard, placement, self.catalog, clock, journal, limits)
        self.invocations = Invocations(
            shard,
            self.catalog,
            self.queues,
            retained_keys,
            journal,
            budget,
            deadline,
            max_message_size,
            self._send_on,
        )
        self.instances = Instances(
            shard, placement, self.catalog, self.queues, self.invocations, limits, deadline
        )

    def _send_on(self, shard: int, fold: Fold) -> bool:
        return False

    def handle(self, peer: Peer, frame: ReducerFrame) -> Frame | None:
        """Handle a frame of a gateway; return the answer, if there is one."""
        match frame:
            case RegisterReducer():
                return self.instances.register(peer, frame)
            case UnregisterReducer():
                self.instances.unregister(frame)
            case _:
                self.invocations.answered(frame)
        return None

    # Time

    @property
    def next_due(self) -> float:
        """When `tick` is due, in monotonic seconds."""
        return min(self.invocations.next_due, self.instances.next_due)

    def tick(self, now: float) -> None:
        """Do what is due. now: monotonic seconds."""
        self.invocations.tick(now)
        self.instances.expire(now, DROPPED_AT_ONCE)

    # The store

    def committed(self, ticket: int) -> None:
        """Take the transactions up to that one as durable."""
        if not self.queues.idle:
            self.queues.committed(ticket)

    def commit_failed(self) -> None:
        """Undo all transactions that are not durable: they have failed."""
        self.queues.commit_failed()

    def load_reducer(self, key: bytes, row: rows.ReducerRow) -> None:
        """Take a reducer from the store, before all events."""
        self.catalog.load(rows.reducer_of(key), row)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self.queues.idle and self.invocations.idle
