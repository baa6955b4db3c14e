"""Who listens to meta events.

Owns: whether anybody does, and the requests that wait until the coordinator publishes all changes.
Never: the events, or what they are about.

The shard that owns the topics of a kind tells the coordinator when somebody begins to subscribe to
one of them, and when nobody does any more. A request to subscribe waits until the coordinator knows
all that there is: whoever is subscribed is told of every later change.
"""

from collections.abc import Iterable
from typing import Final, final

from fox_shard.backplane.frames import Listened, Listening, Subscribe
from fox_shard.backplane.placement import ALL_META_EVENTS, Placement
from fox_shard.config import Realm
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.links.peer import Peer
from fox_shard.topics.pattern import Pattern

Key = tuple[str, str]
"""Realm and kind of meta events."""

COORDINATOR: Final = "coordinator"


@final
class _Listeners:
    """The listeners to one kind of a realm's meta events.

    count: their subscriptions, and rules of the history. number: see `Listening`; 0: there are
    none. ready: the coordinator publishes all changes. waiting: requests, by peer and token.
    """

    __slots__ = ("count", "number", "ready", "waiting")

    def __init__(self) -> None:
        self.count = self.number = 0
        self.ready = False
        self.waiting: dict[tuple[Peer, int], Subscribe] = {}


@final
class MetaListeners:
    """The listeners on one shard."""

    __slots__ = ("_clock", "_number", "_of", "_peers", "_placement", "_synced")

    def __init__(
        self,
        number: int,
        placement: Placement,
        clock: PublicationClock,
        peers: dict[str, Peer],
        realms: Iterable[Realm],
    ) -> None:
        """number: this shard's. clock: numbers them. realms: their rules are listeners, too."""
        self._number = number
        self._placement = placement
        self._clock = clock
        self._peers = peers
        self._synced = False
        self._of: dict[Key, _Listeners] = {}
        for realm in realms:
            for kind in ALL_META_EVENTS:
                self._find(realm.name, kind)
            for rule in realm.history:
                self.added(realm.name, Pattern.wamp(rule.topic, rule.match))

    def _find(self, realm: str, kind: str) -> _Listeners | None:
        """Return the listeners to a kind; None: another shard owns the topics."""
        found = self._of.get((realm, kind))
        first = ALL_META_EVENTS[kind][0]
        if found is None and self._placement.shard_of(realm, first) == self._number:
            found = self._of[realm, kind] = _Listeners()
        return found

    def _matched(self, realm: str, pattern: Pattern) -> list[tuple[Key, _Listeners]]:
        # Reserved topics are matched only by patterns that begin with a reserved component.
        first = pattern.components[0] if pattern.components else pattern.literal
        if first is None or not first.startswith("wamp"):
            return []
        return [
            ((realm, kind), found)
            for kind, topics in ALL_META_EVENTS.items()
            if any(map(pattern.matches, topics)) and (found := self._find(realm, kind)) is not None
        ]

    # Subscriptions

    def added(self, realm: str, pattern: Pattern) -> None:
        """Note that a peer has subscribed."""
        for key, listeners in self._matched(realm, pattern):
            listeners.count += 1
            if listeners.count == 1:
                listeners.ready = False
                self._announce(key, listeners)

    def removed(self, realm: str, pattern: Pattern) -> None:
        """Undo `added`."""
        for key, listeners in self._matched(realm, pattern):
            listeners.count -= 1
            if not listeners.count:
                listeners.waiting.clear()
                self._announce(key, listeners)

    def holds(self, peer: Peer, subscribe: Subscribe) -> bool:
        """Whether a request, which is noted, has to wait until `listened` returns it."""
        if not subscribe.pattern.startswith("wamp", 1) or subscribe.once or not subscribe.token:
            return False
        for _, listeners in self._matched(subscribe.realm, Pattern.parse(subscribe.pattern)):
            if not listeners.ready:
                listeners.waiting[peer, subscribe.token] = subscribe
                return True
        return False

    def give_up(self, peer: Peer, token: int) -> None:
        """Forget a request, if it waits."""
        for listeners in self._of.values():
            listeners.waiting.pop((peer, token), None)

    def link_broken(self, peer: Peer) -> None:
        """Forget the peer's requests: the peer asks again in the next pair."""
        for listeners in self._of.values():
            for place in [place for place in listeners.waiting if place[0] is peer]:
                del listeners.waiting[place]

    # The coordinator

    def _announce(self, key: Key, listeners: _Listeners) -> None:
        """Tell the coordinator that the listeners are the first ones, or that there are none."""
        if not self._synced:
            return
        listeners.number = self._clock.next() if listeners.count else 0
        coordinator = self._peers.get(COORDINATOR)
        if coordinator is not None:
            coordinator.reply(Listening(*key, listeners.number))

    def sync_ended(self) -> None:
        """Tell the coordinator who listens: every gateway has replayed its subscriptions."""
        if not self._synced:
            self._synced = True
            for key, listeners in self._of.items():
                self._announce(key, listeners)

    def announcements(self) -> list[Listening]:
        """Return what the coordinator must know when its link opens."""
        if not self._synced:
            return []
        return [Listening(*key, listeners.number) for key, listeners in self._of.items()]

    def listened(self, frame: Listened) -> dict[tuple[Peer, int], Subscribe]:
        """Take out the requests that have waited for the coordinator, by peer and token.

        A pattern may match several kinds of events. Such a request waits for the next kind then.
        """
        listeners = self._of.get((frame.realm, frame.kind))
        if listeners is None or listeners.number != frame.number:
            return {}
        listeners.ready = True
        waiting, listeners.waiting = listeners.waiting, {}
        return {place: one for place, one in waiting.items() if not self.holds(place[0], one)}
