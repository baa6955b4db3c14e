"""Replays: what a new subscriber is shown first, a page at a time.

Owns: how far each replay is. Never: whom it is for.

A page is sent when the gateway asks for it, as fast as the subscriber reads. Live events go on
meanwhile. So whatever happens to a topic whose key has not been replayed yet is preceded by the key
as it was (see `precede`): the subscriber gets each topic's key first and then its events, none
missing, none twice.
"""

from typing import TYPE_CHECKING, final

from fox_shard.backplane.frames import Event, Retained, Subscribe
from fox_shard.shard.peer import Peer
from fox_shard.shard.selecting import Selector
from fox_shard.topics.pattern import Pattern

if TYPE_CHECKING:
    from fox_shard.shard.realms import Realm

PAGE_KEYS = 500
PAGE_BYTES = 1 << 17
"""A page has no more than that, and one key."""

SEEN_A_PAGE = 5000
"""Keys that are looked at for one page, where a filter leaves most of them out."""


@final
class Replay:
    """One subscriber's, from one shard."""

    __slots__ = (
        "_past",
        "_position",
        "_selector",
        "_topics",
        "done",
        "pattern",
        "peer",
        "realm",
        "token",
    )

    def __init__(
        self,
        realm: "Realm",
        peer: Peer,
        pattern: Pattern,
        subscribe: Subscribe,
        selector: Selector | None,
    ) -> None:
        """selector: leaves keys out; None: all are replayed."""
        self.peer = peer
        self.token = subscribe.token
        self.pattern = pattern
        self.done = False
        self.realm = realm
        self._selector = selector
        # Topics up to the position, and those in the set, are past.
        self._position = subscribe.start_topic
        self._past: set[str] = set()
        self._topics = realm.keys.topics(pattern, subscribe.start_topic)
        for topic in realm.keys.changing(pattern):
            self.precede(topic)

    def precede(self, topic: str) -> None:
        """Something is about to happen to the topic: its key is replayed before that."""
        if topic > self._position and topic not in self._past and self.pattern.matches(topic):
            self._past.add(topic)
            event = self.realm.keys.durable_value(topic)
            shown = event if self._wants(event) else None
            self.peer.link.send(Retained(self.token, shown, ahead=True, topic=topic))

    def page(self) -> None:
        """Send some of it. `done` tells whether that was all."""
        size = shown = seen = 0
        for topic in self._topics:
            self._position = topic
            seen += 1
            if topic in self._past:
                self._past.discard(topic)
                continue
            event = self.realm.keys.durable_value(topic)
            if event is not None and self._wants(event):
                self.peer.link.send(Retained(self.token, event))
                shown += 1
                size += len(event.publish.args) + len(event.publish.kwargs) + len(topic)
            if shown == PAGE_KEYS or size > PAGE_BYTES or seen == SEEN_A_PAGE:
                return
        self.done = True

    def _wants(self, event: Event | None) -> bool:
        if self._selector is None:
            return event is not None
        return self._selector.wants(event, self.realm.document_of)
