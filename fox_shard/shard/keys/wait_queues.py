"""Wait queues: publishes that wait for their conditions (`watch`).

Owns: the waiters at each key, in order of arrival, and which of them a change of the key lets
through. Never: keys, rows; what becomes of the publish then.

Waiters with the same condition form one queue, so that a change is compared with each condition
once, however many waiters have it. Waiters for a publication id alone are found by that id.
"""

from collections import OrderedDict
from collections.abc import Iterator
from heapq import merge
from itertools import islice, takewhile
from operator import attrgetter
from typing import final

from fox_shard.backplane.frames import Event, Publish, sent_bytes
from fox_shard.config import Keys as Limits
from fox_shard.errors import LimitExceeded
from fox_shard.shard.keys.conditions import ParsedCondition, is_shown
from fox_shard.shard.keys.documents import Documents
from fox_shard.shard.queue_quota import LIMIT, QueueQuotas
from fox_shard.shard.rows import Condition, KeyRef, Waiter


@final
class Queue:
    """The waiters with one condition at one key, by arrival; the condition is decoded."""

    __slots__ = ("condition", "waiters")

    def __init__(self, first: Waiter) -> None:
        """Make the queue to which that waiter will be added."""
        self.condition = ParsedCondition(first.retain)
        self.waiters: OrderedDict[int, Waiter] = OrderedDict()

    @property
    def first(self) -> Waiter:
        """The waiter that has waited longest."""
        return next(iter(self.waiters.values()))


Queues = dict[Condition, Queue]
"""The queues at one key; none of them is empty."""


