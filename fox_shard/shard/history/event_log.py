"""Event logs: the recorded events of one rule on one shard, in memory.

Owns: the order of the events, finding them by topic and pattern, and trimming what exceeds the
rule's limits. Never: which topics belong to the log; the store.

A log is trimmed when it exceeds a limit by an eighth, so that many events go at once. The oldest
events go first, of one topic or of the whole log. So marks suffice to say what is missing: those of
each topic that was trimmed by itself, and those of the log.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple, final

from fox_shard.backplane.frames import Event, sent_bytes
from fox_shard.config import History as Rule
from fox_shard.deadline import NEVER
from fox_shard.shard.budget import Budget
from fox_shard.shard.history.cursor import Cursor, TrimMarks
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS
from fox_shard.topics.keytree import KeyTree
from fox_shard.topics.pattern import Pattern

OVERHEAD: Final = 100
"""Bytes that each event counts for in addition to its topic and arguments."""

FEW: Final = 32
"""The most topics that are read one by one; for more matching topics the whole log is walked."""

MANY: Final = 256
"""The most topics that are looked at to find those few; beyond, the whole log is walked, too."""

EXAMINED_PER_UNIT: Final = 8
"""Events, or topics, that cost a unit of the turn's budget when they are looked at."""

AT_ONCE: Final = 5000
"""The most events that are trimmed in one step."""

Step = tuple[int, Event | None]
"""The id of an event, and the event if it matches."""

_by_id: Final = attrgetter("publication")


class Trimmed(NamedTuple):
    """The result of a trim.

    ids: the events that were dropped. topics: those whose marks have changed. whole: the marks of
    the log have changed.
    """

    ids: list[int]
    topics: list[str]
    whole: bool


NOTHING: Final = Trimmed([], [], whole=False)


