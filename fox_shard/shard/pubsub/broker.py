"""Publish and subscribe on one shard.

Owns: which gateway wants which topics. Never: sockets, clocks, who of a gateway's sessions gets an
event, what becomes of keys (see `retention`).
"""

from typing import final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RECORDED,
    Again,
    CaughtUp,
    Event,
    Frame,
    More,
    NotSubscribed,
    Paused,
    Publish,
    Published,
    Selected,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.documents.payloads import NONE
from fox_shard.errors import HistoryGap
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.cursor import START, Position
from fox_shard.shard.history.histories import Archive
from fox_shard.shard.keys.change import DELETED, Change
from fox_shard.shard.keys.retained import changes_key
from fox_shard.shard.keys.unannounced import Untold
from fox_shard.shard.links.peer import Peer, Wanted
from fox_shard.shard.pubsub.realms import Outboxes, Realm, Realms
from fox_shard.shard.pubsub.replay import PAGE_EVENTS, Replay
from fox_shard.shard.pubsub.selectors import Selector, select, select_again, select_change
from fox_shard.shard.rows import Place
from fox_shard.topics.pattern import Pattern

RELIABLE = ACKNOWLEDGE | RECORDED
"""Publications whose events are sent again to a gateway whose link was broken."""


@final
class Broker:
    """All realms' subscriptions on this shard."""

    __slots__ = ("_archive", "_clock", "_known", "_untold", "realms")

    def __init__(
        self, realms: Realms, clock: PublicationClock, untold: Untold, archive: Archive
    ) -> None:
        self._clock = clock
        self._known = realms.known
        self.realms = realms
        self._untold = untold
        self._archive = archive

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
            return
        if effect.event is not None:
            self.send(effect.event, replies)
        realm = self.realms[effect.place[0]]
        told: list[Peer] = []
        if realm.attentive:
            selectors = self._selectors(realm, effect.place[1])
            for peer, frame in select_change(selectors, effect, realm.document_of):
                peer.link.send_reliable(frame)
                told.append(peer)
        if effect.noted:
            self._untold.told(effect, told)

    def send(self, event: Event, replies: list[Frame]) -> None:
        """As `publish`, for an event that has its id."""
        publish = event.publish
        realm = self._known.get(publish.realm) or self.realms[publish.realm]
        if realm.attentive:
            self._attend(realm, event)
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
        realm = self.realms[publish.realm]
        for peer in realm.subscribers.match(publish.topic):
            peer.link.send_reliable(Again(event))
        if realm.attentive:
            self._attend_again(realm, event)
        if publish.flags & ACKNOWLEDGE:
            replies.append(Published(publish.session, [publish.request], [event.publication]))

    def _attend(self, realm: Realm, event: Event) -> None:
        """Whatever there is to do besides sending it to those who want all events."""
        publish = event.publish
        if realm.keys.durable_value(publish.topic) is not None:
            # Else there is nothing to be shown, and nothing to be kept in mind.
            realm.precede(publish.topic)
        selectors = self._selectors(realm, publish.topic)
        for peer, frame in select(selectors, event, realm.document_of):
            if publish.flags & RELIABLE:
                peer.link.send_reliable(frame)
            else:
                peer.link.send(frame)

    def _attend_again(self, realm: Realm, event: Event) -> None:
        publish, documents = event.publish, realm.document_of
        # Who follows says himself what he has not seen.
        selectors = [one for one in self._selectors(realm, publish.topic) if not one.follow]
        again = select(selectors, event, documents)
        if changes_key(publish):
            removed = DELETED if publish.flags & EMPTY else ""
            again += select_again(selectors, event, documents, removed)
        for peer, frame in again:
            peer.link.send_reliable(Again(frame))

    @property
    def lowest_untold(self) -> int | None:
        """The lowest id that `tell_state_again` is going to tell; None: there is none."""
        return self._untold.lowest

    def tell_state_again(self) -> None:
        """Everybody has replayed: of what may not have been told before the restart."""
        for place, row in self._untold.take_loaded().items():
            realm = self.realms[place[0]]
            key = realm.keys.durable_value(place[1])
            publication, removed = row.publication, row.removed
            if not publication:
                publication = self._clock.next()
            event = key or Event(publication, _nothing(place))
            selectors = self._selectors(realm, place[1])
            erased = key is None
            again = select_again(selectors, event, realm.document_of, removed if erased else "")
            for peer, frame in again:
                peer.link.send_reliable(Again(frame))
            self._untold.told_again(place, [peer for peer, _ in again])

    @staticmethod
    def _selectors(realm: Realm, topic: str) -> tuple[Selector, ...]:
        selectors = realm.selections.entries.get(topic)
        if selectors is None:
            selectors = tuple(realm.selectors.match(topic))
            realm.selections.put(topic, selectors)
        return selectors

    def _match(self, realm: Realm, topic: str) -> Outboxes:
        matched = tuple(
            (peer.link.outbox, peer.link.reliable) for peer in realm.subscribers.match(topic)
        )
        realm.outboxes.put(topic, matched)
        return matched

    # Subscriptions

    def subscribe(self, peer: Peer, subscribe: Subscribe) -> None:
        """From now on the peer gets what it wants. Idempotent."""
        if subscribe.once:
            return
        selection = subscribe.selection
        wanted = (subscribe.realm, subscribe.pattern, 0 if selection is None else selection.id)
        peer.stale.discard(wanted)
        if wanted in peer.subscriptions:
            return
        realm, pattern = self.realms[subscribe.realm], Pattern.parse(subscribe.pattern)
        selector = None if selection is None else Selector(peer, pattern, selection)
        peer.subscriptions[wanted] = selector or pattern
        if selector is None:
            realm.subscribers.add(pattern, peer)
            realm.outboxes.drop(pattern)
        else:
            realm.selectors.add(pattern, selector)
            realm.selections.drop(pattern)
            realm.attentive += 1
            realm.states += selector.state

    def answer(self, peer: Peer, subscribe: Subscribe) -> None:
        """Say that it does, and begin the replay, if there is to be one."""
        if not subscribe.token:
            self._send_missed(peer, subscribe)
            return
        if not (subscribe.replay or subscribe.after is not None):
            peer.link.send(Subscribed(subscribe.token))
            return
        replay = self._new_replay(peer, subscribe)
        if self._is_refused(replay):
            return
        self._begin_replay(replay)
        if subscribe.after is None:
            replay.first_page()
        # Before that no event may come, and the session is not told until all have confirmed.
        peer.link.send(Subscribed(subscribe.token))
        self._end_page(replay)

    @staticmethod
    def _is_refused(replay: Replay) -> bool:
        """It is, if it cannot be complete."""
        oldest = replay.gap()
        if oldest:
            replay.peer.link.send(_refusal(oldest, replay.token))
        return bool(oldest)

    def _send_missed(self, peer: Peer, subscribe: Subscribe) -> None:
        """To who follows and has not seen all that is recorded."""
        selection = subscribe.selection
        if selection is None or not selection.follow or not subscribe.start_id:
            return
        realm, pattern = self.realms[subscribe.realm], Pattern.parse(subscribe.pattern)
        selector = Selector(peer, pattern, selection)
        history, start = self._archive[realm.name], subscribe.start_id
        oldest = history.gap(pattern, Position([start]))
        if oldest:
            peer.link.send_reliable(_refusal(oldest, selection=selection.id))
            return
        while events := history.read(pattern, START, start, PAGE_EVENTS):
            start = events[-1].publication
            for event in events:
                if selector.wants(event, realm.document_of):
                    peer.link.send_reliable(Selected(event, [selector.id], follow=True))

    def told_again(self, peer: Peer) -> None:
        """The peer is back and has told its subscriptions: others that it had are no more."""
        for wanted in sorted(peer.stale):
            self._remove(peer, wanted)
        peer.stale.clear()

    def unsubscribe(self, peer: Peer, unsubscribe: Unsubscribe) -> None:
        """What was not subscribed to is ignored."""
        self._remove(peer, (unsubscribe.realm, unsubscribe.pattern, unsubscribe.selection))

    def _remove(self, peer: Peer, wanted: Wanted) -> None:
        had = peer.subscriptions.pop(wanted, None)
        realm = self.realms[wanted[0]]
        if isinstance(had, Pattern):
            realm.subscribers.remove(had, peer)
            realm.outboxes.drop(had)
        elif had is not None:
            realm.selectors.remove(had.pattern, had)
            realm.selections.drop(had.pattern)
            realm.attentive -= 1
            realm.states -= had.state

    def forget(self, peer: Peer) -> None:
        """Drop all of the peer's subscriptions."""
        for wanted in list(peer.subscriptions):
            self._remove(peer, wanted)
        peer.stale.clear()

    # Replays

    def _new_replay(self, peer: Peer, subscribe: Subscribe) -> Replay:
        realm, pattern = self.realms[subscribe.realm], Pattern.parse(subscribe.pattern)
        selection = subscribe.selection
        selector = None if selection is None else Selector(peer, pattern, selection)
        return Replay(realm, peer, pattern, subscribe, selector, self._archive[realm.name])

    @staticmethod
    def _begin_replay(replay: Replay) -> None:
        replay.peer.replays[replay.token] = replay
        replay.realm.replays.append(replay)
        replay.realm.attentive += 1

    def more(self, peer: Peer, more: More) -> None:
        """The next page; of a replay that has ended: nothing."""
        replay = peer.replays.get(more.token)
        if replay is None:
            return
        if more.enough or self._is_refused(replay):
            self._end_replay(replay)
        else:
            replay.page()
            self._end_page(replay)

    def _end_page(self, replay: Replay) -> None:
        if not replay.done:
            replay.peer.link.send(Paused(replay.token))
        else:
            durable = 0
            if replay.follows:
                durable = self._archive[replay.realm.name].durable(self._clock.last)
            replay.peer.link.send(CaughtUp(replay.token, durable))
            self._end_replay(replay)

    @staticmethod
    def _end_replay(replay: Replay) -> None:
        del replay.peer.replays[replay.token]
        replay.realm.replays.remove(replay)
        replay.realm.attentive -= 1

    def end_replays(self, peer: Peer) -> None:
        """The pair with that peer has ended."""
        for replay in list(peer.replays.values()):
            self._end_replay(replay)


def _refusal(oldest: int, token: int = 0, selection: int = 0) -> NotSubscribed:
    """Of who asks for more than is kept. See the frame."""
    gap = HistoryGap(
        "the history is not complete any more behind what you have seen, but from "
        f"{oldest} on: read the keys, and subscribe after that",
        oldest,
    )
    return NotSubscribed(token, gap.uri, gap.message, gap.oldest, selection)


def _nothing(place: Place) -> Publish:
    """In the place of a value that is known no more."""
    realm, topic = place
    return Publish(realm, topic, session=0, request=0, order=0, flags=0, encoding=NONE, args=b"")
