"""Selectors: subscriptions with a filter, to state, or of followers.

Owns: which selectors an event or a key change is for, and what they are sent. Never: who
subscribed.

An event is for a selector if its document meets the filter. For a state selector, a key exists
while its value meets the filter: the selector is sent each such value, and the removal when the key
is gone or no longer meets the filter.
"""

from collections.abc import Iterable
from typing import final

from msgspec import msgpack

from fox_shard.backplane.frames import TRACE, Event, SelectedEvent, SelectorSpec
from fox_shard.documents.filters import Filter
from fox_shard.errors import InvalidPayload
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.documents import Documents
from fox_shard.shard.links.peer import Peer
from fox_shard.topics.pattern import Pattern

FILTER = "filter"
"""The reason for a removal if the key still exists, but no longer meets the filter."""


@final
class Selector:
    """One gateway's selector for one pattern, as its `SelectorSpec` says.

    behind: its followers are still being sent what they missed (see `missed`).
    """

    __slots__ = ("behind", "comparisons", "filter", "follow", "id", "pattern", "peer", "state")

    def __init__(self, peer: Peer, pattern: Pattern, spec: SelectorSpec) -> None:
        self.peer = peer
        self.pattern = pattern
        self.id = spec.id
        self.state = spec.state
        self.follow = spec.follow
        self.behind = False
        self.filter = Filter(msgpack.decode(spec.filter)) if spec.filter else None
        #: How many an event may take; 1 without a filter.
        self.comparisons = 1 if self.filter is None else self.filter.comparisons

    def wants(self, event: Event | None, documents: Documents) -> bool:
        """Whether the event, or the key's value, exists (is not None) and meets the filter."""
        if event is None or self.filter is None:
            return event is not None
        try:
            return self.filter.matches(documents(event.publish))
        except InvalidPayload:
            return False


def select(
    selectors: Iterable[Selector], event: Event, documents: Documents
) -> list[tuple[Peer, SelectedEvent]]:
    """Return what selectors of events, not of state, are sent for an event."""
    ids: dict[tuple[Peer, bool], list[int]] = {}
    recorded = event.publish.flags & TRACE > 0
    for selector in selectors:
        if selector.state or (recorded and selector.behind):
            continue
        if selector.wants(event, documents):
            ids.setdefault((selector.peer, selector.follow), []).append(selector.id)
    return [
        (peer, SelectedEvent(event, chosen, follow=follow))
        for (peer, follow), chosen in ids.items()
    ]


def select_change(
    selectors: Iterable[Selector], change: KeyChange, documents: Documents
) -> list[tuple[Peer, SelectedEvent]]:
    """Return what state selectors are sent for a key change."""
    after = change.after
    limited = after is not None and after.publish.audience is not None
    # A peer's selectors share a frame if they have the same `removed` ("": the key has a value) and
    # the same `known` (the key existed before, for the audience that it had then).
    ids: dict[tuple[Peer, str, bool], list[int]] = {}
    for selector in selectors:
        if not selector.state:
            continue
        if selector.wants(after, documents):
            known = limited and selector.wants(change.before, documents)
            ids.setdefault((selector.peer, "", known), []).append(selector.id)
        elif selector.wants(change.before, documents):
            removed = change.removed or FILTER
            ids.setdefault((selector.peer, removed, False), []).append(selector.id)
    return [
        (peer, _selected(change, chosen, removed, known=known))
        for (peer, removed, known), chosen in ids.items()
    ]


def _selected(change: KeyChange, ids: list[int], removed: str, *, known: bool) -> SelectedEvent:
    before = change.before
    value = before if removed else change.after
    assert value is not None
    audience = before.publish.audience if before is not None and known else None
    event = Event(change.publication, value.publish)
    reduced = change.reduced
    return SelectedEvent(event, ids, removed, known, audience, state=True, reduced=reduced)


def select_again(
    selectors: Iterable[Selector], event: Event, documents: Documents, removed: str
) -> list[tuple[Peer, SelectedEvent]]:
    """Return what state selectors are sent for a key change that may be a repetition.

    removed: the reason, if the key is gone; "": the event is the key's value. The earlier value is
    not known after a restart. So all frames are `known`: a session that may not see the event is
    told that the key is deleted, since it may have been shown an earlier value.
    """
    ids: dict[tuple[Peer, str], list[int]] = {}
    for selector in selectors:
        if selector.state:
            outside = not removed and not selector.wants(event, documents)
            reason = FILTER if outside else removed
            ids.setdefault((selector.peer, reason), []).append(selector.id)
    return [
        (peer, SelectedEvent(event, chosen, reason, known=True, state=True))
        for (peer, reason), chosen in ids.items()
    ]
