"""Replays: what a new subscriber is shown first, a page at a time.

Owns: how far each replay is. Never: whom it is for.

A page is sent when the gateway asks for it, as fast as the subscriber reads. Live events go on
meanwhile. So whatever happens to a topic whose key has not been replayed yet is preceded by the key
as it was (see `precede`): the subscriber gets each topic's key first and then its events, none
missing, none twice.

Behind the keys comes the history, if it is wanted. Live events of a shard whose history is being
replayed are left out by the gateway, if they are recorded (TRACE): they are in it.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import Event, Recorded, Retained, Subscribe
from fox_shard.shard.history.cursor import Position
from fox_shard.shard.history.history import History
from fox_shard.shard.keys.keyspace import Keys
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.selectors import Documents, Selector
from fox_shard.topics.pattern import Pattern

PAGE_KEYS = PAGE_EVENTS = 500
PAGE_BYTES = 1 << 17
"""A page has no more than that, and one more."""

FIRST_KEYS = 50
"""Of the first page."""

BEHIND_ALL = chr(0x10FFFF) * 2
"""In the place of a topic: all have been replayed."""

SEEN_A_PAGE = 5000
"""Keys that are looked at for one page, where a filter leaves most of them out."""


@final
class Replay:
    """One subscriber's, from one shard."""

    __slots__ = (
        "_after",
        "_documents",
        "_keys",
        "_past",
        "_position",
        "_selector",
        "_start",
        "_topics",
        "_trims",
        "done",
        "history",
        "pattern",
        "peer",
        "realm",
        "token",
    )

    def __init__(
        self,
        peer: Peer,
        pattern: Pattern,
        subscribe: Subscribe,
        selector: Selector | None,
        keys: Keys,
        documents: Documents,
        history: History,
    ) -> None:
        """selector: leaves keys and events out; None: all are replayed.

        keys, documents, history: of the realm.
        """
        self.peer = peer
        self.token = subscribe.token
        self.pattern = pattern
        self.done = False
        self.realm = subscribe.realm
        self._keys = keys
        self._documents = documents
        self._selector = selector
        # Topics up to the position, and those in the set, are past.
        self._position = subscribe.start_topic
        self._past: set[str] = set()
        self._topics: Iterator[str] = iter(())
        self.history = history
        self._after: Position | None = None
        self._start = subscribe.start_id
        # How often had been trimmed when the history was complete, None: it is not known to be.
        self._trims: list[int] | None = None
        if subscribe.after is not None:
            self._after = Position(subscribe.after, subscribe.floor)
        if subscribe.replay:
            self._topics = keys.topics(pattern, subscribe.start_topic)
            for topic in keys.changing(pattern):
                self.precede(topic)
        else:
            self._position = BEHIND_ALL

    def precede(self, topic: str) -> None:
        """Something is about to happen to the topic: its key is replayed before that."""
        if topic > self._position and topic not in self._past and self.pattern.matches(topic):
            self._past.add(topic)
            event = self._keys.durable_value(topic)
            shown = event if self._wants(event) else None
            self.peer.link.send(Retained(self.token, shown, ahead=True, topic=topic))

    @property
    def follows(self) -> bool:
        """Is the history wanted?"""
        return self._after is not None

    def gap(self) -> int:
        """0: what of the history has not come is all there; else the id from which on it is."""
        if self._after is None:
            return 0
        position, history = self._after.advanced(self._start), self.history
        gap = history.gap(self.pattern, position, self._trims)
        self._trims = history.trims(self.pattern)
        return gap

    def first_page(self) -> None:
        """A short one: so that a subscriber need not wait for many to see one."""
        self._page(min(FIRST_KEYS, PAGE_KEYS))

    def page(self) -> None:
        """Send some of it. `done` tells whether that was all."""
        self._page(PAGE_KEYS)

    def _page(self, keys: int) -> None:
        if self._page_of_keys(keys):
            if self._after is None:
                self.done = True
            else:
                self._page_of_history(self._after)

    def _page_of_keys(self, limit: int) -> bool:
        """Returns whether there are no more."""
        size = shown = seen = 0
        for topic in self._topics:
            self._position = topic
            seen += 1
            if topic in self._past:
                self._past.discard(topic)
                continue
            event = self._keys.durable_value(topic)
            if event is not None and self._wants(event):
                self.peer.link.send(Retained(self.token, event))
                shown += 1
                size += len(event.publish.args) + len(event.publish.kwargs) + len(topic)
            if shown == limit or size > PAGE_BYTES or seen == SEEN_A_PAGE:
                return False
        self._position = BEHIND_ALL
        return True

    def _page_of_history(self, after: Position) -> None:
        events = self.history.read(self.pattern, after, self._start, PAGE_EVENTS)
        size = 0
        for event in events:
            self._start = event.publication
            if self._wants(event):
                self.peer.link.send(Recorded(self.token, event))
                size += len(event.publish.args) + len(event.publish.kwargs)
            if size > PAGE_BYTES:
                return
        self.done = len(events) < PAGE_EVENTS

    def _wants(self, event: Event | None) -> bool:
        if self._selector is None:
            return event is not None
        return self._selector.wants(event, self._documents)
