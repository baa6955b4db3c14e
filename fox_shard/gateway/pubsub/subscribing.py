"""Subscriptions on their way: from the wish to the end of what comes first.

Owns: which wish is meant by which token, when a subscription begins, and the pace of its replay.
Never: matching (see `subscriptions`).
"""

from typing import final

from fox_shard.backplane.frames import (
    RETAIN,
    CaughtUp,
    Event,
    Frame,
    More,
    NotSubscribed,
    Paused,
    Recorded,
    Retained,
    Selected,
    Subscribed,
)
from fox_shard.backplane.link import Link
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.pubsub.fanout import Fanout, visible
from fox_shard.gateway.pubsub.pending import Pending
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.sessions.ordering import Order
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.topics.pattern import Pattern

ENOUGH = 1 << 18
"""Bytes that wait for a client, with which it is not sent more of a replay."""

SNAPSHOT = "fox.close.snapshot"
"""Why a subscription is revoked that was to a replay alone."""

LOOK_AGAIN = 0.02
"""Seconds after which it is seen whether the client has read them."""


@final
class Confirmations:
    """Of all realms of a gateway."""

    __slots__ = (
        "_fanouts",
        "_late",
        "_links",
        "_looking",
        "_next_token",
        "_of_session",
        "_order",
        "_pending",
        "_slow",
        "_subscriptions",
        "_timers",
        "now",
    )

    def __init__(
        self,
        subscriptions: dict[str, Subscriptions],
        fanouts: dict[str, Fanout],
        order: Order,
        links: list[Link],
        timers: Timers,
    ) -> None:
        """subscriptions, fanouts: by the realm's name. links: to the shards, by number."""
        self._subscriptions = subscriptions
        self._fanouts = fanouts
        self._order = order
        self._links = links
        self._timers = timers
        self._next_token = 0
        self._pending: dict[int, Pending] = {}
        # Session id -> its tokens.
        self._of_session: dict[int, dict[int, None]] = {}
        # Those that wait for events that are held back (see `Pending.earlier`).
        self._late: dict[int, Pending] = {}
        # Tokens of clients that do not read as fast as their replays come.
        self._slow: dict[int, None] = {}
        # Is it due to look at them?
        self._looking = False
        self.now = 0.0

    def subscribe(
        self, session: Session, request: int, pattern: Pattern, grant: int, wish: SubscribeOptions
    ) -> None:
        """Answered by the session's `subscribed`; events come only after that."""
        self._next_token += 1
        token = self._next_token
        pending = self._subscriptions[session.realm.name].subscribe(
            token, session, request, pattern, grant, wish
        )
        if pending is not None:
            self._pending[token] = pending
            self._of_session.setdefault(session.id, {})[token] = None

    def withdraw(self, session: Session, name: str | None = None) -> list[str]:
        """The session gives up a subscription, or (None) all, before everything has come.

        Returns the names of those.
        """
        mine = [self._pending[token] for token in self._of_session.get(session.id, ())]
        withdrawn = [one for one in mine if name in (None, one.subscription.name)]
        for pending in withdrawn:
            self._forget(pending)
            self._stop_replays(pending)
        return [pending.subscription.name for pending in withdrawn]

    def _forget(self, pending: Pending) -> None:
        del self._pending[pending.token]
        self._late.pop(pending.token, None)
        self._slow.pop(pending.token, None)
        tokens = self._of_session[pending.session.id]
        del tokens[pending.token]
        if not tokens:
            del self._of_session[pending.session.id]

    def _stop_replays(self, pending: Pending) -> None:
        for shard in pending.behind:
            if self._links[shard].open:
                self._links[shard].send(More(pending.token, enough=True))

    def replay(self, shard: int) -> list[Frame]:
        """What that shard, which has returned, must be asked again."""
        frames: list[Frame] = []
        for pending in self._pending.values():
            if pending.is_asked(shard):
                if not pending.confirmed:
                    pending.begin_anew(shard)
                frames.append(pending.subscribe(shard))
        return frames

    # What comes first

    def retained(self, frame: Retained, shard: int) -> None:
        """A key that the subscriber is to see first."""
        pending = self._pending.get(frame.token)
        if pending is None:
            return
        event, progress = frame.event, pending.behind[shard]
        publication = 0 if event is None else event.publication
        if frame.ahead:
            # Should the shard die, it would be shown once more in its turn.
            known = progress.ahead.get(frame.topic, -1)
            progress.ahead[frame.topic] = max(publication, known)
        elif event is not None:
            progress.topic = event.publish.topic
            known = progress.ahead.pop(progress.topic, -1)
        if event is None or known >= 0:
            return
        if publication <= progress.again.get(event.publish.topic, 0):
            return
        if pending.confirmed:
            events = visible([event], pending.session)
            pending.session.shown(events, pending.subscription, pending.grant)
        else:
            pending.retained.setdefault(shard, []).append(event)

    def came_again(self, event: Event, shard: int) -> None:
        """Of a shard that has returned: whoever still waits for the key has seen it up to that."""
        publish = event.publish
        if not publish.flags & RETAIN:
            return
        for pending in self._pending.values():
            progress = pending.behind.get(shard)
            if (
                progress is not None
                and pending.confirmed
                and pending.wish.after is None
                and pending.subscription.realm == publish.realm
            ):
                known = progress.again.get(publish.topic, 0)
                progress.again[publish.topic] = max(event.publication, known)

    def recorded(self, frame: Recorded, shard: int) -> None:
        """An event of the history."""
        pending = self._pending.get(frame.token)
        if pending is not None:
            pending.behind[shard].id = frame.event.publication
            if visible([frame.event], pending.session):
                self._fanouts[pending.session.realm.name].deliver_to_one(pending, frame.event)

    def paused(self, frame: Paused, shard: int) -> None:
        """A page has come, and there are more."""
        pending = self._pending.get(frame.token)
        if pending is not None:
            pending.behind[shard].paused = True
            self._ask_for_more(pending)

    def _ask_for_more(self, pending: Pending) -> None:
        if not pending.confirmed:
            return
        if pending.session.connection.waiting() > ENOUGH:
            if not self._looking:
                self._looking = True
                self._timers.at(self.now + LOOK_AGAIN, self._look_again)
            self._slow[pending.token] = None
            return
        for shard, progress in pending.behind.items():
            if progress.paused and self._links[shard].open:
                progress.paused = False
                self._links[shard].send(More(pending.token))

    def _look_again(self, now: float) -> None:
        self.now, self._looking = now, False
        tokens, self._slow = self._slow, {}
        for token in tokens:
            self._ask_for_more(self._pending[token])

    def caught_up(self, frame: CaughtUp, shard: int) -> None:
        """A shard's replay is over."""
        pending = self._pending.get(frame.token)
        if pending is not None:
            pending.behind.pop(shard, None)
            if frame.publication:
                # Who follows goes on from there, also if the shard dies before anything comes.
                subscriptions = self._subscriptions[pending.session.realm.name]
                subscriptions.follow(pending.subscription, shard, frame.publication)
            self._go_on(pending)

    # Confirmation

    def subscribed(self, frame: Subscribed, shard: int) -> None:
        """A shard has confirmed."""
        pending = self._pending.get(frame.token)
        if pending is None:
            return
        pending.waiting.pop(shard, None)
        if not pending.confirmed and pending.wish.after is None and not pending.wish.snapshot:
            self._leave_out_what_is_held_back(pending, shard)
        self._go_on(pending)

    def not_subscribed(self, frame: NotSubscribed, shard: int) -> None:
        """A shard has refused."""
        if frame.selection:
            self._revoke(frame, shard)
            return
        pending = self._pending.get(frame.token)
        if pending is None:
            return
        self._forget(pending)
        self._stop_replays(pending)
        session = pending.session
        self._subscriptions[session.realm.name].abandon(pending)
        if pending.confirmed:
            # A shard has returned, or the client is slow; the session has been told long ago.
            session.subscription_revoked(pending.subscription, frame.uri)
        else:
            session.not_subscribed(pending.request, frame.uri, frame.message, frame.oldest)

    def _revoke(self, frame: NotSubscribed, shard: int) -> None:
        """Those who follow have missed something, which nobody can tell them any more."""
        for subscriptions in self._subscriptions.values():
            subscribers = subscriptions.by_id.get(frame.selection)
            if subscribers is None:
                continue
            subscription = subscribers.subscription
            for session in subscribers.followers(shard):
                self.withdraw(session, subscription.name)
                subscriptions.unsubscribe(session, subscription.name)
                session.subscription_revoked(subscription, frame.uri)

    def _leave_out_what_is_held_back(self, pending: Pending, shard: int) -> None:
        if self._order.held:
            selective = pending.subscription.selection is not None
            pending.earlier |= self._order.held_events(
                shard, pending.subscription.pattern, selective=selective
            )
            if pending.earlier:
                self._late[pending.token] = pending

    def delivered(self, publication: int) -> None:
        """It is held back no longer: a subscription may have waited for that."""
        for pending in [late for late in self._late.values() if publication in late.earlier]:
            pending.earlier.discard(publication)
            if not pending.earlier:
                del self._late[pending.token]
                self._go_on(pending)

    def _go_on(self, pending: Pending) -> None:
        if pending.waiting or pending.earlier:
            return
        if not pending.confirmed:
            self._begin(pending)
        if not pending.behind:
            self._forget(pending)
            if self._subscriptions[pending.session.realm.name].finish(pending):
                pending.session.subscription_revoked(pending.subscription, SNAPSHOT)

    def _begin(self, pending: Pending) -> None:
        session = pending.session
        for shard, events in pending.retained.items():
            pending.retained[shard] = visible(events, session)
        held = self._subscriptions[session.realm.name].begin(pending)
        self._fanouts[session.realm.name].deliver_held(pending, held)
        if held and not session.flavour.per_subscription:
            self._forget_held(held, session)
        self._ask_for_more(pending)

    def _forget_held(self, events: list[Event | Selected], session: Session) -> None:
        """The session has got the events, and is to get them once (MQTT)."""
        for token in self._of_session.get(session.id, ()):
            pending = self._pending[token]
            pending.held = [event for event in pending.held if event not in events]

    @property
    def idle(self) -> bool:
        """Nothing waits to be confirmed."""
        return not self._pending
