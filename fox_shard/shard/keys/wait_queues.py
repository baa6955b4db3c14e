"""Wait queues: publishes that wait for their conditions (`watch`).

Owns: the waiters at each key, in order of arrival, and which of them a change of the key lets
through. Never: keys, rows; what becomes of the publish then.

Waiters with the same condition form one queue, so that a change is compared with each condition
once, however many waiters have it. Waiters for a publication id alone are found by that id.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import Event
from fox_shard.shard.keys.conditions import conditions_hold, is_shown
from fox_shard.shard.rows import Condition, KeyRef, Waiter

Queue = OrderedDict[int, Waiter]
"""The waiters with one condition, by arrival."""

Queues = dict[Condition, Queue]
"""The queues at one key; none of them is empty."""


@final
class WaitQueues:
    """The waiters of one shard."""

    __slots__ = ("_by_document", "_by_id", "_sessions")

    def __init__(self) -> None:
        # Waiters for a document (or for the absence of a key), and for a publication id alone.
        self._by_document: dict[KeyRef, Queues] = {}
        self._by_id: dict[KeyRef, Queues] = {}
        self._sessions: dict[int, dict[int, Waiter]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._sessions.values())

    @property
    def refs(self) -> list[KeyRef]:
        """The keys that have waiters."""
        return list({**self._by_document, **self._by_id})

    def _queues_by_key(self, waiter: Waiter) -> dict[KeyRef, Queues]:
        return self._by_id if waiter.retain.when is None else self._by_document

    def add(self, waiter: Waiter) -> None:
        """Add a waiter at the end of its queue."""
        queues = self._queues_by_key(waiter).setdefault(waiter.ref, {})
        queues.setdefault(waiter.condition, OrderedDict())[waiter.arrival] = waiter
        self._sessions.setdefault(waiter.publish.session, {})[waiter.arrival] = waiter

    def put_back(self, waiter: Waiter) -> None:
        """Undo `take`: the waiter is the first of its queue again."""
        self.add(waiter)
        queue = self._queues_by_key(waiter)[waiter.ref][waiter.condition]
        queue.move_to_end(waiter.arrival, last=False)

    def take(self, ref: KeyRef, key: Event | None, *, headers: bool = False) -> Waiter | None:
        """Remove and return the first waiter whose condition the key meets; None: there is none.

        key: the key's current value; None: there is no key. headers: see `conditions_hold`.
        """
        if key is None or is_shown(key, 0):
            met = self._met(ref, key, headers=headers)
        else:
            met = self._met_by_owner(ref, key, headers=headers)
        first = min(met, key=lambda waiter: waiter.arrival, default=None)
        if first is not None:
            self.remove(first)
        return first

    def _met(self, ref: KeyRef, key: Event | None, *, headers: bool) -> Iterator[Waiter]:
        """Yield the first waiter of each queue whose condition the key meets."""
        present = key.publication if key is not None else 0
        queue = self._by_id.get(ref, {}).get((present, None))
        if queue is not None:
            yield next(iter(queue.values()))
        for queue in self._by_document.get(ref, {}).values():
            waiter = next(iter(queue.values()))
            if conditions_hold(waiter.retain, key, waiter.publish.session, headers=headers):
                yield waiter

    def _met_by_owner(self, ref: KeyRef, key: Event, *, headers: bool) -> Iterator[Waiter]:
        """Yield the owner's waiters whose conditions its private key meets.

        For other sessions every condition on this key fails.
        """
        for waiter in self._sessions.get(key.publish.session, {}).values():
            session = waiter.publish.session
            if waiter.ref == ref and conditions_hold(waiter.retain, key, session, headers=headers):
                yield waiter

    def remove(self, waiter: Waiter) -> bool:
        """Remove the waiter; return whether it was waiting."""
        queues_by_key = self._queues_by_key(waiter)
        queues = queues_by_key.get(waiter.ref, {})
        queue = queues.get(waiter.condition)
        if queue is None or queue.pop(waiter.arrival, None) is None:
            return False
        if not queue:
            del queues[waiter.condition]
        if not queues:
            del queues_by_key[waiter.ref]
        waiters = self._sessions[waiter.publish.session]
        del waiters[waiter.arrival]
        if not waiters:
            del self._sessions[waiter.publish.session]
        return True

    def session_ended(self, session: int) -> list[Waiter]:
        """Remove and return all waiters of the session."""
        waiters = list(self._sessions.get(session, {}).values())
        for waiter in waiters:
            self.remove(waiter)
        return waiters
