"""A shelf of the history: the events that one rule records, in memory.

Owns: their order, finding them by topic and pattern, which of them are beyond the rule's limits.
Never: which topics are its own, the store.

Events go many at a time, when an eighth more is there than the limits say. Those of one topic go
from its beginning, and those of all topics from the shelf's: so what is missing is told by one mark
for each topic that was trimmed by itself, and one for the shelf.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple, final

from fox_shard.backplane.frames import Event
from fox_shard.config import History as Rule
from fox_shard.deadline import NEVER
from fox_shard.shard.history.cursor import Marks, Position
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS
from fox_shard.topics.keytree import KeyTree
from fox_shard.topics.pattern import Pattern

OVERHEAD: Final = 100
"""Bytes that an event is taken to have beside its topic and arguments."""

FEW: Final = 32
"""Topics that are read one by one; where a pattern matches more, the whole shelf is walked."""

AT_ONCE: Final = 5000
"""Events that go because of their age before others get their turn."""

_by_id: Final = attrgetter("publication")


class Trimmed(NamedTuple):
    """What has gone. topics: whose marks have changed. whole: the shelf's mark has."""

    ids: list[int]
    topics: list[str]
    whole: bool


NOTHING: Final = Trimmed([], [], whole=False)


@final
class Shelf:
    """See the module. marks: what may be missing, of the shelf and of single topics."""

    __slots__ = (
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

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.pattern = Pattern.wamp(rule.topic, rule.match)
        self._events: dict[int, Event] = {}
        # Ascending; some are of events that have gone, all of those before the place `_first`.
        self._ids: list[int] = []
        self._first = 0
        # Topic -> ids of its events, ascending.
        self._topics: dict[str, list[int]] = {}
        self._tree = KeyTree()
        # Bytes, see `OVERHEAD`.
        self.size = 0
        self.marks = Marks()
        self.topic_marks: dict[str, Marks] = {}
        # How often something has been trimmed.
        self.trims = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def topics(self) -> list[str]:
        """Of its events."""
        return list(self._topics)

    def add(self, event: Event) -> None:
        """Mostly the last one there is."""
        publication, topic = event.publication, event.publish.topic
        self._events[publication] = event
        self.size += _size(event)
        ids = self._topics.get(topic)
        if ids is None:
            ids = self._topics[topic] = []
            self._tree.add(topic)
        for row in (self._ids, ids):
            if not row or row[-1] < publication:
                row.append(publication)
            else:
                insort(row, publication)
                self._first = 0

    # Reading

    def walk(
        self, pattern: Pattern, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[Event]:
        """The events that match, of these ids and between them, in their order."""
        topics = list(islice(self._tree.match(pattern), FEW + 1))
        if len(topics) <= FEW:
            rows = [
                self._between(self._topics[topic], first, last, reverse=reverse) for topic in topics
            ]
            yield from merge(*rows, key=_by_id, reverse=reverse)
            return
        matching: dict[str, bool] = {}
        for event in self._between(self._ids, first, last, reverse=reverse):
            topic = event.publish.topic
            matches = matching.get(topic)
            if matches is None:
                matches = matching[topic] = pattern.matches(topic)
            if matches:
                yield event

    def _between(
        self, ids: list[int], first: int, last: int, *, reverse: bool = False
    ) -> Iterator[Event]:
        low, high = bisect_left(ids, first), bisect_right(ids, last)
        places = range(high - 1, low - 1, -1) if reverse else range(low, high)
        for place in places:
            event = self._events.get(ids[place])
            if event is not None:
                yield event

    def missing(self, pattern: Pattern, position: Position, trims: int = -1) -> int:
        """The highest id beyond the position of what may be missing on topics that match; or 0.

        trims: how many had been when somebody looked before; -1: nobody has.
        """
        if pattern.is_exact:
            marks = self.topic_marks.get(pattern.topic)
            of_topics = [] if marks is None else [marks]
        else:
            of_topics = [m for topic, m in self.topic_marks.items() if pattern.matches(topic)]
        late = [marks for marks in (self.marks, *of_topics) if marks.trim > trims]
        return max((marks.beyond(position) for marks in late), default=0)

    # Trimming

    def trim_topic(self, topic: str) -> Trimmed:
        """If it has too many events, its oldest go."""
        most = self.rule.max_events
        ids = self._topics[topic]
        if len(ids) <= most + most // 8:
            return NOTHING
        gone = ids[: len(ids) - most]
        del ids[: len(gone)]
        self.trims += 1
        self.topic_marks.setdefault(topic, Marks()).add(gone, self.trims)
        for publication in gone:
            self.size -= _size(self._events.pop(publication))
        self._sweep()
        return Trimmed(gone, [topic], whole=False)

    def trim_size(self) -> Trimmed:
        """If it is too large, its oldest events go."""
        most = self.rule.max_bytes
        if self.size <= most + most // 8:
            return NOTHING
        excess, gone = self.size - most, []
        for event in self._between(self._ids, self._oldest(), self._ids[-1]):
            gone.append(event)
            excess -= _size(event)
            if excess <= 0:
                break
        return self._drop_oldest(gone)

    @property
    def next_expiry(self) -> float:
        """When events are too old, in seconds since 1970."""
        if not (self.rule.max_age and self._events):
            return NEVER
        return EPOCH + self._oldest() // SHARDS / TICKS + self.rule.max_age * 1.125

    def _oldest(self) -> int:
        """The lowest id of an event; there is one."""
        while self._ids[self._first] not in self._events:
            self._first += 1
        return self._ids[self._first]

    def trim_age(self, wall: float) -> Trimmed:
        """Events that are too old go, some at a time. wall: seconds since 1970."""
        if wall < self.next_expiry:
            return NOTHING
        oldest = int((wall - self.rule.max_age - EPOCH) * TICKS) * SHARDS
        return self._drop_oldest(list(islice(self._between(self._ids, 0, oldest), AT_ONCE)))

    def _drop_oldest(self, gone: Iterable[Event]) -> Trimmed:
        """gone: those of the lowest ids."""
        self.trims += 1
        topics: dict[str, int] = {}
        dropped: list[int] = []
        for event in gone:
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
                    # Nothing of these ids is left on the whole shelf.
                    self.marks.add(marks.ids)
                    changed.append(topic)
        self.marks.add(dropped, self.trims)
        self._sweep()
        return Trimmed(dropped, changed, whole=bool(dropped))

    def _sweep(self) -> None:
        """Forget ids whose events have gone, when they are many."""
        if len(self._ids) > 2 * len(self._events) + FEW:
            self._ids = [publication for publication in self._ids if publication in self._events]
            self._first = 0


def _size(event: Event) -> int:
    publish = event.publish
    return OVERHEAD + len(publish.topic) + len(publish.args) + len(publish.kwargs)
