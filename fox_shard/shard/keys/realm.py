"""The realms, as far as their keys go.

Owns: that a realm is there when it is asked for, with the options it is configured with. Never:
what happens to its keys; who wants its topics (see `pubsub.realms`).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import final

from fox_shard.backplane.frames import Publish
from fox_shard.config import Realm as Settings
from fox_shard.documents.filters import Document
from fox_shard.documents.payloads import document
from fox_shard.shard.keys.keyspace import Keys


@final
class Realm:
    """One realm's keys on this shard.

    stored: they are rows of the store. headers: keyword arguments do not belong to documents.
    """

    __slots__ = ("before", "headers", "keys", "name", "states", "stored")

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.stored = settings.store != "memory"
        self.headers = settings.kwargs_are_headers
        self.keys = Keys()
        # How many follow what becomes of keys.
        self.states = 0
        # Each is called with a topic before something happens to it, or to its key.
        self.before: list[Callable[[str], None]] = []

    def precede(self, topic: str) -> None:
        """Something is about to happen to the topic, or to its key."""
        for call in self.before:
            call(topic)

    def document_of(self, publish: Publish) -> Document | None:
        """Raises InvalidPayload."""
        return document(publish.encoding, publish.args, self.kwargs_of(publish))

    def kwargs_of(self, publish: Publish) -> bytes:
        """What of its keyword arguments belongs to its document."""
        return b"" if self.headers else publish.kwargs


@final
class Realms:
    """All of them, by name."""

    __slots__ = ("_known", "_settings")

    def __init__(self, settings: Iterable[Settings] = ()) -> None:
        """settings: a realm that is not among them has the defaults."""
        self._settings = {one.name: one for one in settings}
        # Those that something has happened in.
        self._known: dict[str, Realm] = {}

    def __getitem__(self, name: str) -> Realm:
        realm = self._known.get(name)
        if realm is None:
            settings = self._settings.get(name) or Settings(name=name)
            realm = self._known[name] = Realm(settings)
        return realm

    def __iter__(self) -> Iterator[Realm]:
        return iter(self._known.values())
