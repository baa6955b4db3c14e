"""The histories of all realms on one shard.

Owns: the history of each realm, created on first use. Never: what is in it (see `history`).
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import TRACE, Event, Publish
from fox_shard.config import Realm as Settings
from fox_shard.deadline import NEVER
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.history import History
from fox_shard.store.journal import Journal


@final
class Histories:
    """The histories of one shard, by realm. ruled: the realms that have rules."""

    __slots__ = (
        "_ageing",
        "_budget",
        "_clock",
        "_histories",
        "_journal",
        "_resharded",
        "_settings",
        "ruled",
    )

    def __init__(
        self,
        settings: Iterable[Settings],
        clock: PublicationClock,
        journal: Journal,
        budget: Budget,
    ) -> None:
        """settings: those of the configured realms; all other realms have the defaults.

        budget: the turn's, which pays for reading.
        """
        self._budget = budget
        self._settings = {one.name: one for one in settings}
        self.ruled = frozenset(name for name, one in self._settings.items() if one.history)
        self._clock = clock
        self._journal = journal
        self._histories: dict[str, History] = {}
        # Histories with a rule that limits the age of events.
        self._ageing: list[History] = []
        self._resharded = 0

    def __getitem__(self, realm: str) -> History:
        """Return the realm's history; a realm that is not known yet gets a new one."""
        history = self._histories.get(realm)
        if history is None:
            history = self._loading(realm)
            history.begin(self._clock.last, self._resharded, fresh=False)
        return history

    def _loading(self, realm: str) -> History:
        """Return the realm's history, which has yet to `begin` if it is new."""
        history = self._histories.get(realm)
        if history is None:
            settings = self._settings.get(realm) or Settings(name=realm)
            history = self._histories[realm] = History(settings, self._journal, self._budget)
            if any(rule.max_age for rule in settings.history):
                self._ageing.append(history)
        return history

    # Recording

    def wants(self, publish: Publish) -> bool:
        """Whether the publish is to be recorded: by a rule, or because its publisher said so."""
        if not (publish.flags & TRACE or publish.realm in self.ruled):
            return False
        return self[publish.realm].wants(publish)

    def record(self, event: Event, ticket: int) -> None:
        """Record the event if `mark` has set TRACE. ticket: see `History.record`."""
        if event.publish.flags & TRACE:
            self[event.publish.realm].record(event, ticket)

    def mark(self, publish: Publish) -> None:
        """Set the flag TRACE if the publish is to be recorded, and clear it otherwise."""
        wanted = self.wants(publish)
        publish.flags = publish.flags | TRACE if wanted else publish.flags & ~TRACE

    def committed(self, ticket: int) -> None:
        """Make the events readable that were recorded in transactions up to that one."""
        for history in self._histories.values():
            history.committed(ticket)

    def commit_failed(self) -> None:
        """Discard the events of all transactions that are not durable: they have failed."""
        for history in self._histories.values():
            history.commit_failed()

    @property
    def next_expiry(self) -> float:
        """When `expire` is due, in seconds since 1970; `NEVER`: no event can become too old."""
        if not self._ageing:
            return NEVER
        return min(one.next_expiry for one in self._ageing)

    def expire(self, wall: float) -> None:
        """Drop events that are too old, a limited number per call. wall: seconds since 1970."""
        for history in self._ageing:
            history.expire(wall)

    # From the store

    def load_event(self, event: Event) -> None:
        """Take an event from the store; events come in the order of ids."""
        self._loading(event.publish.realm).load_event(event)

    def load_log_marks(self, key: bytes, ids: list[int]) -> None:
        """Take the marks of an event log from the store, before those of topics."""
        realm, name = rows.realm_and_rest(key)
        self._loading(realm).load_log_marks(name, ids)

    def load_topic_marks(self, key: bytes, ids: list[int]) -> None:
        """Take the marks of a topic from the store, after those of event logs."""
        realm, topic = rows.realm_and_rest(key)
        self._loading(realm).load_topic_marks(topic.decode(), ids)

    def load_resharded(self, publication: int) -> None:
        """Note that lower ids are of earlier generations of files, and thus of any shard."""
        self._resharded = publication

    def begin(self, *, fresh: bool) -> None:
        """Begin recording, after all rows have been loaded. fresh: the store is new.

        The clock must be set before, since it says up to which id events may be missing.
        """
        for realm in self._settings:
            self._loading(realm)
        for history in self._histories.values():
            history.begin(self._clock.last, self._resharded, fresh=fresh)