@final
class WaitQueues:
    """The waiters of one shard. size: their bytes."""

    __slots__ = ("_at_key", "_by_document", "_by_id", "_quotas", "_sessions", "size")

    def __init__(self, quotas: QueueQuotas) -> None:
        """quotas: of the realms, for all that waits at the shard."""
        self._quotas = quotas
        # Waiters for a document (or for the absence of a key), and for a publication id alone.
        self._by_document: dict[KeyRef, Queues] = {}
        self._by_id: dict[KeyRef, Queues] = {}
        self._sessions: dict[int, dict[int, Waiter]] = {}
        # The number of waiters at each key.
        self._at_key: dict[KeyRef, int] = {}
        self.size = 0

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._sessions.values())

    @property
    def refs(self) -> list[KeyRef]:
        """The keys that have waiters."""
        return list(self._at_key)

    def count_at(self, ref: KeyRef) -> int:
        """Return how many publishes wait at the key."""
        return self._at_key.get(ref, 0)

    def first_at(self, ref: KeyRef, most: int) -> list[int]:
        """Return the sessions whose publishes wait at the key, by arrival, `most` at most."""
        queues = [*self._by_document.get(ref, {}).values(), *self._by_id.get(ref, {}).values()]
        first = (islice(queue.waiters.values(), most) for queue in queues)
        waiters = islice(merge(*first, key=attrgetter("arrival")), most)
        return [waiter.publish.session for waiter in waiters]

    def _queues_by_key(self, waiter: Waiter) -> dict[KeyRef, Queues]:
        return self._by_id if waiter.retain.when is None else self._by_document

    def add(self, waiter: Waiter) -> None:
        """Add a waiter at the end of its queue."""
        queues = self._queues_by_key(waiter).setdefault(waiter.ref, {})
        queue = queues.get(waiter.condition)
        if queue is None:
            queue = queues[waiter.condition] = Queue(waiter)
        queue.waiters[waiter.arrival] = waiter
        self._sessions.setdefault(waiter.publish.session, {})[waiter.arrival] = waiter
        self._at_key[waiter.ref] = self._at_key.get(waiter.ref, 0) + 1
        self._count(waiter, 1)

    def _count(self, waiter: Waiter, one: int) -> None:
        size = one * _size(waiter.publish)
        self.size += size
        self._quotas.add(waiter.ref[0], size)

    def check_room(self, publish: Publish, limits: Limits) -> None:
        """Raise LimitExceeded if the publish would be one waiter too many."""
        ref, retain = (publish.realm, publish.topic), publish.retain
        assert retain is not None
        condition = (retain.when_id, retain.when)
        queues = (self._by_id if retain.when is None else self._by_document).get(ref, {})
        for full, limit, what in (
            (
                len(self._sessions.get(publish.session, ())) >= limits.waiting_per_session,
                "waiting_per_session",
                f"{limits.waiting_per_session} publishes of this session wait at this shard "
                "already",
            ),
            (
                self._at_key.get(ref, 0) >= limits.waiting_per_key,
                "waiting_per_key",
                f"{limits.waiting_per_key} publishes wait at this key already",
            ),
            (
                retain.when is not None
                and condition not in queues
                and len(queues) >= limits.conditions_per_key,
                "conditions_per_key",
                f"publishes with {limits.conditions_per_key} other conditions wait at this key "
                "already",
            ),
            (
                self.size + _size(publish) > limits.waiting_bytes,
                "waiting_bytes",
                f"{self.size} bytes of publishes wait at this shard already",
            ),
        ):
            if full:
                sentence = f"{what} (keys.{limit}): publish again later"
                raise LimitExceeded(sentence).beyond(limit)
        excess = self._quotas.excess(publish.realm, _size(publish))
        if excess:
            raise LimitExceeded(f"{excess}: publish again later").beyond(LIMIT)

    def put_back(self, waiter: Waiter) -> None:
        """Undo `take`: the waiter has its place in the queue again."""
        self.add(waiter)
        waiters = self._queues_by_key(waiter)[waiter.ref][waiter.condition].waiters
        # None came before, except if a private key was for its owner's waiter.
        before = list(takewhile(lambda arrival: arrival < waiter.arrival, waiters))
        for arrival in (waiter.arrival, *reversed(before)):
            waiters.move_to_end(arrival, last=False)

    def conditions_at(self, ref: KeyRef) -> int:
        """Return the number of conditions that the key's value is compared with."""
        return len(self._by_document.get(ref, ()))

    def take(self, ref: KeyRef, key: Event | None, documents: Documents) -> Waiter | None:
        """Remove and return the first waiter whose condition the key meets; None: there is none.

        key: the key's current value; None: there is no key.
        """
        if key is None or is_shown(key, 0):
            met = self._met(ref, key, documents)
        else:
            met = self._met_by_owner(ref, key, documents)
        first = min(met, key=lambda waiter: waiter.arrival, default=None)
        if first is not None:
            self.remove(first)
        return first

    def _met(self, ref: KeyRef, key: Event | None, documents: Documents) -> Iterator[Waiter]:
        """Yield the first waiter of each queue whose condition the key meets."""
        present = key.publication if key is not None else 0
        queue = self._by_id.get(ref, {}).get((present, None))
        if queue is not None:
            yield queue.first
        for queue in self._by_document.get(ref, {}).values():
            waiter = queue.first
            if queue.condition.holds(key, waiter.publish.session, documents):
                yield waiter

    def _met_by_owner(self, ref: KeyRef, key: Event, documents: Documents) -> Iterator[Waiter]:
        """Yield the owner's waiters whose conditions its private key meets.

        For other sessions every condition on this key fails.
        """
        session = key.publish.session
        for waiter in self._sessions.get(session, {}).values():
            if waiter.ref == ref:
                queue = self._queues_by_key(waiter)[ref][waiter.condition]
                if queue.condition.holds(key, session, documents):
                    yield waiter

    def remove(self, waiter: Waiter) -> bool:
        """Remove the waiter; return whether it was waiting."""
        queues_by_key = self._queues_by_key(waiter)
        queues = queues_by_key.get(waiter.ref, {})
        queue = queues.get(waiter.condition)
        if queue is None or queue.waiters.pop(waiter.arrival, None) is None:
            return False
        if not queue.waiters:
            del queues[waiter.condition]
        if not queues:
            del queues_by_key[waiter.ref]
        waiters = self._sessions[waiter.publish.session]
        del waiters[waiter.arrival]
        if not waiters:
            del self._sessions[waiter.publish.session]
        self._at_key[waiter.ref] -= 1
        if not self._at_key[waiter.ref]:
            del self._at_key[waiter.ref]
        self._count(waiter, -1)
        return True

    def session_ended(self, session: int) -> list[Waiter]:
        """Remove and return all waiters of the session."""
        waiters = list(self._sessions.get(session, {}).values())
        for waiter in waiters:
            self.remove(waiter)
        return waiters


OVERHEAD = 500
"""Bytes that each waiter counts for in addition to what its client has sent."""


def _size(publish: Publish) -> int:
    """Return the bytes of a waiting publish."""
    return OVERHEAD + len(publish.topic) + sent_bytes(publish)
