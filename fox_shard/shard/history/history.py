"""The history of one realm on one shard: what was published on topics that are recorded.

Owns: which events are recorded, their rows, what may be missing. Never: who reads it, and when a
transaction is durable; how much is kept of what (see `shelf`).

Each rule of the realm has a shelf; the first whose pattern matches a topic has its events. What is
recorded because its publisher says so, on a topic of no rule, is on the last shelf.

*Nothing is missing unknown.* A shelf's marks say up to which publications its events may be
missing: because they have been trimmed, because there was no such rule yet, or because it is in
memory and the process has ended. A shelf is known by its pattern and those before it, from which
follows what its topics are.
"""

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final, final

from msgspec.structs import replace

from fox_shard.backplane.frames import TRACE, Event, Publish
from fox_shard.config import History as Rule
from fox_shard.config import Realm as Settings
from fox_shard.shard import rows
from fox_shard.shard.history.cursor import START, Marks, Position
from fox_shard.shard.history.event_log import Shelf, Trimmed
from fox_shard.store.journal import Journal
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.ids import SHARDS
from fox_shard.topics.overlap import covers, overlap
from fox_shard.topics.pattern import Pattern

UNRECORDED: Final = "$"
"""Topics that begin with it are the server's own."""

TRACED: Final = Rule(topic="", match="prefix")
"""What is recorded where no rule says so, within the limits that a rule has by default."""

LAST: Final = (1 << 53) - 1
"""An id that is beyond any publication's."""

TOPICS_LIMIT: Final = 100_000
"""Topics whose shelves are remembered."""

_by_id: Final = attrgetter("publication")


