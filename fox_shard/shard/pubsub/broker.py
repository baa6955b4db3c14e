"""Delivery of events and key changes to the gateways that subscribed.

Owns: which frames each gateway is sent. Never: who has subscribed (see `subscriptions`); which of a
gateway's sessions get an event; what becomes of keys (see `retained`).
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final, final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    QOS1,
    QOS2,
    RECORDED,
    RELIABLE_EVENT,
    RETAIN,
    Again,
    Event,
    Frame,
    Publish,
    Published,
)
from fox_shard.documents.payloads import NONE
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.change import DELETED, KeyChange
from fox_shard.shard.keys.retained import changes_key
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.realms import RealmIndex, RealmIndexes
from fox_shard.shard.pubsub.selectors import Selector, select, select_again, select_change
from fox_shard.shard.rows import KeyRef

RELIABLE = ACKNOWLEDGE | RECORDED | RETAIN | QOS1 | QOS2 | RELIABLE_EVENT
"""Flags of publications whose events are sent as reliable frames: their publishers have been, or
will be, told that they were published, or nobody would ever correct what a subscriber has missed.
"""


COMPARISONS_PER_UNIT: Final = 4
"""Comparisons of an event with what filters want that cost a unit of the turn's budget."""

_comparisons = attrgetter("comparisons")


@final
class Broker:
    """The broker of all realms on this shard."""

    __slots__ = ("_budget", "_clock", "_known", "_unannounced", "realms")

    def __init__(
        self,
        realms: RealmIndexes,
        clock: PublicationClock,
        unannounced: UnannouncedChanges,
        budget: Budget,
    ) -> None:
        """budget: the turn's, which pays for filters."""
        self._budget = budget
        self._clock = clock
        self._known = realms.known
        self.realms = realms
        self._unannounced = unannounced

    def publish(self, publish: Publish, replies: list[Frame]) -> None:
        """Send the event of a publish that changes no key, once to each gateway that wants it.

        replies: the list to which `Published` is added, to be sent when the event is delivered.
        """
        self.send(Event(self._clock.next(), publish), replies)

    def deliver(self, effect: Event | KeyChange, replies: list[Frame]) -> None:
        """Send an event, or a key change with its event, to the gateways concerned.

        replies: as in `publish`.
        """
        if isinstance(effect, Event):
            self.send(effect, replies)
            return
        if effect.event is not None:
            self.send(effect.event, replies)
        index = self.realms[effect.ref[0]]
        announced_to: list[Peer] = []
        if index.observers:
            selectors = index.selectors(effect.ref[1])
            self._spend(selectors)
            for peer, frame in select_change(selectors, effect, index.realm.document_of):
                peer.link.send_reliable(frame)
                announced_to.append(peer)
        if effect.unannounced:
            if effect.computed:
                announced_to += index.subscribers.match(effect.ref[1])
            self._unannounced.announced(effect, announced_to)

    def _spend(self, selectors: Iterable[Selector]) -> None:
        self._budget.spend(sum(map(_comparisons, selectors)) // COMPARISONS_PER_UNIT)

    def send(self, event: Event, replies: list[Frame]) -> None:
        """Send an event that already has its id; otherwise like `publish`."""
        publish = event.publish
        index = self._known.get(publish.realm) or self.realms[publish.realm]
        if index.observers:
            self._send_to_observers(index, event)
        outboxes = index.outboxes.entries.get(publish.topic)
        if outboxes is None:
            outboxes = index.match(publish.topic)
        if not publish.flags & RELIABLE:
            for outbox, _ in outboxes:
                outbox.append(event)
            return
        for outbox, reliable in outboxes:
            # `Link.send_reliable`, inlined for speed.
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
        """Send an event that took effect before a restart to all who may have missed it."""
        publish = event.publish
        index = self.realms[publish.realm]
        for peer in index.subscribers.match(publish.topic):
            peer.link.send_reliable(Again(event))
        if index.observers:
            self._send_again_to_selectors(index, event)
        if publish.flags & ACKNOWLEDGE:
            replies.append(Published(publish.session, [publish.request], [event.publication]))

    def _send_to_observers(self, index: RealmIndex, event: Event) -> None:
        """Send the topic's key to the replays, then the event to the selectors that it is for."""
        publish, realm = event.publish, index.realm
        if realm.keys.durable_value(publish.topic) is not None:
            # Without a key, a replay has nothing to show before the event.
            realm.precede(publish.topic)
        selectors = index.selectors(publish.topic)
        self._spend(selectors)
        for peer, frame in select(selectors, event, realm.document_of):
            if publish.flags & RELIABLE:
                peer.link.send_reliable(frame)
            else:
                peer.link.send(frame)

    @staticmethod
    def _send_again_to_selectors(index: RealmIndex, event: Event) -> None:
        """Send the event and, if it changed its key, the key's state to selectors as `Again`."""
        publish, documents = event.publish, index.realm.document_of
        # Followers are left out: their gateways ask for what they have missed (`Subscribe`).
        selectors = [selector for selector in index.selectors(publish.topic) if not selector.follow]
        again = select(selectors, event, documents)
        if changes_key(publish):
            removed = DELETED if publish.flags & EMPTY else ""
            again += select_again(selectors, event, documents, removed)
        for peer, frame in again:
            peer.link.send_reliable(Again(frame))

    def announce_state_again(self) -> Iterator[None]:
        """Send the state of keys whose changes may not have been announced before the restart.

        Called after the peers have replayed. Each step is for one key.
        """
        for ref, row in self._unannounced.take_loaded().items():
            index = self.realms[ref[0]]
            key = index.realm.keys.durable_value(ref[1])
            publication, removed = row.publication, row.removed
            if not publication:
                publication = self._clock.next()
            event = key or Event(publication, _empty_publish(ref))
            selectors, documents = index.selectors(ref[1]), index.realm.document_of
            again = select_again(selectors, event, documents, removed if key is None else "")
            for peer, frame in again:
                peer.link.send_reliable(Again(frame))
            peers = [peer for peer, _ in again]
            if row.computed:
                peers += self._send_event_again(index, event)
            self._unannounced.announced_again(ref, peers)
            yield

    @staticmethod
    def _send_event_again(index: RealmIndex, event: Event) -> list[Peer]:
        """Send an event to all plain subscribers that may have missed it; return their peers."""
        peers = [*index.subscribers.match(event.publish.topic)]
        for peer in peers:
            peer.link.send_reliable(Again(event))
        return peers


def _empty_publish(ref: KeyRef) -> Publish:
    """Return an empty publish for a removed key, whose last value is not known any more."""
    realm, topic = ref
    return Publish(realm, topic, session=0, request=0, order=0, flags=0, encoding=NONE, args=b"")
