"""The histories of all realms on one shard.

Owns: which realm's history a publication belongs to. Never: what is in one (see `history`).
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import TRACE, Event, Publish, Recall, Recalled
from fox_shard.config import Realm as Settings
from fox_shard.deadline import NEVER
from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.history import History
from fox_shard.store.journal import Journal
from fox_shard.topics.pattern import Pattern

PAGE_BYTES = 1 << 20
"""Of the arguments in one `Recalled`; beyond that there is one more event."""


@final
class Archive:
    """See the module. ruled: realms in which something is always recorded."""

    __slots__ = ("_ageing", "_clock", "_histories", "_journal", "_resharded", "_settings", "ruled")

    def __init__(
        self, settings: Iterable[Settings], clock: PublicationClock, journal: Journal
    ) -> None:
        """settings: a realm that is not among them has the defaults."""
        self._settings = {one.name: one for one in settings}
        self.ruled = frozenset(name for name, one in self._settings.items() if one.history)
        self._clock = clock
        self._journal = journal
        self._histories: dict[str, History] = {}
        # Those that have to be looked at as time goes by.
        self._ageing: list[History] = []
        self._resharded = 0

    def __getitem__(self, realm: str) -> History:
        """That realm's; nothing is recorded in it yet, if it was not known."""
        history = self._histories.get(realm)
        if history is None:
            history = self._loading(realm)
            history.begin(self._clock.last, self._resharded, fresh=False)
        return history

    def _loading(self, realm: str) -> History:
        """That realm's, before all has been loaded."""
        history = self._histories.get(realm)
        if history is None:
            settings = self._settings.get(realm) or Settings(name=realm)
            history = self._histories[realm] = History(settings, self._journal)
            if any(rule.max_age for rule in settings.history):
                self._ageing.append(history)
        return history

    # Recording

    def wants(self, publish: Publish) -> bool:
        """Is it to be recorded?"""
        if not (publish.flags & TRACE or publish.realm in self.ruled):
            return False
        return self[publish.realm].wants(publish)

    def record(self, event: Event, ticket: int) -> None:
        """If it is to be recorded; see `mark`, `History.record`."""
        if event.publish.flags & TRACE:
            self[event.publish.realm].record(event, ticket)

    def mark(self, publish: Publish) -> None:
        """From now on TRACE tells whether it is recorded."""
        wanted = self.wants(publish)
        publish.flags = publish.flags | TRACE if wanted else publish.flags & ~TRACE

    def settle(self, ticket: int) -> None:
        """Transactions up to that one are durable."""
        for history in self._histories.values():
            history.settle(ticket)

    def undo(self) -> None:
        """All transactions that are not durable have failed."""
        for history in self._histories.values():
            history.undo()

    @property
    def next_expiry(self) -> float:
        """When `expire` has something to do, in seconds since 1970."""
        return min((one.next_expiry for one in self._ageing), default=NEVER)

    def expire(self, wall: float) -> None:
        """Trim what is too old. wall: seconds since 1970."""
        for history in self._ageing:
            history.expire(wall)

    # Reading

    def recall(self, recall: Recall) -> Recalled:
        """A page of what was asked for."""
        events: list[Event] = []
        size, pattern = 0, Pattern.parse(recall.pattern)
        found = self[recall.realm].walk(pattern, recall.first, recall.last, reverse=recall.reverse)
        for event in found:
            if len(events) == recall.limit or size > PAGE_BYTES:
                return Recalled(recall.token, events, more=True)
            events.append(event)
            size += len(event.publish.args) + len(event.publish.kwargs)
        return Recalled(recall.token, events, more=False)

    # From the store

    def load_event(self, event: Event) -> None:
        """In the order of ids."""
        self._loading(event.publish.realm).load_event(event)

    def load_shelf_marks(self, key: bytes, ids: list[int]) -> None:
        """Before those of topics."""
        realm, name = rows.realm_and_rest(key)
        self._loading(realm).load_shelf_marks(name, ids)

    def load_topic_marks(self, key: bytes, ids: list[int]) -> None:
        """Behind those of shelves."""
        realm, topic = rows.realm_and_rest(key)
        self._loading(realm).load_topic_marks(topic.decode(), ids)

    def load_resharded(self, publication: int) -> None:
        """Lower ids are of earlier generations of files."""
        self._resharded = publication

    def begin(self, *, fresh: bool) -> None:
        """All has been loaded. fresh: the store is new. The clock knows what time it is."""
        for realm in self._settings:
            self._loading(realm)
        for history in self._histories.values():
            history.begin(self._clock.last, self._resharded, fresh=fresh)
