"""Publishes that wait for their conditions (`watch`).

Owns: who waits at which key, in order of arrival, and whom a change of the key lets through. Never:
keys, rows, what becomes of a publish then.

Those that wait for the same are one queue, so that a change is compared with each condition once,
however many wait for it. What waits for a publication id alone is found by that id.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import Event
from fox_shard.shard.keys.conditions import hold, is_shown
from fox_shard.shard.rows import Condition, Place, Waiter

Queue = OrderedDict[int, Waiter]
"""By arrival."""

Queues = dict[Condition, Queue]
"""At one key; none is empty."""


@final
class Waiting:
    """Of one shard."""

    __slots__ = ("_documents", "_ids", "_sessions")

    def __init__(self) -> None:
        # For a document, and for a publication id alone.
        self._documents: dict[Place, Queues] = {}
        self._ids: dict[Place, Queues] = {}
        self._sessions: dict[int, dict[int, Waiter]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._sessions.values())

    @property
    def places(self) -> list[Place]:
        """Where somebody waits."""
        return list({**self._documents, **self._ids})

    def _queues(self, waiter: Waiter) -> dict[Place, Queues]:
        return self._ids if waiter.keep.when is None else self._documents

    def add(self, waiter: Waiter) -> None:
        """It has come last of all."""
        queues = self._queues(waiter).setdefault(waiter.place, {})
        queues.setdefault(waiter.condition, OrderedDict())[waiter.arrival] = waiter
        self._sessions.setdefault(waiter.publish.session, {})[waiter.arrival] = waiter

    def put_back(self, waiter: Waiter) -> None:
        """It was the first that `take` has taken: it is again."""
        self.add(waiter)
        queue = self._queues(waiter)[waiter.place][waiter.condition]
        queue.move_to_end(waiter.arrival, last=False)

    def take(self, place: Place, key: Event | None, *, headers: bool = False) -> Waiter | None:
        """The first whose condition the key meets; it does not wait any more.

        key: its present value. headers: see `conditions.hold`.
        """
        if key is None or is_shown(key, 0):
            met = self._met(place, key, headers=headers)
        else:
            met = self._met_by_owner(place, key, headers=headers)
        first = min(met, key=lambda waiter: waiter.arrival, default=None)
        if first is not None:
            self.remove(first)
        return first

    def _met(self, place: Place, key: Event | None, *, headers: bool) -> Iterator[Waiter]:
        """The first waiter of each queue whose condition is met."""
        present = key.publication if key is not None else 0
        queue = self._ids.get(place, {}).get((present, None))
        if queue is not None:
            yield next(iter(queue.values()))
        for queue in self._documents.get(place, {}).values():
            waiter = next(iter(queue.values()))
            if hold(waiter.keep, key, waiter.publish.session, headers=headers):
                yield waiter

    def _met_by_owner(self, place: Place, key: Event, *, headers: bool) -> Iterator[Waiter]:
        """A key that is shown to one session alone meets conditions of that session alone."""
        for waiter in self._sessions.get(key.publish.session, {}).values():
            session = waiter.publish.session
            if waiter.place == place and hold(waiter.keep, key, session, headers=headers):
                yield waiter

    def remove(self, waiter: Waiter) -> bool:
        """It does not wait any more. Returns whether it did."""
        places = self._queues(waiter)
        queues = places.get(waiter.place, {})
        queue = queues.get(waiter.condition)
        if queue is None or queue.pop(waiter.arrival, None) is None:
            return False
        if not queue:
            del queues[waiter.condition]
        if not queues:
            del places[waiter.place]
        waiters = self._sessions[waiter.publish.session]
        del waiters[waiter.arrival]
        if not waiters:
            del self._sessions[waiter.publish.session]
        return True

    def session_left(self, session: int) -> list[Waiter]:
        """Nothing of that session waits any more; returns what did."""
        waiters = list(self._sessions.get(session, {}).values())
        for waiter in waiters:
            self.remove(waiter)
        return waiters
