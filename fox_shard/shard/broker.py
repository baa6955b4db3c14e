"""Publish and subscribe on one shard.

Owns: which gateway wants which topics, and the retained keys. Never: sockets, clocks, who of a
gateway's sessions gets an event.
"""

from collections import deque
from collections.abc import Collection
from typing import final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    RECORDED,
    RETAIN,
    Again,
    Event,
    Frame,
    Keep,
    Publish,
    Published,
    Retained,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.expiry import Expiry, Place
from fox_shard.shard.keys import Keys
from fox_shard.shard.owners import Owners
from fox_shard.shard.peer import Peer
from fox_shard.store.journal import Journal
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie

Outboxes = tuple[tuple[list[Frame], list[int]], ...]

MATCHES_LIMIT = 100_000
"""Topics whose subscribers are remembered, per realm."""

RELIABLE = ACKNOWLEDGE | RECORDED
"""Publications whose events are sent again to a gateway whose link was broken."""

EXPIRED_AT_ONCE = 1000
"""Keys that are erased before others get their turn."""

SHORTLY = 0.05
"""Seconds until a key is looked at again that was changing when its time came."""

UNSTORED = "$"
"""Topics that begin with it are the server's own: it tells them again after a restart."""


@final
class Topics:
    """The topics of one realm on this shard. stored: its keys are rows of the store."""

    __slots__ = ("keys", "outboxes", "stored", "subscribers")

    def __init__(self, *, stored: bool) -> None:
        self.subscribers: Trie[Peer] = Trie()
        # Topic -> (outbox, reliable) of the links to the gateways that want it.
        self.outboxes: MatchCache[Outboxes] = MatchCache(MATCHES_LIMIT)
        self.keys = Keys()
        self.stored = stored


