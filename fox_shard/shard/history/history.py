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
from fox_shard.shard.history.cursor import START, Cursor, TrimMarks
from fox_shard.shard.history.event_log import EventLog, Trimmed
from fox_shard.store.journal import Journal
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.ids import MAX_ID, SHARDS
from fox_shard.topics.overlap import covers, overlap
from fox_shard.topics.pattern import Pattern

UNRECORDED: Final = "$"
"""Topics that begin with it are the server's own."""

TRACED: Final = Rule(topic="", match="prefix")
"""What is recorded where no rule says so, within the limits that a rule has by default."""

TOPICS_LIMIT: Final = 100_000
"""Topics whose shelves are remembered."""

_by_id: Final = attrgetter("publication")


@final
class History:
    """See the module."""

    __slots__ = (
        "_begun",
        "_changed",
        "_event_logs",
        "_journal",
        "_names",
        "_of_topic",
        "_origins",
        "_realm",
        "_rules",
        "_stored",
        "_traced",
        "_uncommitted",
    )

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._realm = settings.name
        self._stored = settings.store != "memory"
        self._journal = journal
        self._rules = [EventLog(rule) for rule in settings.history]
        self._traced = EventLog(TRACED)
        self._event_logs = [*self._rules, self._traced]
        self._names = _names(self._event_logs)
        self._of_topic: MatchCache[EventLog] = MatchCache(TOPICS_LIMIT)
        # Recorded in transactions that may yet fail, with their tickets.
        self._uncommitted: deque[tuple[int, Event]] = deque()
        # Of the ids that there are.
        self._origins: set[int] = set()
        # Shelves of which the store knows; and were there others?
        self._begun: set[EventLog] = set()
        self._changed = False

    def __len__(self) -> int:
        return sum(len(event_log) for event_log in self._event_logs)

    def _event_log(self, topic: str) -> EventLog:
        event_log = self._of_topic.get(topic)
        if event_log is None:
            matching = (event_log for event_log in self._rules if event_log.pattern.matches(topic))
            event_log = next(matching, self._traced)
            self._of_topic.put(topic, event_log)
        return event_log

    # Recording

    def wants(self, publish: Publish) -> bool:
        """Is it to be recorded?"""
        topic, audience = publish.topic, publish.audience
        if topic.startswith(UNRECORDED):
            return False
        if audience is not None and (audience.exclude is not None or audience.eligible is not None):
            # Limited to sessions of now, it means nothing to a later reader.
            return False
        return publish.flags & TRACE > 0 or self._event_log(topic) is not self._traced

    def record(self, event: Event, ticket: int = 0) -> None:
        """It is wanted. ticket: of the transaction that it waits for, 0: it waits for none."""
        publish = event.publish
        if publish.fence is not None or publish.retain is not None:
            event = Event(event.publication, replace(publish, fence=None, retain=None))
        if self._stored:
            row = rows.recorded(self._realm, event.publication)
            self._journal.put(row, rows.encode(event))
        if ticket:
            self._uncommitted.append((ticket, event))
        else:
            self._add(event)

    def committed(self, ticket: int) -> None:
        """Transactions up to that one are durable: what was recorded in them can be read."""
        unsettled = self._uncommitted
        while unsettled and unsettled[0][0] <= ticket:
            self._add(unsettled.popleft()[1])

    def durable_up_to(self, last: int) -> int:
        """The id up to which all that is recorded can be read. last: no higher one was given."""
        return self._uncommitted[0][1].publication - 1 if self._uncommitted else last

    def commit_failed(self) -> None:
        """All transactions that are not durable have failed; what only waited for them stays."""
        unsettled, self._uncommitted = self._uncommitted, deque()
        if not self._stored:
            for _, event in unsettled:
                self._add(event)

    def _add(self, event: Event) -> None:
        event_log = self._event_log(event.publish.topic)
        event_log.add(event)
        self._origins.add(event.publication % SHARDS)
        self._drop(event_log, event_log.trim_topic(event.publish.topic))
        self._drop(event_log, event_log.trim_size())

    def _drop(self, event_log: EventLog, trimmed: Trimmed) -> None:
        """That it may be missing is written in the same transaction as that it is."""
        if not self._stored:
            return
        for publication in trimmed.ids:
            self._journal.drop(rows.recorded(self._realm, publication))
        for topic in trimmed.topics:
            marks = event_log.topic_marks.get(topic)
            row = None if marks is None else rows.encode(marks.ids)
            self._journal.keep(rows.topic_marks(self._realm, topic), row)
        if trimmed.whole:
            self._write_marks(event_log)

    def _write_marks(self, event_log: EventLog) -> None:
        row = rows.log_marks(self._realm, self._names[event_log])
        self._journal.keep(row, rows.encode(event_log.marks.ids))

    # Time

    @property
    def next_expiry(self) -> float:
        """When `expire` has something to do, in seconds since 1970."""
        return min(event_log.next_expiry for event_log in self._event_logs)

    def expire(self, wall: float) -> None:
        """Trim what is too old, some at a time. wall: seconds since 1970."""
        for event_log in self._rules:
            self._drop(event_log, event_log.trim_age(wall))

    # Reading

    def read(self, pattern: Pattern, position: Cursor, start: int, limit: int) -> list[Event]:
        """The events beyond the position that match, whose ids are beyond `start`, in order of ids.

        Only what is durable, and no more than `limit`.
        """
        first = 1 + max(start, min((position.of(one) for one in self._origins), default=0))
        found = self.walk(pattern, first, MAX_ID)
        new = (event for event in found if position.is_before(event.publication))
        return list(islice(new, limit))

    def walk(
        self, pattern: Pattern, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[Event]:
        """The events that match, of these ids and between them, in their order.

        Only what is durable. Nothing may change while somebody iterates.
        """
        found = [
            event_log.walk(pattern, first, last, reverse=reverse) for event_log in self._of(pattern)
        ]
        return found[0] if len(found) == 1 else merge(*found, key=_by_id, reverse=reverse)

    def _of(self, pattern: Pattern) -> list[EventLog]:
        """Those that may have events that match."""
        if pattern.is_exact:
            return [self._event_log(pattern.topic)]
        found: list[EventLog] = []
        for event_log in self._event_logs:
            if overlap(event_log.pattern, pattern) or event_log is self._traced:
                found.append(event_log)
            if covers(event_log.pattern, pattern):
                break
        return found

    def trims(self, pattern: Pattern) -> list[int]:
        """How often something has been trimmed that may have matched; for `gap`."""
        return [event_log.trims for event_log in self._of(pattern)]

    def gap(self, pattern: Pattern, position: Cursor, since: list[int] | None = None) -> int:
        """0: all that was recorded beyond the position, on topics that match, is there.

        Else the lowest id from which on nothing is missing. since: `trims` of some time: what was
        missing then does not count.
        """
        event_logs = self._of(pattern)
        trims = [-1] * len(event_logs) if since is None else since
        missing = max(
            event_log.missing(pattern, position, before)
            for event_log, before in zip(event_logs, trims, strict=True)
        )
        if not missing:
            return 0
        kept = self.read(pattern, START, missing, 1)
        return kept[0].publication if kept else missing + SHARDS

    # From the store

    def load_event(self, event: Event) -> None:
        """In the order of ids."""
        if self._stored:
            self._event_log(event.publish.topic).add(event)
            self._origins.add(event.publication % SHARDS)
        else:
            self._journal.drop(rows.recorded(self._realm, event.publication))

    def load_log_marks(self, name: bytes, ids: list[int]) -> None:
        """Of the shelf of that name, which may be none of this configuration's."""
        event_log = next((event_log for event_log, of in self._names.items() if of == name), None)
        if event_log is None or not self._stored:
            # Its rule may come back; then it begins anew.
            self._changed = True
            self._journal.keep(rows.log_marks(self._realm, name), None)
        else:
            self._begun.add(event_log)
            event_log.marks.add(ids)

    def load_topic_marks(self, topic: str, ids: list[int]) -> None:
        """Behind those of all shelves."""
        event_log = self._event_log(topic)
        if self._has_begun(event_log):
            event_log.topic_marks[topic] = TrimMarks(ids)
        else:
            self._journal.keep(rows.topic_marks(self._realm, topic), None)

    def _has_begun(self, event_log: EventLog) -> bool:
        """Is nothing unknown missing on it? What is traced is all there, unless topics came to it.

        So the shelf of that needs no row, until something is trimmed.
        """
        traced = event_log is self._traced and self._stored and not self._changed
        return traced or event_log in self._begun

    def begin(self, last: int, resharded: int, *, fresh: bool) -> None:
        """All there was has been loaded. last: no higher id was given by this shard so far.

        resharded: lower ids are of earlier generations of files, so of any shard. fresh: the store
        is new, so something may have been lost with an earlier one.
        """
        earlier = range(resharded - SHARDS, resharded) if resharded else ()
        for event_log in self._event_logs:
            if fresh or not self._has_begun(event_log):
                event_log.marks.add([*earlier, last])
                if self._stored:
                    self._write_marks(event_log)
            for topic in event_log.topics:
                self._drop(event_log, event_log.trim_topic(topic))
            self._drop(event_log, event_log.trim_size())


def _names(event_logs: list[EventLog]) -> dict[EventLog, bytes]:
    """Equal where a shelf has the same topics: they follow from its pattern and those before it."""
    texts = [event_log.pattern.text for event_log in event_logs]
    return {
        event_log: blake2b("\0".join(texts[: place + 1]).encode(), digest_size=8).digest()
        for place, event_log in enumerate(event_logs)
    }
