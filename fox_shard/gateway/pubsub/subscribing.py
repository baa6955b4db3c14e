"""Incomplete subscriptions: from the request to the end of the replay.

Owns: the tokens of subscriptions, when a subscription begins, and the pace of its replay. Never:
matching (see `subscriptions`).
"""

from collections.abc import Callable
from itertools import islice
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
    SelectedEvent,
    Subscribed,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.terms import SUBSCRIBE
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limits import Limits
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.pubsub.fanout import Fanout, visible
from fox_shard.gateway.pubsub.pending import PendingSubscription, publication_of
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.sessions.memberships import Memberships
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.topics.pattern import Pattern

MAX_UNREAD = 1 << 18
"""Bytes waiting for a client beyond which the shards are not asked for more of its replay."""

SUBSCRIBE_COST = 20
"""Units that a subscription costs (see `Turns`)."""

SNAPSHOT = "fox.close.snapshot"
"""Why a snapshot is revoked at the end of its replay."""

REPLAYS_AT_ONCE = 8
"""Replays of a slow client for which the shards are asked for more at each check."""

RECHECK_SECONDS = 0.02
"""Seconds between two checks whether a slow client has read enough."""


@final
class _Incomplete:
    """The incomplete subscriptions of one session.

    by_name: name -> token -> subscription. unconfirmed, replays: how many are not confirmed, and
    how many are, but still replay.
    """

    __slots__ = ("by_name", "replays", "unconfirmed")

    def __init__(self) -> None:
        self.by_name: dict[str, dict[int, PendingSubscription]] = {}
        self.unconfirmed = 0
        self.replays = 0

    def add(self, pending: PendingSubscription) -> None:
        """Add a subscription that is not confirmed."""
        self.by_name.setdefault(pending.subscription.name, {})[pending.token] = pending
        self.unconfirmed += 1

    def remove(self, pending: PendingSubscription) -> None:
        """Remove a subscription."""
        name = pending.subscription.name
        tokens = self.by_name[name]
        del tokens[pending.token]
        if not tokens:
            del self.by_name[name]
        if pending.confirmed:
            self.replays -= 1
        else:
            self.unconfirmed -= 1


