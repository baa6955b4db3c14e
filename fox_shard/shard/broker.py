"""Publish and subscribe on one shard.

Owns: which gateway wants which topics, and the retained keys. Never: sockets, clocks, who of a
gateway's sessions gets an event.
"""

from typing import final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Event,
    Frame,
    Publish,
    Published,
    Retained,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.peer import Peer
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.keytree import KeyTree
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie

Outboxes = tuple[tuple[list[Frame], list[int]], ...]

MATCHES_LIMIT = 100_000
"""Topics whose subscribers are remembered, per realm."""


@final
class Topics:
    """The topics of one realm on this shard."""

    __slots__ = ("keys", "outboxes", "subscribers", "tree")

    def __init__(self) -> None:
        self.subscribers: Trie[Peer] = Trie()
        # Topic -> (outbox, reliable) of the links to the gateways that want it.
        self.outboxes: MatchCache[Outboxes] = MatchCache(MATCHES_LIMIT)
        self.keys: dict[str, Event] = {}
        self.tree = KeyTree()


@final
class Broker:
    """All realms' topics on this shard."""

    __slots__ = ("_clock", "keys_held", "realms")

    def __init__(self, clock: PublicationClock) -> None:
        self._clock = clock
        self.realms: dict[str, Topics] = {}
        self.keys_held = 0

    def _topics(self, realm: str) -> Topics:
        topics = self.realms.get(realm)
        if topics is None:
            topics = self.realms[realm] = Topics()
        return topics

    def publish(self, publish: Publish, replies: list[Frame]) -> None:
        """Send the event to each gateway that wants it, once; keep it if it is to be retained.

        replies: gets the `Published` that goes out when the event has passed.
        """
        topics = self.realms.get(publish.realm) or self._topics(publish.realm)
        outboxes = topics.outboxes.entries.get(publish.topic)
        if outboxes is None:
            outboxes = self._match(topics, publish.topic)
        event = Event(self._clock.next(), publish)
        flags = publish.flags
        if flags & RETAIN:
            self._retain(topics, event)
        if not flags & ACKNOWLEDGE:
            for outbox, _ in outboxes:
                outbox.append(event)
        else:
            for outbox, reliable in outboxes:
                # As `Link.send_reliable`.
                reliable.append(len(outbox))
                outbox.append(event)
            last = replies[-1] if replies else None
            if type(last) is Published and last.session == publish.session:
                last.requests.append(publish.request)
                last.publications.append(event.publication)
            else:
                replies.append(Published(publish.session, [publish.request], [event.publication]))

    def _match(self, topics: Topics, topic: str) -> Outboxes:
        matched = tuple(
            (peer.link.outbox, peer.link.reliable) for peer in topics.subscribers.match(topic)
        )
        topics.outboxes.put(topic, matched)
        return matched

    def _retain(self, topics: Topics, event: Event) -> None:
        publish = event.publish
        audience = publish.audience
        if audience and (audience.eligible is not None or audience.exclude is not None):
            return  # limited to sessions of now: it means nothing to a late joiner
        had = publish.topic in topics.keys
        if publish.flags & EMPTY:
            if had:
                del topics.keys[publish.topic]
                topics.tree.discard(publish.topic)
                self.keys_held -= 1
            return
        topics.keys[publish.topic] = Event(event.publication, _without_fence(publish))
        if not had:
            topics.tree.add(publish.topic)
            self.keys_held += 1

    def subscribe(self, peer: Peer, subscribe: Subscribe) -> None:
        """Idempotent. Sends the keys that match, if asked to, then `Subscribed`."""
        topics = self._topics(subscribe.realm)
        pattern = Pattern.parse(subscribe.pattern)
        peer.stale.discard((subscribe.realm, subscribe.pattern))
        if (subscribe.realm, subscribe.pattern) not in peer.subscriptions:
            peer.subscriptions[subscribe.realm, subscribe.pattern] = pattern
            topics.subscribers.add(pattern, peer)
            topics.outboxes.drop(pattern)
        if subscribe.replay:
            for topic in topics.tree.match(pattern):
                peer.link.send(Retained(subscribe.token, topics.keys[topic]))
        if subscribe.token:
            peer.link.send(Subscribed(subscribe.token))

    def told_again(self, peer: Peer) -> None:
        """The peer is back and has told its subscriptions: others that it had are no more."""
        for realm, text in peer.stale:
            self._remove(realm, peer.subscriptions.pop((realm, text)), peer)
        peer.stale.clear()

    def unsubscribe(self, peer: Peer, unsubscribe: Unsubscribe) -> None:
        """What was not subscribed to is ignored."""
        pattern = peer.subscriptions.pop((unsubscribe.realm, unsubscribe.pattern), None)
        if pattern is not None:
            self._remove(unsubscribe.realm, pattern, peer)

    def _remove(self, realm: str, pattern: Pattern, peer: Peer) -> None:
        topics = self.realms[realm]
        topics.subscribers.remove(pattern, peer)
        topics.outboxes.drop(pattern)

    def forget(self, peer: Peer) -> None:
        """Drop all of the peer's subscriptions."""
        for (realm, _), pattern in peer.subscriptions.items():
            self._remove(realm, pattern, peer)
        peer.subscriptions.clear()
        peer.stale.clear()


def _without_fence(publish: Publish) -> Publish:
    """A key outlives the order in which it was published."""
    if publish.fence is None:
        return publish
    return Publish(
        publish.realm,
        publish.topic,
        publish.session,
        publish.request,
        publish.order,
        publish.flags,
        publish.encoding,
        publish.args,
        publish.kwargs,
        publish.publisher,
        publish.audience,
    )
