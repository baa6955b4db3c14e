"""Publish and subscribe on one shard.

Owns: which gateway wants which topics. Never: sockets, clocks, who of a gateway's sessions gets an
event, what becomes of keys (see `retention`).
"""

from typing import final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RECORDED,
    Again,
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
from fox_shard.shard.realms import Outboxes, Realm, Realms
from fox_shard.shard.retention import Change
from fox_shard.topics.pattern import Pattern

RELIABLE = ACKNOWLEDGE | RECORDED
"""Publications whose events are sent again to a gateway whose link was broken."""


@final
class Broker:
    """All realms' subscriptions on this shard."""

    __slots__ = ("_clock", "_known", "realms")

    def __init__(self, realms: Realms, clock: PublicationClock) -> None:
        self._clock = clock
        self._known = realms.known
        self.realms = realms

    # Events

    def publish(self, publish: Publish, replies: list[Frame]) -> None:
        """Send the event, which changes no key, to each gateway that wants it, once.

        replies: gets the `Published` that goes out when the event has passed.
        """
        self.send(Event(self._clock.next(), publish), replies)

    def tell(self, effect: Event | Change, replies: list[Frame]) -> None:
        """What a publish, or time, has done. replies: as in `publish`."""
        if isinstance(effect, Event):
            self.send(effect, replies)
        elif effect.event is not None:
            self.send(effect.event, replies)

    def send(self, event: Event, replies: list[Frame]) -> None:
        """As `publish`, for an event that has its id."""
        publish = event.publish
        realm = self._known.get(publish.realm) or self.realms[publish.realm]
        outboxes = realm.outboxes.entries.get(publish.topic)
        if outboxes is None:
            outboxes = self._match(realm, publish.topic)
        if not publish.flags & RELIABLE:
            for outbox, _ in outboxes:
                outbox.append(event)
            return
        for outbox, reliable in outboxes:
            # As `Link.send_reliable`.
            reliable.append(len(outbox))
            outbox.append(event)
        if not publish.flags & ACKNOWLEDGE:
            return
        last = replies[-1] if replies else None
        if type(last) is Published and last.session == publish.session:
            last.requests.append(publish.request)
            last.publications.append(event.publication)
        else:
            replies.append(Published(publish.session, [publish.request], [event.publication]))

    def send_again(self, event: Event, replies: list[Frame]) -> None:
        """An event that has its effect already, to whoever may have missed it."""
        publish = event.publish
        for peer in self.realms[publish.realm].subscribers.match(publish.topic):
            peer.link.send_reliable(Again(event))
        if publish.flags & ACKNOWLEDGE:
            replies.append(Published(publish.session, [publish.request], [event.publication]))

    def _match(self, realm: Realm, topic: str) -> Outboxes:
        matched = tuple(
            (peer.link.outbox, peer.link.reliable) for peer in realm.subscribers.match(topic)
        )
        realm.outboxes.put(topic, matched)
        return matched

    # Subscriptions

    def subscribe(self, peer: Peer, subscribe: Subscribe) -> None:
        """Idempotent. Sends the keys that match, if asked to, then `Subscribed`."""
        realm = self.realms[subscribe.realm]
        pattern = Pattern.parse(subscribe.pattern)
        peer.stale.discard((subscribe.realm, subscribe.pattern))
        if (subscribe.realm, subscribe.pattern) not in peer.subscriptions:
            peer.subscriptions[subscribe.realm, subscribe.pattern] = pattern
            realm.subscribers.add(pattern, peer)
            realm.outboxes.drop(pattern)
        if subscribe.replay:
            for event in realm.keys.durable(pattern):
                peer.link.send(Retained(subscribe.token, event))
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
