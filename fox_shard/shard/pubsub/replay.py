"""Replays: the keys and the history that a new subscriber receives, a page at a time.

Owns: how far each replay is. Never: which sessions they are for.

A page is sent when the gateway asks for it, as fast as the subscriber reads. Live events continue
meanwhile. So if something happens to a topic whose key has not been replayed yet, the key is sent
before that, as it was (see `precede`): the subscriber gets each topic's key first and then its
events, none missing, none twice.

The history, if the subscriber asked for it, follows the keys. While a shard replays its history,
the gateway leaves out that shard's live events that are recorded (TRACE): the replay has them.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import Event, Recorded, Retained, Subscribe
from fox_shard.shard.history.cursor import Cursor
from fox_shard.shard.history.history import History
from fox_shard.shard.keys.documents import Documents
from fox_shard.shard.keys.keyspace import Keyspace
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.selectors import Selector
from fox_shard.topics.pattern import Pattern

PAGE_KEYS = PAGE_EVENTS = 500
PAGE_BYTES = 1 << 17
"""A page ends with the key or event that exceeds this size."""

FIRST_KEYS = 50
"""Keys on the first page."""

AFTER_ALL_TOPICS = chr(0x10FFFF) * 2
"""A position after all topics: all keys have been replayed."""

PAGE_EXAMINED_KEYS = 5000
"""The most keys examined for one page, since a filter may leave out most of them."""


@final
class Replay:
    """One replay from this shard to one subscriber."""

    __slots__ = (
        "_after",
        "_documents",
        "_keys",
        "_position",
        "_selector",
        "_sent_ahead",
        "_start_id",
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
        keys: Keyspace,
        documents: Documents,
        history: History,
    ) -> None:
        """Begin at the position that `subscribe` names; send at once the keys that are changing.

        selector: which keys and events are replayed; None: all of them. keys, documents, history:
        those of the realm.
        """
        self.peer = peer
        self.token = subscribe.token
        self.pattern = pattern
        self.done = False
        self.realm = subscribe.realm
        self._keys = keys
        self._documents = documents
        self._selector = selector
        # Topics up to the position have been replayed; those in the set were sent ahead of it.
        self._position = subscribe.start_topic
        self._sent_ahead: set[str] = set()
        self._topics: Iterator[str] = iter(())
        self.history = history
        self._after: Cursor | None = None
        self._start_id = subscribe.start_id
        # `History.trims` when `gap` last found the history complete; None: not asked yet.
        self._trims: list[int] | None = None
        if subscribe.after is not None:
            self._after = Cursor(subscribe.after, subscribe.floor)
        if subscribe.replay:
            self._topics = keys.topics(pattern, subscribe.start_topic)
            for topic in keys.changing(pattern):
                self.precede(topic)
        else:
            self._position = AFTER_ALL_TOPICS

    def precede(self, topic: str) -> None:
        """Send the topic's key ahead, if it is still to be replayed and the pattern matches.

        Called when something is about to happen to the topic. A frame without an event says
        that there is no key to show.
        """
        if topic > self._position and topic not in self._sent_ahead and self.pattern.matches(topic):
            self._sent_ahead.add(topic)
            event = self._keys.durable_value(topic)
            shown = event if self._wants(event) else None
            self.peer.link.send(Retained(self.token, shown, ahead=True, topic=topic))

    @property
    def follows(self) -> bool:
        """Whether the subscriber asked for the history."""
        return self._after is not None

    def gap(self) -> int:
        """Return the id from which on the history is complete, if the rest of the replay has gaps.

        0: nothing is missing. Trims before the previous call are not looked at again.
        """
        if self._after is None:
            return 0
        position, history = self._after.advanced(self._start_id), self.history
        gap = history.gap(self.pattern, position, self._trims)
        self._trims = history.trims(self.pattern)
        return gap

    def first_page(self) -> None:
        """Send a short first page of keys, so that the subscriber soon sees something."""
        self._page(min(FIRST_KEYS, PAGE_KEYS))

    def page(self) -> None:
        """Send the next page; `done` then tells whether it was the last."""
        self._page(PAGE_KEYS)

    def _page(self, keys: int) -> None:
        if self._page_of_keys(keys):
            if self._after is None:
                self.done = True
            else:
                self._page_of_history(self._after)

    def _page_of_keys(self, limit: int) -> bool:
        """Send some keys; return whether these were the last."""
        size = shown = seen = 0
        for topic in self._topics:
            self._position = topic
            seen += 1
            if topic in self._sent_ahead:
                self._sent_ahead.discard(topic)
                continue
            event = self._keys.durable_value(topic)
            if event is not None and self._wants(event):
                self.peer.link.send(Retained(self.token, event))
                shown += 1
                size += len(event.publish.args) + len(event.publish.kwargs) + len(topic)
            if shown == limit or size > PAGE_BYTES or seen == PAGE_EXAMINED_KEYS:
                return False
        self._position = AFTER_ALL_TOPICS
        return True

    def _page_of_history(self, after: Cursor) -> None:
        events = self.history.read(self.pattern, after, self._start_id, PAGE_EVENTS)
        size = 0
        for event in events:
            self._start_id = event.publication
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
