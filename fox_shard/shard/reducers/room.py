"""The room that there is for events that wait for reducers: the limits of the queues.

Owns: whether an event can wait, here or at the shard of the key. Never: the queues.
"""

from collections.abc import Mapping
from typing import Final, final

from fox_shard.config import Reducers as Limits
from fox_shard.config import Webhook
from fox_shard.errors import QueueFull
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.reducer import Reducer

NO_SHARD: Final = -1
"""In place of a shard's number: no queue that others share."""


@final
class Room:
    """The room in the queues of one shard.

    held: reducer -> numbers of other shards, with its key, that have no room for its events.
    """

    __slots__ = ("_catalog", "_limits", "_outbox", "_shard", "held")

    def __init__(self, shard: int, outbox: ShardOutbox, catalog: Catalog, limits: Limits) -> None:
        self._shard = shard
        self._outbox = outbox
        self._catalog = catalog
        self._limits = limits
        self.held: dict[int, set[int]] = {}

    def is_elsewhere(self, reducer: Reducer) -> bool:
        """Whether the reducer's key is another shard's."""
        mission = reducer.mission
        return bool(mission) and self._outbox.owner_of(reducer.realm, mission) != self._shard

    def waits_for(self, reducer: Reducer) -> int:
        """Return the shard with the reducer's queue; NO_SHARD: there is none, or one by itself."""
        if reducer.webhook is not None:
            return NO_SHARD
        if reducer.mission:
            return self._outbox.owner_of(reducer.realm, reducer.mission)
        return self._shard if reducer.function is None else NO_SHARD

    def full(self, reducer: Reducer, size: int, copies: Mapping[int, int]) -> QueueFull | None:
        """Return why no event of that size can wait for the reducer; None: it can.

        copies: shard -> bytes that other reducers of the event have taken there already.
        """
        if reducer.webhook is not None:
            return _webhook_full(reducer, reducer.webhook, size)
        if self.is_elsewhere(reducer):
            owner = self._outbox.owner_of(reducer.realm, reducer.mission)
            if owner in self.held.get(reducer.id, ()):
                full = f"the queue of a reducer of the topic is full at shard-{owner}"
                return _queue_full(full, "reducer_queue_limit")
            if self._outbox.is_full(owner, copies.get(owner, 0)):
                full = f"too much waits for shard-{owner} (backplane.outbox_limit)"
                return _queue_full(full, "outbox_limit")
            return None
        if reducer.function is not None and not reducer.mission:
            return None
        limits = self._limits
        count = len(reducer.arrivals)
        if count >= limits.queue_limit:
            full = f"{count} events wait for a reducer of the topic (reducer.queue_limit)"
            return _queue_full(full, "reducer_queue_limit")
        waiting = self._catalog.realm(reducer.realm).size + copies.get(self._shard, 0)
        if waiting + size > limits.queue_bytes:
            full = f"{waiting} bytes of events wait for reducers (reducer.queue_bytes)"
            return _queue_full(full, "reducer_queue_bytes")
        return None

    def is_full(self, reducer: Reducer) -> bool:
        """Whether the reducer's queue has no room."""
        return self.full(reducer, 0, {}) is not None

    def has_room_again(self, reducer: Reducer) -> bool:
        """Whether the reducer's queue, which was full, has room for many events."""
        limits = self._limits
        return (
            len(reducer.arrivals) <= limits.queue_limit // 2
            and self._catalog.realm(reducer.realm).size <= limits.queue_bytes // 2
        )


def _webhook_full(reducer: Reducer, webhook: Webhook, size: int) -> QueueFull | None:
    count = len(reducer.arrivals)
    name = f'the webhook "{webhook.name}"'
    if count >= webhook.queue_limit:
        full = f"{count} events wait for {name} (its queue_limit)"
        return QueueFull(f"{full}: publish again later").beyond("webhook_queue_limit")
    if reducer.size + size > webhook.queue_bytes:
        full = f"{reducer.size} bytes of events wait for {name} (its queue_bytes)"
        return QueueFull(f"{full}: publish again later").beyond("webhook_queue_bytes")
    return None


def _queue_full(why: str, limit: str) -> QueueFull:
    return QueueFull(f"{why}: publish again later, or register more instances").beyond(limit)
