"""The realms, as one shard knows them: their topics, who wants them, their keys.

Owns: that a realm is there when it is asked for, with the options it is configured with. Never:
what happens to its topics.
"""

from collections.abc import Iterable, Iterator
from typing import final

from fox_shard.backplane.frames import Frame, Publish
from fox_shard.config import Realm as Settings
from fox_shard.documents.filters import Document
from fox_shard.documents.payloads import document
from fox_shard.shard.keys.keyspace import Keys
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.replay import Replay
from fox_shard.shard.pubsub.selectors import Selector
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.trie import Trie

Outboxes = tuple[tuple[list[Frame], list[int]], ...]

MATCHES_LIMIT = 100_000
"""Topics whose subscribers are remembered, per realm."""


@final
class Realm:
    """One realm's topics on this shard.

    stored: its keys are rows of the store. headers: keyword arguments do not belong to documents.
    """

    __slots__ = (
        "attentive",
        "headers",
        "keys",
        "name",
        "outboxes",
        "replays",
        "selections",
        "selectors",
        "states",
        "stored",
        "subscribers",
    )

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.stored = settings.store != "memory"
        self.headers = settings.kwargs_are_headers
        self.subscribers: Trie[Peer] = Trie()
        # Topic -> (outbox, reliable) of the links to the gateways that want it.
        self.outboxes: MatchCache[Outboxes] = MatchCache(MATCHES_LIMIT)
        self.keys = Keys()
        self.selectors: Trie[Selector] = Trie()
        self.selections: MatchCache[tuple[Selector, ...]] = MatchCache(MATCHES_LIMIT)
        self.replays: list[Replay] = []
        # How many of the selectors are about keys.
        self.states = 0
        # Selectors and replays: is there more to do for an event than to send it?
        self.attentive = 0

    def precede(self, topic: str) -> None:
        """Something is about to happen to the topic, or its key: see `replaying`."""
        for replay in self.replays:
            replay.precede(topic)

    def document_of(self, publish: Publish) -> Document | None:
        """Raises InvalidPayload."""
        return document(publish.encoding, publish.args, self.kwargs_of(publish))

    def kwargs_of(self, publish: Publish) -> bytes:
        """What of its keyword arguments belongs to its document."""
        return b"" if self.headers else publish.kwargs


@final
class Realms:
    """All of them, by name."""

    __slots__ = ("_settings", "known")

    def __init__(self, settings: Iterable[Settings] = ()) -> None:
        """settings: a realm that is not among them has the defaults."""
        self._settings = {one.name: one for one in settings}
        # Those that something has happened in; read directly where speed counts.
        self.known: dict[str, Realm] = {}

    def __getitem__(self, name: str) -> Realm:
        realm = self.known.get(name)
        if realm is None:
            settings = self._settings.get(name) or Settings(name=name)
            realm = self.known[name] = Realm(settings)
        return realm

    def __iter__(self) -> Iterator[Realm]:
        return iter(self.known.values())