@final
class EventLog:
    """The recorded events of one rule on one shard.

    size: bytes, see `OVERHEAD`. marks, topic_marks: which events may be missing from the whole log,
    and from single topics. trims: the number of trims so far.
    """

    __slots__ = (
        "_budget",
        "_events",
        "_first",
        "_ids",
        "_topics",
        "_tree",
        "marks",
        "pattern",
        "rule",
        "size",
        "topic_marks",
        "trims",
    )

    def __init__(self, rule: Rule, budget: Budget) -> None:
        """budget: the turn's, which pays for reading."""
        self.rule = rule
        self._budget = budget
        self.pattern = Pattern.wamp(rule.topic, rule.match)
        self._events: dict[int, Event] = {}
        # Ids, ascending. Some of them, and all before the index `_first`, are of dropped events.
        self._ids: list[int] = []
        self._first = 0
        # Topic -> ids of its events, ascending.
        self._topics: dict[str, list[int]] = {}
        self._tree = KeyTree()
        self.size = 0
        self.marks = TrimMarks()
        # In the order of their last trims.
        self.topic_marks: dict[str, TrimMarks] = {}
        self.trims = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def topics(self) -> list[str]:
        """The topics that have events."""
        return list(self._topics)

    def add(self, event: Event) -> None:
        """Add an event, in most cases one with a higher id than all others."""
        publication, topic = event.publication, event.publish.topic
        self._events[publication] = event
        self.size += _size(event)
        ids = self._topics.get(topic)
        if ids is None:
            ids = self._topics[topic] = []
            self._tree.add(topic)
        for ordered in (self._ids, ids):
            if not ordered or ordered[-1] < publication:
                ordered.append(publication)
            else:
                insort(ordered, publication)
                self._first = 0

    # Reading

    def steps(
        self, pattern: Pattern, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[Step]:
        """Yield the matching events with ids from `first` to `last`, in the order of ids.

        A step without an event says how far the log was passed over. The caller pays a unit for
        each step, and may go on behind the last one later. The log must not change meanwhile.
        """
        topics = self._matching_topics(pattern)
        if topics is not None:
            by_topic = [
                self._between(self._topics[topic], first, last, reverse=reverse) for topic in topics
            ]
            for event in merge(*by_topic, key=_by_id, reverse=reverse):
                yield event.publication, event
            return
        matching: dict[str, bool] = {}
        passed_over = 0
        for event in self._between(self._ids, first, last, reverse=reverse):
            topic = event.publish.topic
            matches = matching.get(topic)
            if matches is None:
                matches = matching[topic] = pattern.matches(topic)
            if matches:
                yield event.publication, event
                continue
            passed_over += 1
            if passed_over % EXAMINED_PER_UNIT == 0:
                yield event.publication, None

    def _matching_topics(self, pattern: Pattern) -> list[str] | None:
        """Return the matching topics if they are few and soon found; None: walk the whole log."""
        topics: list[str] = []
        steps = 0
        for topic in self._tree.steps(pattern):
            steps += 1
            if topic is not None:
                topics.append(topic)
            if len(topics) > FEW or steps > MANY:
                break
        self._budget.spend(steps // EXAMINED_PER_UNIT)
        return None if len(topics) > FEW or steps > MANY else topics

    def _between(
        self, ids: list[int], first: int, last: int, *, reverse: bool = False
    ) -> Iterator[Event]:
        low, high = bisect_left(ids, first), bisect_right(ids, last)
        places = range(high - 1, low - 1, -1) if reverse else range(low, high)
        for place in places:
            event = self._events.get(ids[place])
            if event is not None:
                yield event

    def last_missing(self, pattern: Pattern, position: Cursor, trims: int = -1) -> int:
        """Return the highest id after the position that may be missing on matching topics; or 0.

        trims: `EventLog.trims` at an earlier time; only later trims count. -1: all of them do.
        """
        newer = [self.marks] if self.marks.trim > trims else []
        if pattern.is_exact:
            marks = self.topic_marks.get(pattern.topic)
            if marks is not None and marks.trim > trims:
                newer.append(marks)
        else:
            newer += self._newer_marks(pattern, trims)
        return max((marks.missing_after(position) for marks in newer), default=0)

    def _newer_marks(self, pattern: Pattern, trims: int) -> Iterator[TrimMarks]:
        """Yield the marks of matching topics that were trimmed since then, the latest first."""
        for topic in reversed(self.topic_marks):
            marks = self.topic_marks[topic]
            if marks.trim <= trims:
                return
            self._budget.spend(1)
            if pattern.matches(topic):
                yield marks

    # Trimming

    def trim_topic(self, topic: str) -> Trimmed:
        """Drop the topic's oldest events if there are too many."""
        limit = self.rule.max_events
        ids = self._topics[topic]
        if len(ids) <= limit + limit // 8:
            return NOTHING
        oldest = ids[: min(len(ids) - limit, AT_ONCE)]
        del ids[: len(oldest)]
        self.trims += 1
        marks = self.topic_marks.pop(topic, None) or TrimMarks()
        marks.add(oldest, self.trims)
        self.topic_marks[topic] = marks
        for publication in oldest:
            self.size -= _size(self._events.pop(publication))
        self._sweep()
        return Trimmed(oldest, [topic], whole=False)

    def trim_size(self) -> Trimmed:
        """Drop the log's oldest events if it is too large."""
        limit = self.rule.max_bytes
        if self.size <= limit + limit // 8:
            return NOTHING
        excess, oldest = self.size - limit, []
        for event in self._between(self._ids, self._oldest(), self._ids[-1]):
            oldest.append(event)
            excess -= _size(event)
            if excess <= 0 or len(oldest) == AT_ONCE:
                break
        return self._drop_oldest(oldest)

    @property
    def next_expiry(self) -> float:
        """When `trim_age` is due, in seconds since 1970; `NEVER`: no event can become too old."""
        if not (self.rule.max_age and self._events):
            return NEVER
        return EPOCH + self._oldest() // SHARDS / TICKS + self.rule.max_age * 1.125

    def _oldest(self) -> int:
        """Return the lowest id of an event; the log must not be empty."""
        while self._ids[self._first] not in self._events:
            self._first += 1
        return self._ids[self._first]

    def trim_age(self, wall: float) -> Trimmed:
        """Drop events that are too old, a limited number per call. wall: seconds since 1970."""
        if wall < self.next_expiry:
            return NOTHING
        oldest = int((wall - self.rule.max_age - EPOCH) * TICKS) * SHARDS
        return self._drop_oldest(list(islice(self._between(self._ids, 0, oldest), AT_ONCE)))

    def _drop_oldest(self, oldest: Iterable[Event]) -> Trimmed:
        """Drop these events, which have the lowest ids of the log, in order."""
        self.trims += 1
        topics: dict[str, int] = {}
        dropped: list[int] = []
        for event in oldest:
            dropped.append(event.publication)
            topics[event.publish.topic] = event.publication
            self.size -= _size(self._events.pop(event.publication))
        changed = []
        for topic, last in topics.items():
            ids = self._topics[topic]
            del ids[: bisect_right(ids, last)]
            if not ids:
                del self._topics[topic]
                self._tree.discard(topic)
                marks = self.topic_marks.pop(topic, None)
                if marks is not None:
                    # No event up to these ids is left in the log, so its marks can take them over.
                    self.marks.add(marks.ids)
                    changed.append(topic)
        self.marks.add(dropped, self.trims)
        self._sweep()
        return Trimmed(dropped, changed, whole=bool(dropped))

    def _sweep(self) -> None:
        """Remove the ids of dropped events once they outnumber the others."""
        if len(self._ids) > 2 * len(self._events) + FEW:
            self._ids = [publication for publication in self._ids if publication in self._events]
            self._first = 0


def _size(event: Event) -> int:
    publish = event.publish
    return OVERHEAD + len(publish.topic) + sent_bytes(publish)
