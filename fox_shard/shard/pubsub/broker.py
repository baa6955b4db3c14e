"""What gateways are sent of events, and of changes of keys.

Owns: which frames these are. Never: who has subscribed (see `subscriptions`); who of a gateway's
sessions gets an event; what becomes of keys (see `retained`).
"""

from typing import final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RECORDED,
    Again,
    Event,
    Frame,
    Publish,
    Published,
)
from fox_shard.documents.payloads import NONE
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.change import DELETED, Change
from fox_shard.shard.keys.retained import changes_key
from fox_shard.shard.keys.unannounced import Untold
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.realms import RealmIndex, RealmIndexes
from fox_shard.shard.pubsub.selectors import select, select_again, select_change
from fox_shard.shard.rows import Place

RELIABLE = ACKNOWLEDGE | RECORDED
"""Publications whose events are sent again to a gateway whose link was broken."""


@final
class Broker:
    """Of all realms on this shard."""

    __slots__ = ("_clock", "_known", "_untold", "realms")

    def __init__(self, realms: RealmIndexes, clock: PublicationClock, untold: Untold) -> None:
        self._clock = clock
        self._known = realms.known
        self.realms = realms
        self._untold = untold

    def publish(self, publish: Publish, replies: list[Frame]) -> None:
        """Send the event, which changes no key, to each gateway that wants it, once.

        replies: gets the `Published` that goes out when the event has passed.
        """
        self.send(Event(self._clock.next(), publish), replies)

    def tell(self, effect: Event | Change, replies: list[Frame]) -> None:
        """What a publish, or time, has done. replies: as in `publish`."""
        if isinstance(effect, Event):
            self.send(effect, replies)
            return
        if effect.event is not None:
            self.send(effect.event, replies)
        index = self.realms[effect.place[0]]
        told: list[Peer] = []
        if index.attentive:
            selectors = index.selectors(effect.place[1])
            for peer, frame in select_change(selectors, effect, index.realm.document_of):
                peer.link.send_reliable(frame)
                told.append(peer)
        if effect.noted:
            self._untold.told(effect, told)

    def send(self, event: Event, replies: list[Frame]) -> None:
        """As `publish`, for an event that has its id."""
        publish = event.publish
        index = self._known.get(publish.realm) or self.realms[publish.realm]
        if index.attentive:
            self._attend(index, event)
        outboxes = index.outboxes.entries.get(publish.topic)
        if outboxes is None:
            outboxes = index.match(publish.topic)
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
        index = self.realms[publish.realm]
        for peer in index.subscribers.match(publish.topic):
            peer.link.send_reliable(Again(event))
        if index.attentive:
            self._attend_again(index, event)
        if publish.flags & ACKNOWLEDGE:
            replies.append(Published(publish.session, [publish.request], [event.publication]))

    @staticmethod
    def _attend(index: RealmIndex, event: Event) -> None:
        """Whatever there is to do besides sending it to those who want all events."""
        publish, realm = event.publish, index.realm
        if realm.keys.durable_value(publish.topic) is not None:
            # Else there is nothing to be shown, and nothing to be kept in mind.
            realm.precede(publish.topic)
        for peer, frame in select(index.selectors(publish.topic), event, realm.document_of):
            if publish.flags & RELIABLE:
                peer.link.send_reliable(frame)
            else:
                peer.link.send(frame)

    @staticmethod
    def _attend_again(index: RealmIndex, event: Event) -> None:
        publish, documents = event.publish, index.realm.document_of
        # Who follows says himself what he has not seen.
        selectors = [one for one in index.selectors(publish.topic) if not one.follow]
        again = select(selectors, event, documents)
        if changes_key(publish):
            removed = DELETED if publish.flags & EMPTY else ""
            again += select_again(selectors, event, documents, removed)
        for peer, frame in again:
            peer.link.send_reliable(Again(frame))

    def tell_state_again(self) -> None:
        """Everybody has replayed: of what may not have been told before the restart."""
        for place, row in self._untold.take_loaded().items():
            index = self.realms[place[0]]
            key = index.realm.keys.durable_value(place[1])
            publication, removed = row.publication, row.removed
            if not publication:
                publication = self._clock.next()
            event = key or Event(publication, _nothing(place))
            selectors, documents = index.selectors(place[1]), index.realm.document_of
            again = select_again(selectors, event, documents, removed if key is None else "")
            for peer, frame in again:
                peer.link.send_reliable(Again(frame))
            self._untold.told_again(place, [peer for peer, _ in again])


def _nothing(place: Place) -> Publish:
    """In the place of a value that is known no more."""
    realm, topic = place
    return Publish(realm, topic, session=0, request=0, order=0, flags=0, encoding=NONE, args=b"")
