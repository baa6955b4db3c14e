"""Subscriptions to some events only, or to what becomes of keys.

Owns: which selections an event, or a change of a key, is for, and as what. Never: who subscribed.

An event is for a selection if its document meets the filter. To a selection of state, a key is
there if its value meets the filter: it is told each value, and that the key is no more, or does not
meet the filter any longer.
"""

from collections.abc import Callable, Iterable
from typing import final

from msgspec import msgpack

from fox_shard.backplane.frames import Event, Publish, Selected, Selection
from fox_shard.documents.filters import Document, Filter
from fox_shard.errors import InvalidPayload
from fox_shard.shard.keys.change import Change
from fox_shard.shard.links.peer import Peer
from fox_shard.topics.pattern import Pattern

OUTSIDE = "filter"
"""Why a key is no more, for those whose filter it does not meet any longer."""

Documents = Callable[[Publish], Document | None]
"""A publication's document; None: it has none. Raises InvalidPayload."""


@final
class Selector:
    """One gateway's. state: it is about keys."""

    __slots__ = ("filter", "follow", "id", "pattern", "peer", "state")

    def __init__(self, peer: Peer, pattern: Pattern, selection: Selection) -> None:
        self.peer = peer
        self.pattern = pattern
        self.id = selection.id
        self.state = selection.state
        self.follow = selection.follow
        self.filter = Filter(msgpack.decode(selection.filter)) if selection.filter else None

    def wants(self, event: Event | None, documents: Documents) -> bool:
        """Does the event, or the key's value, meet the filter? None: there is none."""
        if event is None or self.filter is None:
            return event is not None
        try:
            return self.filter.matches(documents(event.publish))
        except InvalidPayload:
            return False


def select(
    selectors: Iterable[Selector], event: Event, documents: Documents
) -> list[tuple[Peer, Selected]]:
    """What is sent of a plain event."""
    ids: dict[tuple[Peer, bool], list[int]] = {}
    for selector in selectors:
        if not selector.state and selector.wants(event, documents):
            ids.setdefault((selector.peer, selector.follow), []).append(selector.id)
    return [
        (peer, Selected(event, chosen, follow=follow)) for (peer, follow), chosen in ids.items()
    ]


def select_change(
    selectors: Iterable[Selector], change: Change, documents: Documents
) -> list[tuple[Peer, Selected]]:
    """What is sent of a key's change."""
    after = change.after
    limited = after is not None and after.publish.audience is not None
    # By what differs between them: why it is no more; was it there before, for its audience then?
    ids: dict[tuple[Peer, str, bool], list[int]] = {}
    for selector in selectors:
        if not selector.state:
            continue
        if selector.wants(after, documents):
            known = limited and selector.wants(change.before, documents)
            ids.setdefault((selector.peer, "", known), []).append(selector.id)
        elif selector.wants(change.before, documents):
            removed = change.removed or OUTSIDE
            ids.setdefault((selector.peer, removed, False), []).append(selector.id)
    return [
        (peer, _selected(change, chosen, removed, known=known))
        for (peer, removed, known), chosen in ids.items()
    ]


def _selected(change: Change, ids: list[int], removed: str, *, known: bool) -> Selected:
    before = change.before
    value = before if removed else change.after
    assert value is not None
    audience = before.publish.audience if before is not None and known else None
    event = Event(change.publication, value.publish)
    return Selected(event, ids, removed, known, audience, state=True)


def select_again(
    selectors: Iterable[Selector], event: Event, documents: Documents, removed: str
) -> list[tuple[Peer, Selected]]:
    """What is sent of a key's change that may have been sent before a restart.

    removed: why the key is no more, "": it is there, and the event is its value. What the key was
    before is not known: perhaps those who were shown that are not shown this, or may not see the
    event that erases it.
    """
    ids: dict[tuple[Peer, str], list[int]] = {}
    for selector in selectors:
        if selector.state:
            outside = not removed and not selector.wants(event, documents)
            why = OUTSIDE if outside else removed
            ids.setdefault((selector.peer, why), []).append(selector.id)
    return [
        (peer, Selected(event, chosen, why, known=True, state=True))
        for (peer, why), chosen in ids.items()
    ]
