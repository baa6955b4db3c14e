"""The history of one realm on one shard.

Owns: which events are recorded, their rows, and which events may be missing. Never: who reads the
history; when a transaction is durable; how much is kept (see `event_log`).

Each rule of the realm has an event log, and a topic's events are in the log of the first rule that
matches the topic. Events that are recorded only because their publishers said so (TRACE) are in the
last log.

*Every gap is known.* The marks of a log say up to which ids events may be missing: because they
were trimmed, because the rule did not exist yet, or because the log was in memory and the process
ended. In the store, a log is named by its pattern and those of the rules before it, because these
determine its topics.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from heapq import merge
from operator import itemgetter
from typing import Final, final

from msgspec.structs import replace

from fox_shard.backplane.frames import TRACE, Event, Publish
from fox_shard.config import History as Rule
from fox_shard.config import Realm as Settings
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.history.cursor import START, Cursor, TrimMarks
from fox_shard.shard.history.event_log import NOTHING, EventLog, Step, Trimmed
from fox_shard.store.journal import Journal
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.ids import MAX_ID, SHARDS
from fox_shard.topics.overlap import covers, overlap, shape_of
from fox_shard.topics.pattern import Pattern

UNRECORDED: Final = "$"
"""The first character of the server's own topics, which are never recorded."""

TRACED: Final = Rule(topic="", match="prefix")
"""The rule of traced events that no other rule records: a rule's default limits apply."""

TOPICS_LIMIT: Final = 100_000
"""Topics whose event logs are cached."""


