"""The realms, as far as it goes who wants their topics.

Owns: by topic, whose subscriptions and selections match, and what of that is remembered. Never:
whose they are (see `subscriptions`); what is sent (see `broker`).
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
"""Topics whose subscribers are remembered, per realm."""


@final
class RealmIndex:
    """One realm's topics. realm: its keys, and its options."""

    __slots__ = ("_selectors", "attentive", "outboxes", "realm", "selections", "subscribers")

    def __init__(self, realm: Realm) -> None:
        self.realm = realm
        self.subscribers: Trie[Peer] = Trie()
        # Topic -> (outbox, reliable) of the links to the gateways that want it.
        self.outboxes: MatchCache[Outboxes] = MatchCache(MATCHES_LIMIT)
        self._selectors: Trie[Selector] = Trie()
        self.selections: MatchCache[tuple[Selector, ...]] = MatchCache(MATCHES_LIMIT)
        # Selectors and replays: is there more to do for an event than to send it?
        self.attentive = 0

    # Who wants a topic

    def match(self, topic: str) -> Outboxes:
        """Where its events go; remembered in `outboxes`, which is looked into first."""
        matched = tuple(
            (peer.link.outbox, peer.link.reliable) for peer in self.subscribers.match(topic)
        )
        self.outboxes.put(topic, matched)
        return matched

    def selectors(self, topic: str) -> tuple[Selector, ...]:
        """Those whose patterns match."""
        selectors = self.selections.entries.get(topic)
        if selectors is None:
            selectors = tuple(self._selectors.match(topic))
            self.selections.put(topic, selectors)
        return selectors

    # What changes that

    def add(self, peer: Peer, pattern: Pattern) -> None:
        """The peer wants all events."""
        self.subscribers.add(pattern, peer)
        self.outboxes.drop(pattern)

    def remove(self, peer: Peer, pattern: Pattern) -> None:
        """It was added."""
        self.subscribers.remove(pattern, peer)
        self.outboxes.drop(pattern)

    def select(self, selector: Selector) -> None:
        """A peer wants some events, or what becomes of keys."""
        self._selectors.add(selector.pattern, selector)
        self.selections.drop(selector.pattern)
        self.attentive += 1
        self.realm.states += selector.state

    def deselect(self, selector: Selector) -> None:
        """It was added by `select`."""
        self._selectors.remove(selector.pattern, selector)
        self.selections.drop(selector.pattern)
        self.attentive -= 1
        self.realm.states -= selector.state

    def begin(self, replay: Replay) -> None:
        """From now on the replay precedes what happens to its topics."""
        self.realm.before.append(replay.precede)
        self.attentive += 1

    def end(self, replay: Replay) -> None:
        """It was begun."""
        self.realm.before.remove(replay.precede)
        self.attentive -= 1


@final
class RealmIndexes:
    """Of all realms, by name."""

    __slots__ = ("_realms", "known")

    def __init__(self, realms: Realms) -> None:
        self._realms = realms
        # Those that something has happened in; read directly where speed counts.
        self.known: dict[str, RealmIndex] = {}

    def __getitem__(self, name: str) -> RealmIndex:
        index = self.known.get(name)
        if index is None:
            index = self.known[name] = RealmIndex(self._realms[name])
        return index
