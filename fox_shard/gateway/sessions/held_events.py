"""The events that are held back, and the subscriptions that wait for their delivery.

Owns: which events of which shard are held back, indexed by topic. Never: why they are held back
(see `ordering`), their delivery.

A subscription must not get an event that its shard sent before it confirmed the subscription, and
must not begin before such events are delivered. It would be dear to look for them among all that is
held back, at each confirmation, or to keep their ids with each subscription: clients decide on both
numbers. So events are numbered as they arrive, and a subscription keeps one number for each shard.
"""

from collections import OrderedDict
from typing import Final, NamedTuple, final

from fox_shard.backplane.frames import Event, SelectedEvent
from fox_shard.topics.pattern import Pattern

_ALL: Final = ""
"""In place of a topic: all topics of a shard."""


class HeldBefore(NamedTuple):
    """The events of one shard that are held back and arrived up to some moment.

    arrivals: signed publication id -> number of the event's arrival, of all that is held back now.
    last: the number of the last one that arrived before the moment.
    """

    arrivals: dict[int, int]
    last: int

    def has(self, publication: int) -> bool:
        """Whether the event is one of them. publication: signed, see `HeldEvents`."""
        return self.arrivals.get(publication, self.last + 1) <= self.last


@final
class _Group:
    """Events that are held back, and subscriptions that wait for them. Both are in order.

    Dicts would not do: it takes long to find their first entry when many have been removed.
    """

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        # Signed publication id -> number of its arrival.
        self.held: OrderedDict[int, int] = OrderedDict()
        # Token -> number of the last arrival that it waits for.
        self.waiting: OrderedDict[int, int] = OrderedDict()

    def released(self) -> list[int]:
        """Remove and return the tokens that have nothing to wait for any more."""
        waiting = self.waiting
        oldest = next(iter(self.held.values()), None)
        tokens = []
        while waiting and (oldest is None or next(iter(waiting.values())) < oldest):
            tokens.append(waiting.popitem(last=False)[0])
        return tokens


@final
class HeldEvents:
    """What one gateway holds back. Publication ids are signed: negative for a `SelectedEvent`."""

    __slots__ = ("_arrivals", "_groups", "_last")

    def __init__(self) -> None:
        # The number of the last arrival.
        self._last = 0
        # Shard -> signed publication id -> number of its arrival.
        self._arrivals: dict[int, dict[int, int]] = {}
        # (shard, whether of `SelectedEvent`s, topic or _ALL) -> the group.
        self._groups: dict[tuple[int, bool, str], _Group] = {}

    def add(self, frame: Event | SelectedEvent, shard: int) -> None:
        """Note that an event of that shard is held back."""
        publication, topic = _named(frame)
        arrivals = self._arrivals.setdefault(shard, {})
        if publication in arrivals:
            return  # a restarted shard has sent it again
        self._last += 1
        arrivals[publication] = self._last
        for name in (topic, _ALL):
            key = (shard, publication < 0, name)
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = _Group()
            group.held[publication] = self._last

    def delivered(self, frame: Event | SelectedEvent, shard: int) -> list[int]:
        """Note that an event has been delivered. Returns the tokens that need not wait any more."""
        publication, topic = _named(frame)
        arrivals = self._arrivals.get(shard, {})
        if arrivals.pop(publication, None) is None:
            return []
        tokens = []
        for name in (topic, _ALL):
            key = (shard, publication < 0, name)
            group = self._groups[key]
            del group.held[publication]
            tokens += group.released()
            if not group.held:
                del self._groups[key]
        return tokens

    def wait(
        self, token: int, shard: int, pattern: Pattern, *, selective: bool
    ) -> HeldBefore | None:
        """Let a subscription wait for that shard's events; None: there is nothing to wait for.

        An exact subscription waits for events on its topic, and any other for all of the shard:
        their fences are passed when all shards have answered, and it waits for all shards anyway.
        selective: it waits for `SelectedEvent`s, not for `Event`s.
        """
        group = self._groups.get(_key(shard, pattern, selective=selective))
        if group is None:
            return None
        # If it waits already, it moves to the end: the marks stay in order.
        group.waiting.pop(token, None)
        group.waiting[token] = self._last
        return HeldBefore(self._arrivals[shard], self._last)

    def give_up(self, token: int, shard: int, pattern: Pattern, *, selective: bool) -> None:
        """Let a subscription wait no more."""
        group = self._groups.get(_key(shard, pattern, selective=selective))
        if group is not None:
            group.waiting.pop(token, None)


def _key(shard: int, pattern: Pattern, *, selective: bool) -> tuple[int, bool, str]:
    return (shard, selective, pattern.topic if pattern.is_exact else _ALL)


def _named(frame: Event | SelectedEvent) -> tuple[int, str]:
    """Return the event's signed publication id and its topic."""
    if isinstance(frame, SelectedEvent):
        return -frame.event.publication, frame.event.publish.topic
    return frame.publication, frame.publish.topic
