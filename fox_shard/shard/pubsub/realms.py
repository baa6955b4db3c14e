"""Indexes of the realms: which subscriptions match a topic.

Owns: the subscribers and selectors that match a topic, and the caches of them. Never: which peer
has subscribed to what (see `subscriptions`); what is sent (see `broker`).
"""

from typing import final

from fox_shard.backplane.frames import Frame
from fox_shard.shard.keys.realm import Realm, Realms
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.replay import Replay
from fox_shard.shard.pubsub.selectors import Selector
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie

Outboxes = tuple[tuple[list[Frame], list[int]], ...]

MATCHES_LIMIT = 100_000
"""Topics per realm whose matches are cached."""


@final
class RealmIndex:
    """The subscribers, selectors and replays of one realm. realm: its keys and options."""

    __slots__ = ("_matching", "_selectors", "observers", "outboxes", "realm", "subscribers")

    def __init__(self, realm: Realm) -> None:
        self.realm = realm
        self.subscribers: Trie[Peer] = realm.subscribers
        # Topic -> (outbox, reliable) of each link to a gateway that subscribed to the topic.
        self.outboxes: MatchCache[Outboxes] = MatchCache(MATCHES_LIMIT)
        self._selectors: Trie[Selector] = Trie()
        self._matching: MatchCache[tuple[Selector, ...]] = MatchCache(MATCHES_LIMIT)
        # The number of selectors and running replays; 0: events only go to plain subscribers.
        self.observers = 0

    # Matching

    def match(self, topic: str) -> Outboxes:
        """Compute and cache where events on the topic go; callers ask `outboxes` first."""
        matched = tuple(
            (peer.link.outbox, peer.link.reliable) for peer in self.subscribers.match(topic)
        )
        self.outboxes.put(topic, matched)
        return matched

    def selectors(self, topic: str) -> tuple[Selector, ...]:
        """Return the selectors whose patterns match."""
        selectors = self._matching.entries.get(topic)
        if selectors is None:
            selectors = tuple(self._selectors.match(topic))
            self._matching.put(topic, selectors)
        return selectors

    # Changes

    def add(self, peer: Peer, pattern: Pattern) -> None:
        """Send all events on the pattern's topics to the peer."""
        self.subscribers.add(pattern, peer)
        self.outboxes.drop(pattern)

    def remove(self, peer: Peer, pattern: Pattern) -> None:
        """Undo `add`."""
        self.subscribers.remove(pattern, peer)
        self.outboxes.drop(pattern)

    def add_selector(self, selector: Selector) -> None:
        """Add a selector: some events, or the changes of keys, are for its peer."""
        self._selectors.add(selector.pattern, selector)
        self._matching.drop(selector.pattern)
        self.observers += 1
        self.realm.state_selectors += selector.state

    def remove_selector(self, selector: Selector) -> None:
        """Undo `select`."""
        self._selectors.remove(selector.pattern, selector)
        self._matching.drop(selector.pattern)
        self.observers -= 1
        self.realm.state_selectors -= selector.state

    def add_replay(self, replay: Replay) -> None:
        """Let the replay send a topic's key before something happens to the topic."""
        self.realm.before_change.add(replay.pattern, replay.precede)
        self.observers += 1

    def remove_replay(self, replay: Replay) -> None:
        """Undo `begin`."""
        self.realm.before_change.remove(replay.pattern, replay.precede)
        self.observers -= 1


@final
class RealmIndexes:
    """The indexes of all realms, by name."""

    __slots__ = ("_realms", "known")

    def __init__(self, realms: Realms) -> None:
        self._realms = realms
        # Indexes of the realms that have been used; read directly where speed counts.
        self.known: dict[str, RealmIndex] = {}

    def __getitem__(self, name: str) -> RealmIndex:
        index = self.known.get(name)
        if index is None:
            index = self.known[name] = RealmIndex(self._realms[name])
        return index
