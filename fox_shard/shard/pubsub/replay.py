"""Replays: the keys and the history that a new subscriber receives, a page at a time.

Owns: how far each replay is. Never: which sessions they are for.

A page is sent when the gateway asks for it, as fast as the subscriber reads. Pattern and filter may
pass over any number of keys for one page, so a page is made in slices of limited work. Live events
continue meanwhile. So if something happens to a topic whose key has not been replayed yet, the key
is sent before that, as it was (see `precede`): the subscriber gets each topic's key first and then
its events, none missing, none twice.

The history, if the subscriber asked for it, follows the keys. While a shard replays its history,
the gateway leaves out that shard's live events that are recorded (TRACE): the replay has them.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import Event, Recorded, Retained, Subscribe, sent_bytes
from fox_shard.shard.budget import SLICE_UNITS, Budget
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

CHANGING_PER_UNIT = 8
"""Changing keys that cost a unit of the turn's budget when a replay begins."""

AFTER_ALL_TOPICS = chr(0x10FFFF) * 2
"""A position after all topics: all keys have been replayed."""


@final
class Replay:
    """One replay from this shard to one subscriber."""

    __slots__ = (
        "_after",
        "_bytes_left",
        "_documents",
        "_events_left",
        "_keys",
        "_keys_left",
        "_position",
        "_selector",
        "_sent_ahead",
        "_start_id",
        "_topics",
        "_trims",
        "budget",
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
        budget: Budget,
    ) -> None:
        """Begin at the position that `subscribe` names; send at once the keys that are changing.

        selector: which keys and events are replayed; None: all of them. keys, documents, history:
        those of the realm. budget: the turn's, which pays for the replay.
        """
        self.budget = budget
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
        self._topics: Iterator[str | None] = iter(())
        # What the present page may still have.
        self._keys_left = self._events_left = self._bytes_left = 0
        self.history = history
        self._after: Cursor | None = None
        self._start_id = subscribe.start_id
        # `History.trims` when `gap` last found the history complete; None: not asked yet.
        self._trims: list[int] | None = None
        if subscribe.after is not None:
            self._after = Cursor(subscribe.after, subscribe.floor)
        if subscribe.replay:
            self._topics = keys.steps(pattern, subscribe.start_topic)
            changing = keys.changing(pattern)
            budget.spend(len(changing) + keys.uncommitted // CHANGING_PER_UNIT)
            for topic in changing:
                self.precede(topic)
        else:
            self._position = AFTER_ALL_TOPICS

    def precede(self, topic: str) -> None:
        """Send the key of a matching topic ahead, if it is still to be replayed.

        Called when something is about to happen to the topic. A frame without an event says
        that there is no key to show.
        """
        if topic > self._position and topic not in self._sent_ahead:
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

    def begin_page(self, *, first: bool = False) -> None:
        """Begin a page, which `go_on` makes. first: a short one, so that something is soon seen."""
        self._keys_left = min(FIRST_KEYS, PAGE_KEYS) if first else PAGE_KEYS
        self._events_left = PAGE_EVENTS
        self._bytes_left = PAGE_BYTES

    def go_on(self) -> bool:
        """Do a slice of work on the page; return whether the page is complete.

        `done` then tells whether it was the last page.
        """
        until = self.budget.left - min(SLICE_UNITS, self.budget.left)
        if self._position != AFTER_ALL_TOPICS and not self._keys_until(until):
            return self._is_full
        self.done = self._after is None or self._events_until(self._after, until)
        return self.done or self._is_full

    @property
    def _is_full(self) -> bool:
        return self._keys_left <= 0 or self._events_left <= 0 or self._bytes_left < 0

    def _keys_until(self, left: int) -> bool:
        """Send keys until the page is full, or no more than `left` of the budget is left.

        Return whether all keys have been replayed.
        """
        budget = self.budget
        for topic in self._topics:
            budget.left -= 1
            if topic is not None:
                self._position = topic
                self._show(topic)
            if self._is_full or budget.left <= left:
                return False
        self._position = AFTER_ALL_TOPICS
        return True

    def _show(self, topic: str) -> None:
        """Send the topic's key in its turn, unless it was sent ahead."""
        if topic in self._sent_ahead:
            self._sent_ahead.discard(topic)
            return
        event = self._keys.durable_value(topic)
        if event is not None and self._wants(event):
            self.peer.link.send(Retained(self.token, event))
            self._keys_left -= 1
            self._bytes_left -= size_of(event) + len(topic)

    def _events_until(self, after: Cursor, left: int) -> bool:
        """Send recorded events until the page is full, or only `left` of the budget is left.

        Return whether all events have been replayed.
        """
        budget = self.budget
        for publication, event in self.history.steps_after(self.pattern, after, self._start_id):
            if self._is_full:
                return False
            budget.left -= 1
            self._start_id = publication
            if event is not None and self._wants(event):
                self.peer.link.send(Recorded(self.token, event))
                self._events_left -= 1
                self._bytes_left -= size_of(event)
            # Looked at last, so that each slice gets on, however small the budget is.
            if budget.left <= left:
                return False
        return True

    def _wants(self, event: Event | None) -> bool:
        if self._selector is None or event is None:
            return event is not None
        return self._selector.wants(event, self._documents)


def size_of(event: Event) -> int:
    """Return the bytes of the event's arguments."""
    return sent_bytes(event.publish)
