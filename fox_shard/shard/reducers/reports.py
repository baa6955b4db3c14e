"""What a shard tells of its reducers, and the removal of durable ones.

Owns: the answers to `fox.reducer.list` and `fox.reducer.remove`, of this shard. Never: queues.
"""

from typing import final

from msgspec import msgpack

from fox_shard.backplane.frames import ReducerState
from fox_shard.errors import InvalidArgument
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.inquiries import Inquiries, Page
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.instances import Instances
from fox_shard.shard.reducers.invocations import Invocations
from fox_shard.shard.reducers.reducer import Reducer, shown_pattern
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS


@final
class Reports:
    """The reports of one shard's reducers."""

    __slots__ = ("_catalog", "_clock", "_instances", "_invocations")

    def __init__(
        self,
        catalog: Catalog,
        instances: Instances,
        invocations: Invocations,
        clock: PublicationClock,
        inquiries: Inquiries,
    ) -> None:
        self._catalog = catalog
        self._instances = instances
        self._invocations = invocations
        self._clock = clock
        inquiries.answerers["reducers"] = self._list
        inquiries.answerers["remove reducer"] = self._remove

    def _list(self, realm: str, _body: bytes, page: Page) -> None:
        """Add the state of each reducer of the realm to the page, in the order of their ids."""
        start = int.from_bytes(page.start, "big")
        for id_ in sorted(id_ for id_ in self._catalog.by_id if id_ >= start):
            reducer = self._catalog.by_id[id_]
            if page.is_full:
                page.go_on_at(id_.to_bytes(8, "big"))
                return
            page.spend(1)
            if reducer.realm == realm:
                page.add(id_.to_bytes(8, "big"), msgpack.encode(self._state(reducer)))

    def _state(self, reducer: Reducer) -> ReducerState:
        pattern, match = shown_pattern(reducer.pattern)
        age = 0.0
        if reducer.oldest:
            age = max(0.0, self._clock.wall - EPOCH - reducer.oldest / SHARDS / TICKS)
        function = reducer.function
        due = reducer.retries[0][0] if reducer.retries else 0.0
        return ReducerState(
            pattern,
            match,
            reducer.mission,
            reducer.durable,
            "" if function is None else function.name,
            len(reducer.instances),
            len(reducer.arrivals),
            reducer.size,
            age,
            reducer.folded,
            reducer.failed,
            reducer.dropped,
            reducer.webhook.name if reducer.webhook is not None else "",
            len(reducer.retries),
            max(0.0, due - self._invocations.now),
            reducer.retried,
            reducer.last_failure,
        )

    def _remove(self, _realm: str, body: bytes, page: Page) -> None:
        """Remove a durable reducer and its queue; tell whether there was one."""
        id_ = int.from_bytes(body, "big")
        reducer = self._catalog.by_id.get(id_)
        if reducer is None:
            return
        if reducer.instances:
            raise InvalidArgument("the reducer has instances: end or unregister them first")
        self._catalog.remove(reducer)
        self._instances.changed(reducer)
        page.add(body, b"")