@final
class SubscribeRequests:
    """The incomplete subscriptions of one gateway, in all realms."""

    __slots__ = (
        "_backpressure",
        "_delivered",
        "_fanouts",
        "_limits",
        "_links",
        "_looking",
        "_memberships",
        "_next_token",
        "_of_session",
        "_ordering",
        "_pending",
        "_slow",
        "_slow_client",
        "_subscriptions",
        "_timers",
        "now",
    )

    def __init__(
        self,
        subscriptions: dict[str, Subscriptions],
        fanouts: dict[str, Fanout],
        ordering: Ordering,
        links: list[Link],
        timers: Timers,
        limits: Limits,
        memberships: Memberships,
        backpressure: Backpressure,
        slow: Callable[[Connection], None],
    ) -> None:
        """subscriptions, fanouts: by the realm's name. links: to the shards, by number.

        slow: ends the session of a connection for which too much waits.
        """
        self._backpressure = backpressure
        self._slow_client = slow
        self._subscriptions = subscriptions
        self._fanouts = fanouts
        self._ordering = ordering
        self._links = links
        self._timers = timers
        self._limits = limits
        self._memberships = memberships
        self._next_token = 0
        # Token -> subscription; session id -> its subscriptions.
        self._pending: dict[int, PendingSubscription] = {}
        self._of_session: dict[int, _Incomplete] = {}
        # Session id -> events that were held for one of its subscriptions and have been delivered,
        # as long as it has others (MQTT: only once).
        self._delivered: dict[int, set[int]] = {}
        # Connections of clients that do not read as fast as their replays come -> the tokens.
        self._slow: dict[Connection, dict[int, None]] = {}
        # Whether a timer is set to look at them again.
        self._looking = False
        self.now = 0.0

    def subscribe(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        granted_qos: int,
        options: SubscribeOptions,
    ) -> None:
        """Subscribe. `subscribed` or `not_subscribed` answers, before any event comes."""
        session.connection.budget -= SUBSCRIBE_COST
        if self._memberships.is_full:
            refusal = self._limits.refuse_change()
            session.not_subscribed(request, refusal.uri, refusal.message, 0)
            return
        # The filter is a part of the subscription's name, in hexadecimal.
        size = len(pattern.text) + 2 * len(options.filter)
        if self._has_too_many(session, pattern, size):
            refusal = self._limits.refuse(
                "max_subscriptions", "subscriptions", self._limits.subscriptions
            )
            session.not_subscribed(request, refusal.uri, refusal.message, 0)
            return
        subscriptions = self._subscriptions[session.realm.name]
        if not subscriptions.has_room(session, pattern, size):
            refusal = self._limits.refuse_in_realm(session.realm.max_subscriptions)
            session.not_subscribed(request, refusal.uri, refusal.message, 0)
            return
        self._next_token += 1
        token = self._next_token
        pending = subscriptions.subscribe(token, session, request, pattern, granted_qos, options)
        if pending is not None:
            self._pending[token] = pending
            mine = self._of_session.get(session.id)
            if mine is None:
                mine = self._of_session[session.id] = _Incomplete()
            mine.add(pending)
            for shard in pending.unconfirmed_shards:
                self._backpressure.sent(session.connection, shard, SUBSCRIBE)

    def _has_too_many(self, session: Session, pattern: Pattern, size: int) -> bool:
        """Whether the session may not subscribe to this pattern, too, as it has so many already."""
        limit = self._limits.of(self._limits.subscriptions, size)
        mine = self._of_session.get(session.id)
        unconfirmed = 0
        if mine is not None:
            unconfirmed = mine.unconfirmed
            # It may subscribe again, to see the keys again, but not without end.
            if mine.replays >= limit:
                return True
        subscribed = session.subscriptions or ()
        return len(subscribed) + unconfirmed >= limit and pattern.text not in subscribed

    def withdraw(self, session: Session, name: str) -> list[PendingSubscription]:
        """Give up the session's incomplete subscriptions with that name, and return them."""
        mine = self._of_session.get(session.id)
        withdrawn = [] if mine is None else [*mine.by_name.get(name, {}).values()]
        for pending in withdrawn:
            self._forget(pending)
            self._stop_replays(pending)
        return withdrawn

    def withdraw_all(self, session: Session) -> list[PendingSubscription]:
        """Give up all of the session's incomplete subscriptions, and return them."""
        mine = self._of_session.get(session.id)
        names = [] if mine is None else [*mine.by_name]
        return [pending for name in names for pending in self.withdraw(session, name)]

    def _forget(self, pending: PendingSubscription) -> None:
        token, session = pending.token, pending.session.id
        del self._pending[token]
        pending.keep_nothing()
        connection = pending.session.connection
        slow = self._slow.get(connection)
        if slow is not None:
            slow.pop(token, None)
            if not slow:
                del self._slow[connection]
        for shard in pending.undelivered:
            self._ordering.held_events.give_up(
                token,
                shard,
                pending.subscription.pattern,
                selective=pending.subscription.selector is not None,
            )
        mine = self._of_session[session]
        mine.remove(pending)
        if not mine.by_name:
            del self._of_session[session]
            self._delivered.pop(session, None)

    def _stop_replays(self, pending: PendingSubscription) -> None:
        for shard in pending.replaying:
            if self._links[shard].open:
                self._links[shard].send(More(pending.token, enough=True))

    def replay(self, shard: int) -> list[Frame]:
        """Return what that shard, which has returned, must be asked again."""
        frames: list[Frame] = []
        for pending in self._pending.values():
            if pending.is_asked(shard):
                if not pending.confirmed:
                    pending.begin_anew(shard)
                frames.append(pending.subscribe(shard))
        return frames

    # Replays

    def retained(self, frame: Retained, shard: int) -> None:
        """Take a key of a replay: show it, or keep it until the session has been told."""
        pending = self._pending.get(frame.token)
        if pending is None:
            return
        event, progress = frame.event, pending.replaying[shard]
        publication = 0 if event is None else event.publication
        if frame.ahead:
            # A shard that dies and returns would show the key once more, in its turn.
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
            pending.session.more_keys(events, pending.subscription, pending.granted_qos)
        else:
            pending.retained.setdefault(shard, []).append(event)
            self.kept(pending, event)

    def kept(self, pending: PendingSubscription, event: Event) -> None:
        """Count an event that is kept until the session has been told; end it if it has too many.

        A shard that is down may keep a subscription waiting for long, while others send events.
        """
        # The session may have ended because of the same event, by another subscription.
        if (
            self._pending.get(pending.token) is pending
            and pending.count(event) > self._limits.outbound
        ):
            self._slow_client(pending.session.connection)

    def came_again(self, event: Event, shard: int) -> None:
        """Note an event that a restarted shard sent again: no older key may be shown after it."""
        publish = event.publish
        if not publish.flags & RETAIN:
            return
        for pending in self._pending.values():
            progress = pending.replaying.get(shard)
            if (
                progress is not None
                and pending.confirmed
                and pending.options.after is None
                and pending.subscription.realm == publish.realm
            ):
                known = progress.again.get(publish.topic, 0)
                progress.again[publish.topic] = max(event.publication, known)

    def recorded(self, frame: Recorded, shard: int) -> None:
        """Take an event of the history, which is delivered when its order is known."""
        pending = self._pending.get(frame.token)
        if pending is not None and visible([frame.event], pending.session):
            pending.replaying[shard].events.append(frame.event)

    def _deliver_history(self, pending: PendingSubscription) -> None:
        """Deliver recorded events in the order of their ids, as far as that is known."""
        fanout = self._fanouts[pending.session.realm.name]
        for event in pending.take_history():
            fanout.deliver_to_one(pending, event)

    def _ask_for_rest(self, pending: PendingSubscription) -> None:
        """Ask for what was recorded while the end of a shard's history waited for other shards.

        Until then, that shard's live events were left out, so that they did not come too early.
        """
        for shard, progress in pending.replaying.items():
            if progress.over is not None and not progress.events:
                progress.id = max(progress.id, progress.over)
                if self._links[shard].open:
                    self._links[shard].send(pending.subscribe(shard))

    def paused(self, frame: Paused, shard: int) -> None:
        """Take the end of a page, which is not the last."""
        pending = self._pending.get(frame.token)
        if pending is not None:
            pending.replaying[shard].paused = True
            self._deliver_history(pending)
            self._ask_for_rest(pending)
            self._ask_for_more(pending)

    def _ask_for_more(self, pending: PendingSubscription) -> None:
        if not pending.confirmed:
            return
        connection = pending.session.connection
        if connection in self._slow or connection.waiting() > MAX_UNREAD:
            self._slow.setdefault(connection, {})[pending.token] = None
            self._look_later()
            return
        for shard, progress in pending.replaying.items():
            if progress.paused and not progress.events and self._links[shard].open:
                progress.paused = False
                self._links[shard].send(More(pending.token))

    def _look_later(self) -> None:
        if self._slow and not self._looking:
            self._looking = True
            self._timers.at(self.now + RECHECK_SECONDS, self._look_again)

    def _look_again(self, now: float) -> None:
        self.now, self._looking = now, False
        slow, self._slow = self._slow, {}
        for connection, tokens in slow.items():
            if connection.waiting() <= MAX_UNREAD:
                for token in [*islice(tokens, REPLAYS_AT_ONCE)]:
                    del tokens[token]
                    self._ask_for_more(self._pending[token])
            if tokens:
                self._slow[connection] = tokens
        self._look_later()

    def caught_up(self, frame: CaughtUp, shard: int) -> None:
        """Take the end of a shard's replay."""
        pending = self._pending.get(frame.token)
        progress = None if pending is None else pending.replaying.get(shard)
        if pending is None or progress is None:
            return
        progress.over = frame.publication
        self._deliver_history(pending)
        if not progress.events:
            del pending.replaying[shard]
            if frame.publication:
                # Followers go on from there, even if the shard dies before it sends anything else.
                subscriptions = self._subscriptions[pending.session.realm.name]
                subscriptions.history_caught_up(pending.subscription, shard, frame.publication)
        self._ask_for_rest(pending)
        self._ask_for_more(pending)
        self._go_on(pending)

    # Confirmation

    def subscribed(self, frame: Subscribed, shard: int) -> None:
        """Take a shard's confirmation."""
        pending = self._pending.get(frame.token)
        if pending is None:
            return
        pending.unconfirmed_shards.pop(shard, None)
        if not pending.confirmed and pending.options.after is None and not pending.options.snapshot:
            self._exclude_held_events(pending, shard)
        self._go_on(pending)

    def not_subscribed(self, frame: NotSubscribed, shard: int) -> None:
        """Take a shard's refusal, of a request or of what followers have missed."""
        if frame.selector:
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
            # The session has been told SUBSCRIBED. What was still to come has been trimmed while a
            # shard was away, or while the client was slow to read.
            session.subscription_revoked(pending.subscription, frame.uri)
        else:
            session.not_subscribed(pending.request, frame.uri, frame.message, frame.oldest)

    def _revoke(self, frame: NotSubscribed, shard: int) -> None:
        """Revoke a subscription of followers that have missed events which are no longer kept."""
        for subscriptions in self._subscriptions.values():
            subscribers = subscriptions.by_id.get(frame.selector)
            if subscribers is None:
                continue
            subscription = subscribers.subscription
            for session in subscribers.followers(shard):
                incomplete = self.withdraw(session, subscription.name)
                subscriptions.unsubscribe(session, subscription.name, incomplete)
                session.subscription_revoked(subscription, frame.uri)

    def _exclude_held_events(self, pending: PendingSubscription, shard: int) -> None:
        if self._ordering.held_frames:
            held_back = self._ordering.held_events.wait(
                pending.token,
                shard,
                pending.subscription.pattern,
                selective=pending.subscription.selector is not None,
            )
            if held_back is not None:
                pending.held_back_before[shard] = held_back
                pending.undelivered[shard] = None

    def delivered(self, frame: Event | SelectedEvent, shard: int) -> None:
        """Note that an event of that shard that was held back has been delivered.

        Completes the subscriptions that waited for it last.
        """
        for token in self._ordering.held_events.delivered(frame, shard):
            pending = self._pending[token]
            del pending.undelivered[shard]
            self._go_on(pending)

    def _go_on(self, pending: PendingSubscription) -> None:
        if pending.unconfirmed_shards or pending.undelivered:
            return
        if not pending.confirmed:
            self._begin(pending)
        if not pending.replaying:
            self._forget(pending)
            if self._subscriptions[pending.session.realm.name].finish(pending):
                pending.session.subscription_revoked(pending.subscription, SNAPSHOT)

    def _begin(self, pending: PendingSubscription) -> None:
        session = pending.session
        for shard, events in pending.retained.items():
            pending.retained[shard] = visible(events, session)
        if pending.held and not session.encoder.per_subscription:
            self._drop_delivered(pending)
        mine = self._of_session[session.id]
        mine.unconfirmed -= 1
        mine.replays += 1
        held = self._subscriptions[session.realm.name].begin(pending)
        pending.keep_nothing()
        self._fanouts[session.realm.name].deliver_held(pending, held)
        self._ask_for_more(pending)

    def _drop_delivered(self, pending: PendingSubscription) -> None:
        """Drop held events that the session has got by another subscription (MQTT: only once)."""
        delivered = self._delivered.setdefault(pending.session.id, set())
        pending.held = [one for one in pending.held if publication_of(one) not in delivered]
        delivered.update(publication_of(one) for one in pending.held)

    @property
    def idle(self) -> bool:
        """Whether every subscription is complete."""
        return not self._pending