@final
class History:
    """See the module."""

    __slots__ = (
        "_begun",
        "_changed",
        "_journal",
        "_names",
        "_of_topic",
        "_origins",
        "_realm",
        "_rules",
        "_shelves",
        "_stored",
        "_traced",
        "_unsettled",
    )

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._realm = settings.name
        self._stored = settings.store != "memory"
        self._journal = journal
        self._rules = [Shelf(rule) for rule in settings.history]
        self._traced = Shelf(TRACED)
        self._shelves = [*self._rules, self._traced]
        self._names = _names(self._shelves)
        self._of_topic: MatchCache[Shelf] = MatchCache(TOPICS_LIMIT)
        # Recorded in transactions that may yet fail, with their tickets.
        self._unsettled: deque[tuple[int, Event]] = deque()
        # Of the ids that there are.
        self._origins: set[int] = set()
        # Shelves of which the store knows; and were there others?
        self._begun: set[Shelf] = set()
        self._changed = False

    def __len__(self) -> int:
        return sum(len(shelf) for shelf in self._shelves)

    def _shelf(self, topic: str) -> Shelf:
        shelf = self._of_topic.get(topic)
        if shelf is None:
            matching = (shelf for shelf in self._rules if shelf.pattern.matches(topic))
            shelf = next(matching, self._traced)
            self._of_topic.put(topic, shelf)
        return shelf

    # Recording

    def wants(self, publish: Publish) -> bool:
        """Is it to be recorded?"""
        topic, audience = publish.topic, publish.audience
        if topic.startswith(UNRECORDED):
            return False
        if audience is not None and (audience.exclude is not None or audience.eligible is not None):
            # Limited to sessions of now, it means nothing to a later reader.
            return False
        return publish.flags & TRACE > 0 or self._shelf(topic) is not self._traced

    def record(self, event: Event, ticket: int = 0) -> None:
        """It is wanted. ticket: of the transaction that it waits for, 0: it waits for none."""
        publish = event.publish
        if publish.fence is not None or publish.keep is not None:
            event = Event(event.publication, replace(publish, fence=None, keep=None))
        if self._stored:
            row = rows.recorded(self._realm, event.publication)
            self._journal.put(row, rows.encode(event))
        if ticket:
            self._unsettled.append((ticket, event))
        else:
            self._add(event)

    def settle(self, ticket: int) -> None:
        """Transactions up to that one are durable: what was recorded in them can be read."""
        unsettled = self._unsettled
        while unsettled and unsettled[0][0] <= ticket:
            self._add(unsettled.popleft()[1])

    def durable(self, last: int) -> int:
        """The id up to which all that is recorded can be read. last: no higher one was given."""
        return self._unsettled[0][1].publication - 1 if self._unsettled else last

    def undo(self) -> None:
        """All transactions that are not durable have failed; what only waited for them stays."""
        unsettled, self._unsettled = self._unsettled, deque()
        if not self._stored:
            for _, event in unsettled:
                self._add(event)

    def _add(self, event: Event) -> None:
        shelf = self._shelf(event.publish.topic)
        shelf.add(event)
        self._origins.add(event.publication % SHARDS)
        self._drop(shelf, shelf.trim_topic(event.publish.topic))
        self._drop(shelf, shelf.trim_size())

    def _drop(self, shelf: Shelf, trimmed: Trimmed) -> None:
        """That it may be missing is written in the same transaction as that it is."""
        if not self._stored:
            return
        for publication in trimmed.ids:
            self._journal.drop(rows.recorded(self._realm, publication))
        for topic in trimmed.topics:
            marks = shelf.topic_marks.get(topic)
            row = None if marks is None else rows.encode(marks.ids)
            self._journal.keep(rows.topic_marks(self._realm, topic), row)
        if trimmed.whole:
            self._write_marks(shelf)

    def _write_marks(self, shelf: Shelf) -> None:
        row = rows.shelf_marks(self._realm, self._names[shelf])
        self._journal.keep(row, rows.encode(shelf.marks.ids))

    # Time

    @property
    def next_expiry(self) -> float:
        """When `expire` has something to do, in seconds since 1970."""
        return min(shelf.next_expiry for shelf in self._shelves)

    def expire(self, wall: float) -> None:
        """Trim what is too old, some at a time. wall: seconds since 1970."""
        for shelf in self._rules:
            self._drop(shelf, shelf.trim_age(wall))

    # Reading

    def read(self, pattern: Pattern, position: Position, start: int, limit: int) -> list[Event]:
        """The events beyond the position that match, whose ids are beyond `start`, in order of ids.

        Only what is durable, and no more than `limit`.
        """
        first = 1 + max(start, min((position.of(one) for one in self._origins), default=0))
        found = self.walk(pattern, first, LAST)
        new = (event for event in found if position.is_before(event.publication))
        return list(islice(new, limit))

    def walk(
        self, pattern: Pattern, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[Event]:
        """The events that match, of these ids and between them, in their order.

        Only what is durable. Nothing may change while somebody iterates.
        """
        found = [shelf.walk(pattern, first, last, reverse=reverse) for shelf in self._of(pattern)]
        return found[0] if len(found) == 1 else merge(*found, key=_by_id, reverse=reverse)

    def _of(self, pattern: Pattern) -> list[Shelf]:
        """Those that may have events that match."""
        if pattern.is_exact:
            return [self._shelf(pattern.topic)]
        found: list[Shelf] = []
        for shelf in self._shelves:
            if overlap(shelf.pattern, pattern) or shelf is self._traced:
                found.append(shelf)
            if covers(shelf.pattern, pattern):
                break
        return found

    def trims(self, pattern: Pattern) -> list[int]:
        """How often something has been trimmed that may have matched; for `gap`."""
        return [shelf.trims for shelf in self._of(pattern)]

    def gap(self, pattern: Pattern, position: Position, since: list[int] | None = None) -> int:
        """0: all that was recorded beyond the position, on topics that match, is there.

        Else the lowest id from which on nothing is missing. since: `trims` of some time: what was
        missing then does not count.
        """
        shelves = self._of(pattern)
        trims = [-1] * len(shelves) if since is None else since
        missing = max(
            shelf.missing(pattern, position, before)
            for shelf, before in zip(shelves, trims, strict=True)
        )
        if not missing:
            return 0
        kept = self.read(pattern, START, missing, 1)
        return kept[0].publication if kept else missing + SHARDS

    # From the store

    def load_event(self, event: Event) -> None:
        """In the order of ids."""
        if self._stored:
            self._shelf(event.publish.topic).add(event)
            self._origins.add(event.publication % SHARDS)
        else:
            self._journal.drop(rows.recorded(self._realm, event.publication))

    def load_shelf_marks(self, name: bytes, ids: list[int]) -> None:
        """Of the shelf of that name, which may be none of this configuration's."""
        shelf = next((shelf for shelf, of in self._names.items() if of == name), None)
        if shelf is None or not self._stored:
            # Its rule may come back; then it begins anew.
            self._changed = True
            self._journal.keep(rows.shelf_marks(self._realm, name), None)
        else:
            self._begun.add(shelf)
            shelf.marks.add(ids)

    def load_topic_marks(self, topic: str, ids: list[int]) -> None:
        """Behind those of all shelves."""
        shelf = self._shelf(topic)
        if self._has_begun(shelf):
            shelf.topic_marks[topic] = Marks(ids)
        else:
            self._journal.keep(rows.topic_marks(self._realm, topic), None)

    def _has_begun(self, shelf: Shelf) -> bool:
        """Is nothing unknown missing on it? What is traced is all there, unless topics came to it.

        So the shelf of that needs no row, until something is trimmed.
        """
        traced = shelf is self._traced and self._stored and not self._changed
        return traced or shelf in self._begun

    def begin(self, last: int, resharded: int, *, fresh: bool) -> None:
        """All there was has been loaded. last: no higher id was given by this shard so far.

        resharded: lower ids are of earlier generations of files, so of any shard. fresh: the store
        is new, so something may have been lost with an earlier one.
        """
        earlier = range(resharded - SHARDS, resharded) if resharded else ()
        for shelf in self._shelves:
            if fresh or not self._has_begun(shelf):
                shelf.marks.add([*earlier, last])
                if self._stored:
                    self._write_marks(shelf)
            for topic in shelf.topics:
                self._drop(shelf, shelf.trim_topic(topic))
            self._drop(shelf, shelf.trim_size())


def _names(shelves: list[Shelf]) -> dict[Shelf, bytes]:
    """Equal where a shelf has the same topics: they follow from its pattern and those before it."""
    texts = [shelf.pattern.text for shelf in shelves]
    return {
        shelf: blake2b("\0".join(texts[: place + 1]).encode(), digest_size=8).digest()
        for place, shelf in enumerate(shelves)
    }