@final
class History:
    """The recorded events of one realm on one shard, and which of them may be missing."""

    __slots__ = (
        "_begun",
        "_event_logs",
        "_journal",
        "_log_of_topic",
        "_names",
        "_origins",
        "_realm",
        "_rules",
        "_rules_changed",
        "_stored",
        "_traced",
        "_uncommitted",
    )

    def __init__(self, settings: Settings, journal: Journal, budget: Budget) -> None:
        """budget: the turn's, which pays for reading."""
        self._realm = settings.name
        self._stored = settings.store != "memory"
        self._journal = journal
        self._rules = [EventLog(rule, budget) for rule in settings.history]
        self._traced = EventLog(TRACED, budget)
        self._event_logs = [*self._rules, self._traced]
        self._names = _names(self._event_logs)
        self._log_of_topic: MatchCache[EventLog] = MatchCache(TOPICS_LIMIT)
        # (ticket, event) of the events in transactions that may yet fail.
        self._uncommitted: deque[tuple[int, Event]] = deque()
        # The origins of all ids.
        self._origins: set[int] = set()
        # Event logs whose marks the store had, and whether it had marks of logs that do not exist
        # any more: then the rules have changed.
        self._begun: set[EventLog] = set()
        self._rules_changed = False

    def __len__(self) -> int:
        return sum(len(event_log) for event_log in self._event_logs)

    def _event_log(self, topic: str) -> EventLog:
        event_log = self._log_of_topic.get(topic)
        if event_log is None:
            event_log = self._traced
            for ruled in self._rules:
                if ruled.pattern.matches(topic):
                    event_log = ruled
                    break
            self._log_of_topic.put(topic, event_log)
        return event_log

    # Recording

    def wants(self, publish: Publish) -> bool:
        """Whether the publish is to be recorded: by a rule, or because its publisher said so."""
        topic, audience = publish.topic, publish.audience
        if topic.startswith(UNRECORDED):
            return False
        if audience is not None and (audience.exclude is not None or audience.eligible is not None):
            # An event that is limited to present sessions means nothing to later readers.
            return False
        return publish.flags & TRACE > 0 or self._event_log(topic) is not self._traced

    def record(self, event: Event, ticket: int = 0) -> None:
        """Record an event that is wanted; it can be read when the transaction is durable.

        ticket: the transaction that the event waits for; 0: it can be read at once.
        """
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
        """Make the events readable that were recorded in transactions up to that one."""
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0][0] <= ticket:
            self._add(uncommitted.popleft()[1])

    def durable_up_to(self, last: int) -> int:
        """Return the id up to which all recorded events can be read.

        last: the highest id that the shard has issued.
        """
        return self._uncommitted[0][1].publication - 1 if self._uncommitted else last

    def commit_failed(self) -> None:
        """Discard the events of all transactions that are not durable: they have failed.

        In a realm in memory, events only wait behind other transactions, and are kept.
        """
        uncommitted, self._uncommitted = self._uncommitted, deque()
        if not self._stored:
            for _, event in uncommitted:
                self._add(event)

    def _add(self, event: Event) -> None:
        """Make a recorded event readable, and trim its log."""
        event_log = self._event_log(event.publish.topic)
        event_log.add(event)
        self._origins.add(event.publication % SHARDS)
        self._delete_rows(event_log, event_log.trim_topic(event.publish.topic))
        self._delete_rows(event_log, event_log.trim_size())

    def _delete_rows(self, event_log: EventLog, trimmed: Trimmed) -> None:
        """Delete the rows of trimmed events; write the changed marks in the same transaction."""
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
        """When `expire` is due, in seconds since 1970; `NEVER`: no event can become too old."""
        return min(event_log.next_expiry for event_log in self._event_logs)

    def expire(self, wall: float) -> None:
        """Drop events that are too old, a limited number per call. wall: seconds since 1970."""
        for event_log in self._rules:
            self._delete_rows(event_log, event_log.trim_age(wall))

    # Reading

    def read(self, pattern: Pattern, position: Cursor, start: int, limit: int) -> list[Event]:
        """Return at most `limit` matching events after the position, in the order of ids.

        start: only higher ids. Events that are not durable yet are left out.
        """
        events: list[Event] = []
        for _, event in self.steps_after(pattern, position, start):
            if len(events) == limit:
                break
            if event is not None:
                events.append(event)
        return events

    def steps_after(self, pattern: Pattern, position: Cursor, start: int) -> Iterator[Step]:
        """Yield what `steps` yields beyond the position and `start`."""
        first = 1 + max(start, min((position.of(one) for one in self._origins), default=0))
        for step in self.steps(pattern, first, MAX_ID):
            if step[1] is None or position.is_unread(step[0]):
                yield step

    def steps(
        self, pattern: Pattern, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[Step]:
        """Yield the matching events with ids from `first` to `last`, in the order of ids.

        See `EventLog.steps`. Events that are not durable yet are left out. The history must not
        change during iteration.
        """
        found = [
            event_log.steps(pattern, first, last, reverse=reverse)
            for event_log in self._logs_of(pattern)
        ]
        return found[0] if len(found) == 1 else merge(*found, key=itemgetter(0), reverse=reverse)

    def _logs_of(self, pattern: Pattern) -> list[EventLog]:
        """Return the event logs that may have matching events."""
        if pattern.is_exact:
            return [self._event_log(pattern.topic)]
        found: list[EventLog] = []
        shape = shape_of(pattern)
        for event_log in self._event_logs:
            ruled = shape_of(event_log.pattern)
            if overlap(ruled, shape) or event_log is self._traced:
                found.append(event_log)
            if covers(ruled, shape):
                break
        return found

    def trims(self, pattern: Pattern) -> list[int]:
        """Return the number of trims of each log that may have matching events; for `gap`."""
        return [event_log.trims for event_log in self._logs_of(pattern)]

    def gap(self, pattern: Pattern, position: Cursor, since: list[int] | None = None) -> int:
        """Return the lowest id from which on nothing is missing; 0: nothing is missing at all.

        Only matching events after the position count. since: `trims` at an earlier time; only later
        trims count.
        """
        event_logs = self._logs_of(pattern)
        trims = [-1] * len(event_logs) if since is None else since
        missing = max(
            event_log.last_missing(pattern, position, before)
            for event_log, before in zip(event_logs, trims, strict=True)
        )
        if not missing:
            return 0
        kept = self.read(pattern, START, missing, 1)
        return kept[0].publication if kept else missing + SHARDS

    # From the store

    def load_event(self, event: Event) -> None:
        """Take an event from the store; events come in the order of ids."""
        if self._stored:
            self._event_log(event.publish.topic).add(event)
            self._origins.add(event.publication % SHARDS)
        else:
            self._journal.drop(rows.recorded(self._realm, event.publication))

    def load_log_marks(self, name: bytes, ids: list[int]) -> None:
        """Take the marks of a log from the store; the log's rule may not exist any more."""
        event_log = next(
            (event_log for event_log, log_name in self._names.items() if log_name == name), None
        )
        if event_log is None or not self._stored:
            # If the rule comes back, its log begins anew: events were not recorded meanwhile.
            self._rules_changed = True
            self._journal.keep(rows.log_marks(self._realm, name), None)
        else:
            self._begun.add(event_log)
            event_log.marks.add(ids)

    def load_topic_marks(self, topic: str, ids: list[int]) -> None:
        """Take the marks of a topic from the store, after those of all logs."""
        event_log = self._event_log(topic)
        if self._has_begun(event_log):
            event_log.topic_marks[topic] = TrimMarks(ids)
        else:
            self._journal.keep(rows.topic_marks(self._realm, topic), None)

    def _has_begun(self, event_log: EventLog) -> bool:
        """Whether the log knows of every gap in it.

        The log of traced events needs no row until it is trimmed: nothing is missing from it,
        unless the rules have changed and other topics have come to it.
        """
        traced = event_log is self._traced and self._stored and not self._rules_changed
        return traced or event_log in self._begun

    def begin(self, last: int, resharded: int, *, fresh: bool) -> None:
        """Begin recording, after all rows have been loaded.

        last: the highest id that this shard may have issued so far. resharded: lower ids are of
        earlier generations of files, and thus of any shard. fresh: the store is new, so events may
        have been lost with an earlier one.
        """
        earlier = range(resharded - SHARDS, resharded) if resharded else ()
        for event_log in self._event_logs:
            if fresh or not self._has_begun(event_log):
                event_log.marks.add([*earlier, last])
                if self._stored:
                    self._write_marks(event_log)
            for topic in event_log.topics:
                self._trim(event_log, partial(event_log.trim_topic, topic))
            self._trim(event_log, event_log.trim_size)

    def _trim(self, event_log: EventLog, trim: Callable[[], Trimmed]) -> None:
        """Trim in as many steps as it takes: the limits may have been lowered."""
        while (trimmed := trim()) is not NOTHING:
            self._delete_rows(event_log, trimmed)


def _names(event_logs: list[EventLog]) -> dict[EventLog, bytes]:
    """Return names that are equal for logs of the same topics, also after a restart.

    A log's topics follow from its pattern and those of the logs before it.
    """
    texts = [event_log.pattern.text for event_log in event_logs]
    return {
        event_log: blake2b("\0".join(texts[: place + 1]).encode(), digest_size=8).digest()
        for place, event_log in enumerate(event_logs)
    }
