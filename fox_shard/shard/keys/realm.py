"""The realms with their keys.

Owns: the realms, which are created on first use, and their configured options. Never: what happens
to keys; who subscribes to their topics (see `pubsub.realms`).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

from fox_shard.backplane.frames import Publish
from fox_shard.config import Realm as Settings
from fox_shard.config import RealmLimits
from fox_shard.documents.filters import Document
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.documents import DecodedDocuments
from fox_shard.shard.keys.keyspace import Keyspace
from fox_shard.shard.keys.quota import KeyQuota
from fox_shard.topics.trie import Trie


@final
class Realm:
    """One realm's keys on this shard.

    stored: the keys are rows of the store. headers: keyword arguments are not part of documents.
    """

    __slots__ = (
        "_documents",
        "before_change",
        "headers",
        "keys",
        "name",
        "state_selectors",
        "stored",
        "subscribers",
    )

    def __init__(self, settings: Settings, documents: DecodedDocuments, quota: KeyQuota) -> None:
        self.name = settings.name
        self.stored = settings.store != "memory"
        self.headers = settings.kwargs_are_headers
        self.keys = Keyspace(quota)
        self._documents = documents
        # The number of state selectors; 0: changes need not be noted as unannounced.
        self.state_selectors = 0
        # Who subscribes to plain events, see `pubsub.realms`.
        self.subscribers: Trie[Any] = Trie()
        # `Replay.precede` of each replay, called before something happens to a topic or its key.
        self.before_change: Trie[Callable[[str], None]] = Trie()

    def precede(self, topic: str) -> None:
        """Tell the replays that something is about to happen to the topic or its key."""
        if self.before_change:
            for precede in self.before_change.match(topic):
                precede(topic)

    def document_of(self, publish: Publish) -> Document | None:
        """Return the publication's document, which must not be changed; None: it has none.

        Raises InvalidPayload.
        """
        return self._documents.document(publish.encoding, publish.args, self.kwargs_of(publish))

    def kwargs_of(self, publish: Publish) -> bytes:
        """Return the keyword arguments that are part of the publication's document."""
        return b"" if self.headers else publish.kwargs


@final
class Realms:
    """All realms of one shard, by name. documents: those that are decoded."""

    __slots__ = ("_known", "_limits", "_settings", "_shards", "documents")

    def __init__(
        self, settings: Iterable[Settings], limits: RealmLimits, shards: int, budget: Budget
    ) -> None:
        """settings: those of the configured realms; all other realms have the defaults.

        limits: of realms that have none of their own. shards: how many there are. budget: the
        turn's.
        """
        self._limits = limits
        self._shards = shards
        self._settings = {realm.name: realm for realm in settings}
        # The realms that have been used.
        self._known: dict[str, Realm] = {}
        self.documents = DecodedDocuments(budget)

    def __getitem__(self, name: str) -> Realm:
        realm = self._known.get(name)
        if realm is None:
            settings = self._settings.get(name) or Settings(name=name)
            quota = KeyQuota(settings.limits(self._limits), self._shards)
            realm = self._known[name] = Realm(settings, self.documents, quota)
        return realm

    def __iter__(self) -> Iterator[Realm]:
        return iter(self._known.values())
