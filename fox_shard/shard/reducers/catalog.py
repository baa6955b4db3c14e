"""The reducers of all realms on one shard, and which of them want the events of a topic.

Owns: the reducers and their rows. Never: their instances, their queues.
"""

from collections.abc import Iterator
from typing import Final, final

from fox_shard.backplane.frames import Publish
from fox_shard.config import Webhook
from fox_shard.shard import rows
from fox_shard.shard.keys.realm import Realms
from fox_shard.shard.reducers.functions import Function
from fox_shard.shard.reducers.reducer import Reducer
from fox_shard.store.journal import Journal
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import in_sequence
from fox_shard.topics.trie import Trie

TOPICS_LIMIT: Final = 100_000
"""Topics per realm whose reducers are cached."""

SHARED_LIMIT: Final = 1000
"""Different lists of reducers that topics share."""


@final
class RealmReducers:
    """The reducers of one realm that take events. size: bytes of all events that wait for them."""

    __slots__ = ("_cache", "_found", "_trie", "size")

    def __init__(self) -> None:
        self._trie: Trie[Reducer] = Trie()
        # What topics have in common: there may be a thousand reducers of a hundred thousand topics.
        self._found: dict[tuple[Reducer, ...], tuple[Reducer, ...]] = {}
        self._cache: MatchCache[tuple[Reducer, ...]] = MatchCache(TOPICS_LIMIT)
        self.size = 0

    def __bool__(self) -> bool:
        return len(self._trie) > 0

    def of(self, topic: str) -> tuple[Reducer, ...]:
        """Return the reducers whose patterns match."""
        found = self._cache.entries.get(topic)
        if found is None:
            found = tuple(self._trie.match(topic))
            if len(self._found) >= SHARED_LIMIT:
                self._found.clear()
            found = self._found.setdefault(found, found)
            self._cache.put(topic, found)
        return found

    def set(self, reducer: Reducer, *, takes_events: bool) -> None:
        """Let the reducer have events from now on, or no more. Idempotent."""
        change = self._trie.add if takes_events else self._trie.remove
        if change(reducer.pattern, reducer):
            self._cache.drop(reducer.pattern)
            self._found.clear()


@final
class Catalog:
    """The reducers of one shard.

    reducing: the realms in which some reducer takes events. configured: the ids of those that the
    worker serves. unconfigured: realms and names, by their ids, of webhooks that the store knows,
    but the configuration does not.
    """

    __slots__ = (
        "_journal",
        "_realms",
        "_settings",
        "by_id",
        "configured",
        "reducing",
        "unconfigured",
    )

    def __init__(self, realms: Realms, journal: Journal) -> None:
        self._settings = realms
        self._journal = journal
        self._realms: dict[str, RealmReducers] = {}
        self.by_id: dict[int, Reducer] = {}
        self.reducing: set[str] = set()
        self.configured: set[int] = set()
        self.unconfigured: dict[int, tuple[str, str]] = {}

    def realm(self, name: str) -> RealmReducers:
        """Return the reducers of a realm."""
        realm = self._realms.get(name)
        if realm is None:
            realm = self._realms[name] = RealmReducers()
        return realm

    def is_stored(self, realm: str) -> bool:
        """Whether the realm's reducers and queues are rows of the store."""
        return self._settings[realm].stored

    def wanting(self, publish: Publish) -> tuple[Reducer, ...]:
        """Return the reducers that want the publish's event.

        An event that is limited to some receivers is for none, since others might see what is made
        of it.
        """
        if publish.realm not in self.reducing or publish.audience is not None:
            return ()
        retain, topic = publish.retain, publish.topic
        if retain is not None and retain.sequence:
            topic = in_sequence(topic, 0)
        return self._realms[publish.realm].of(topic)

    def get(
        self,
        id_: int,
        realm: str,
        pattern: str,
        mission: str,
        durable: str,
        function: Function | None = None,
        webhook: Webhook | None = None,
    ) -> Reducer:
        """Return the reducer with that id; make it, with its row, if there is none."""
        reducer = self.by_id.get(id_)
        if reducer is None:
            reducer = Reducer(
                id_, realm, Pattern.parse(pattern), mission, durable, function, webhook
            )
            self.by_id[id_] = reducer
            self._store(reducer)
            self.refresh(reducer)
        return reducer

    def _store(self, reducer: Reducer) -> None:
        if reducer.function is None and self.is_stored(reducer.realm):
            row = rows.ReducerRow(
                reducer.realm,
                reducer.pattern.text,
                reducer.mission,
                reducer.durable,
                webhook=reducer.webhook is not None,
            )
            self._journal.keep(rows.reducer(reducer.id), rows.encode(row))

    def remove(self, reducer: Reducer) -> None:
        """Let a durable reducer take no events, unless an instance comes; forget it for good."""
        reducer.removed = True
        if self.is_stored(reducer.realm):
            self._journal.keep(rows.reducer(reducer.id), None)

    def take_back(self, reducer: Reducer) -> None:
        """Undo `remove`, since an instance has come."""
        reducer.removed = False
        self._store(reducer)

    def of_clients(self, realm: str) -> int:
        """Return the number of the realm's reducers that clients have registered."""
        return sum(
            1
            for one in self.by_id.values()
            if one.realm == realm and one.function is None and one.id not in self.configured
        )

    def durable(self, realm: str) -> int:
        """Return the number of clients' durable reducers that have not been removed."""
        return sum(
            1
            for one in self.by_id.values()
            if one.realm == realm and one.durable
            if not (one.removed or one.id in self.configured)
        )

    def refresh(self, reducer: Reducer) -> None:
        """Note that the reducer may have begun, or ceased, to take events."""
        realm = self.realm(reducer.realm)
        realm.set(reducer, takes_events=reducer.takes_events)
        if realm:
            self.reducing.add(reducer.realm)
        else:
            self.reducing.discard(reducer.realm)

    def discard_unused(self, reducer: Reducer) -> None:
        """Remove the reducer if it takes no events, and none are left."""
        if reducer.takes_events or reducer.queues or self.by_id.get(reducer.id) is not reducer:
            return
        del self.by_id[reducer.id]
        if self.is_stored(reducer.realm):
            self._journal.drop(rows.reducer(reducer.id))

    def load(self, id_: int, row: rows.ReducerRow) -> None:
        """Take a reducer from the store."""
        if not row.webhook:
            if self.is_stored(row.realm):
                self.get(id_, row.realm, row.pattern, row.mission, row.durable)
        elif id_ not in self.by_id:
            self.unconfigured[id_] = (row.realm, row.durable)
            self._journal.drop(rows.reducer(id_))

    def __iter__(self) -> Iterator[Reducer]:
        return iter(list(self.by_id.values()))