@final
class Broker:
    """All realms' topics on this shard."""

    __slots__ = ("_changing", "_clock", "_expiry", "_journal", "_unstored", "owners", "realms")

    def __init__(
        self, clock: PublicationClock, journal: Journal, unstored: Collection[str]
    ) -> None:
        """unstored: realms whose keys are in memory only."""
        self._clock = clock
        self._journal = journal
        self._unstored = unstored
        self.realms: dict[str, Topics] = {}
        # Keys that have changed in transactions that are not durable.
        self._changing: deque[tuple[int, Keys, str]] = deque()
        self._expiry = Expiry()
        self.owners = Owners()

    def _topics(self, realm: str) -> Topics:
        topics = self.realms.get(realm)
        if topics is None:
            topics = self.realms[realm] = Topics(stored=realm not in self._unstored)
        return topics

    @property
    def keys_held(self) -> int:
        """How many there are, in all realms."""
        return sum(len(topics.keys) for topics in self.realms.values())

    # Events

    def publish(self, publish: Publish, replies: list[Frame]) -> None:
        """Send the event, which changes no key, to each gateway that wants it, once.

        replies: gets the `Published` that goes out when the event has passed.
        """
        self.send(Event(self._clock.next(), publish), replies)

    def send(self, event: Event, replies: list[Frame]) -> None:
        """As `publish`, for an event that has its id."""
        publish = event.publish
        topics = self.realms.get(publish.realm) or self._topics(publish.realm)
        outboxes = topics.outboxes.entries.get(publish.topic)
        if outboxes is None:
            outboxes = self._match(topics, publish.topic)
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
        for peer in self._topics(publish.realm).subscribers.match(publish.topic):
            peer.link.send_reliable(Again(event))
        if publish.flags & ACKNOWLEDGE:
            replies.append(Published(publish.session, [publish.request], [event.publication]))

    def _match(self, topics: Topics, topic: str) -> Outboxes:
        matched = tuple(
            (peer.link.outbox, peer.link.reliable) for peer in topics.subscribers.match(topic)
        )
        topics.outboxes.put(topic, matched)
        return matched

    # Keys

    def key(self, publish: Publish) -> Event | None:
        """The key of the publish's topic, durable or not."""
        return self._topics(publish.realm).keys.get(publish.topic)

    def is_stored(self, publish: Publish) -> bool:
        """Does the publish change a row of the store, or depend on one?"""
        return (
            (_changes_key(publish) or publish.flags & CONDITION > 0)
            and self._topics(publish.realm).stored
            and not publish.topic.startswith(UNSTORED)
        )

    def change(self, publish: Publish, peer: Peer) -> Event:
        """Give the publish its id, and let it change the key that is to be stored, if it does.

        peer: the publisher's gateway.
        """
        event = Event(self._clock.next(), publish)
        if publish.keep is not None:
            publish.keep = self._kept(publish, publish.keep, peer)
        if not _changes_key(publish):
            return event
        keys = self._topics(publish.realm).keys
        value = _value(event)
        if self.is_stored(publish):
            ticket = self._journal.ticket
            keys.change(publish.topic, value, ticket)
            self._changing.append((ticket, keys, publish.topic))
            row = rows.key(publish.realm, publish.topic)
            self._journal.put(row, None if value is None else rows.encode(value))
        else:
            keys.set(publish.topic, value)
        return event

    def load(self, realm: str, event: Event) -> None:
        """A key from the store, unless it has expired."""
        topics = self._topics(realm)
        keep = event.publish.keep
        if not topics.stored:
            return
        if keep is not None and 0 < keep.expires <= self._clock.wall:
            self._journal.drop(rows.key(realm, event.publish.topic))
            return
        if keep is not None:
            self._plan(event.publish, keep)
        topics.keys.set(event.publish.topic, event)

    # Keys that go by themselves

    def _kept(self, publish: Publish, keep: Keep, peer: Peer) -> Keep | None:
        """What is left of it when the condition has been met: when the key is to go."""
        if not (keep.seconds or keep.weak) or not _changes_key(publish):
            return None
        kept = Keep(expires=self._clock.wall + keep.seconds if keep.seconds else 0.0)
        if keep.weak:
            kept.weak, kept.gateway = True, peer.name
            kept.incarnation = peer.link.peer_incarnation
        self._plan(publish, kept)
        return kept

    def _plan(self, publish: Publish, keep: Keep) -> None:
        place = (publish.realm, publish.topic)
        if keep.expires:
            self._expiry.plan(place, keep.expires)
        if keep.weak:
            self.owners.add(keep.gateway, keep.incarnation, publish.session, place)

    @property
    def next_expiry(self) -> float:
        """When `expire` has something to do, in seconds since 1970."""
        return self._expiry.next

    def expire(self, wall: float) -> None:
        """Erase keys whose time has come, some of them at a time."""
        for realm, topic in self._expiry.due(wall, EXPIRED_AT_ONCE):
            topics = self._topics(realm)
            event = topics.keys.get(topic)
            expires = 0.0 if event is None else _expires(event)
            if not expires:
                continue
            if expires > wall:
                self._expiry.plan((realm, topic), expires)
            else:
                self._erase((realm, topic))

    def _erase(self, place: Place) -> bool:
        """For good; if it is changing just now, when that is over. Returns whether a row is."""
        realm, topic = place
        topics = self._topics(realm)
        if topics.keys.is_changing(topic):
            self._expiry.plan(place, self._clock.wall + SHORTLY)
            return False
        topics.keys.set(topic, None)
        if topics.stored:
            self._journal.keep(rows.key(realm, topic), None)
        return topics.stored

    def session_left(self, session: int) -> bool:
        """Erase the keys that are its own. Returns whether rows are erased."""
        erased = False
        for place in self.owners.take(session):
            event = self._topics(place[0]).keys.get(place[1])
            keep = None if event is None else event.publish.keep
            if event and keep and keep.weak and event.publish.session == session:
                # If it cannot be erased at once, it expires.
                keep.expires = self._clock.wall
                erased |= self._erase(place)
        return erased

    def gateway_left(self, gateway: str, incarnation: int) -> None:
        """All sessions of that gateway have ended but those of this incarnation (0: those, too)."""
        for session in self.owners.of_others(gateway, incarnation):
            self.session_left(session)

    def settle(self, ticket: int) -> None:
        """Transactions up to that one are durable."""
        changing = self._changing
        while changing and changing[0][0] <= ticket:
            _, keys, topic = changing.popleft()
            keys.settle(topic, ticket)

    def undo(self) -> None:
        """All transactions that are not durable have failed."""
        for _, keys, topic in self._changing:
            keys.undo(topic)
        self._changing.clear()

    # Subscriptions

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
            for event in topics.keys.durable(pattern):
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


def _changes_key(publish: Publish) -> bool:
    if not publish.flags & RETAIN:
        return False
    audience = publish.audience
    # Limited to sessions of now, it means nothing to a late joiner.
    return audience is None or (audience.eligible is None and audience.exclude is None)


def _expires(event: Event) -> float:
    """Seconds since 1970, 0: never."""
    keep = event.publish.keep
    return keep.expires if keep is not None else 0.0


def _value(event: Event) -> Event | None:
    """What the key holds: it outlives the order in which it was published, so no fence."""
    publish = event.publish
    if publish.flags & EMPTY:
        return None
    if publish.fence is None:
        return event
    return Event(
        event.publication,
        Publish(
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
            None,
            publish.keep,
        ),
    )
