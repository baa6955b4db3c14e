"""The subscriptions of one realm on one gateway.

Owns: which sessions subscribed to what, and that every shard concerned has confirmed before a
session is told so. Never: encoding events.

The shards know the gateway, not its sessions: the gateway subscribes when its first session does,
and unsubscribes when its last session has left.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import final

from fox_shard.backplane.frames import (
    Event,
    Frame,
    SelectedEvent,
    Subscribe,
    Unsubscribe,
)
from fox_shard.backplane.link import Link
from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.limits import Limits
from fox_shard.gateway.pubsub.members import Members
from fox_shard.gateway.pubsub.pending import PendingSubscription, narrowing
from fox_shard.gateway.pubsub.subscribers import Subscribers
from fox_shard.gateway.sessions.memberships import SUBSCRIPTION, Facts, Memberships
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.session import EventEncoder, Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import mqtt_deliverable
from fox_shard.topics.trie import Trie

Groups = list[tuple[EventEncoder, Subscription, Members]]


@final
class Plan:
    """The receivers of events on one topic, which all may see it.

    Members are grouped by event encoder, so that an event is encoded once for each group. plain:
    those granted quality of service 0 (all WAMP sessions). granted: 1 or 2. The groups are those of
    `members.SubscriptionMembers`, not copies.
    """

    __slots__ = ("granted", "pending", "plain")

    def __init__(self) -> None:
        self.plain: Groups = []
        self.granted: Groups = []
        self.pending: list[PendingSubscription] = []


@final
class Subscriptions:
    """The subscriptions of one realm on one gateway."""

    __slots__ = (
        "_by_name",
        "_clock",
        "_links",
        "_memberships",
        "_realm",
        "_settled",
        "_trie",
        "by_id",
        "count",
        "incomplete",
        "plans",
    )

    def __init__(
        self, realm: Realm, links: list[Link], clock: Clock, memberships: Memberships
    ) -> None:
        """links: to the shards, by number. memberships: is told who subscribes."""
        self._clock = clock
        self._memberships = memberships
        self._realm = realm
        self._links = links
        self._by_name: dict[str, Subscribers] = {}
        self.by_id: dict[int, Subscribers] = {}
        self._trie: Trie[Subscribers] = Trie()
        self.plans: MatchCache[Plan] = MatchCache(PLANS_LIMIT)
        # Shard -> the id up to which all its events have come.
        self._settled: dict[int, int] = {}
        # The sum of all sessions' numbers of subscriptions, and of those that they wait for.
        self.count = self.incomplete = 0

    def _shards(self, pattern: Pattern) -> Iterable[int]:
        if pattern.is_exact:
            return (self._realm.placement.shard_of(self._realm.name, pattern.topic),)
        return range(self._realm.placement.shards)

    # Subscribing

    def subscribe(
        self,
        token: int,
        session: Session,
        request: int,
        pattern: Pattern,
        granted_qos: int,
        options: SubscribeOptions,
    ) -> PendingSubscription | None:
        """Subscribe a session. Returns the pending subscription.

        None: the shards have confirmed it before and nothing is to be replayed, so the session is
        subscribed at once. token: the subscription's number at the shards.
        """
        subscribers = self._find(pattern, options)
        subscription = subscribers.subscription
        if subscribers.established and not options.replays:
            narrowed_by = narrowing(session, pattern)
            self._activate(session, subscribers, granted_qos, narrowed_by)
            self._began(session, subscribers)
            session.subscribed(request, subscription, [])
            return None
        if options.after is not None and subscribers.members.has(session):
            # The session becomes a member again after the history.
            self._leave(session, subscribers)
            self._ended(session, subscribers)
        shards = self._shards(pattern)
        pending = PendingSubscription(
            token, session, request, subscription, granted_qos, options, shards, subscribers.created
        )
        subscribers.pending[token] = pending
        self.plans.drop(pattern)
        for shard in pending.unconfirmed_shards:
            if self._links[shard].open:
                self._links[shard].send(pending.subscribe(shard))
        pending.counted = True
        self.incomplete += 1
        return pending

    def _uncount(self, pending: PendingSubscription) -> None:
        """Note that the subscription is not waited for any more. Idempotent."""
        self.incomplete -= pending.counted
        pending.counted = False

    def has_room(self, session: Session, pattern: Pattern, size: int) -> bool:
        """Whether the realm has room at this gateway for one more subscription of the session.

        size: characters of the pattern and the filter, see `Limits.of`. A session may always
        subscribe again, in another way, to what it has subscribed to.
        """
        limit = self._realm.max_subscriptions
        if not limit or self.count + self.incomplete < Limits.of(limit, size):
            return True
        return session.subscriptions is not None and pattern.text in session.subscriptions

    def _find(self, pattern: Pattern, options: SubscribeOptions) -> Subscribers:
        subscription = Subscription(self._realm.name, pattern, options)
        found = self._by_name.get(subscription.name)
        if found is not None:
            return found
        subscribers = Subscribers(subscription, self._settled, self._clock.wall)
        self._by_name[subscription.name] = subscribers
        self.by_id[subscription.id] = subscribers
        if subscription.is_plain:
            self._trie.add(pattern, subscribers)
        return subscribers

    def _activate(
        self,
        session: Session,
        subscribers: Subscribers,
        granted_qos: int,
        narrowed_by: Permissions | None,
    ) -> None:
        subscription = subscribers.subscription
        subscribers.members.add(session, granted_qos, narrowed_by)
        if session.subscriptions is None:
            session.subscriptions = {}
        if subscription.name not in session.subscriptions:
            self.count += 1
        session.subscriptions[subscription.name] = subscription
        self.plans.drop(subscription.pattern)

    def begin(self, pending: PendingSubscription) -> list[Event | SelectedEvent]:
        """Tell the session that all shards have confirmed. Returns the live events held for it.

        Its replays go on; `finish` is to be called when they are over.
        """
        subscription, session = pending.subscription, pending.session
        subscribers = self._by_name[subscription.name]
        pending.confirmed = True
        retained = [
            event for shard in sorted(pending.retained) for event in pending.retained[shard]
        ]
        held, pending.held = pending.held, []
        if not pending.options.snapshot:
            subscribers.established = True
            self._began(session, subscribers)
        if pending.options.after is None and not pending.options.snapshot:
            del subscribers.pending[pending.token]
            if subscribers.members.has(session):
                # The session has been a member all along, and has got these events.
                held = []
            self._activate(session, subscribers, pending.granted_qos, pending.narrowed_by)
            self._uncount(pending)
        if held and retained:
            # A restarted shard may have sent again an event that is older than the key.
            keys = {event.publish.topic: event.publication for event in retained}
            held = [one for one in held if _is_newer(one, keys)]
        session.subscribed(pending.request, subscription, retained)
        return held

    def finish(self, pending: PendingSubscription) -> bool:
        """Complete a subscription whose replays are over. Returns whether it ends (snapshot)."""
        if pending.options.snapshot:
            self.abandon(pending)
        elif pending.options.after is not None:
            subscribers = self._by_name[pending.subscription.name]
            del subscribers.pending[pending.token]
            self._uncount(pending)
            self._activate(pending.session, subscribers, pending.granted_qos, pending.narrowed_by)
        return pending.options.snapshot

    def abandon(self, pending: PendingSubscription) -> None:
        """Remove a pending subscription that has ended or was refused."""
        subscribers = self._by_name[pending.subscription.name]
        del subscribers.pending[pending.token]
        self._uncount(pending)
        if pending.confirmed:
            self._ended(pending.session, subscribers)
        self.plans.drop(pending.subscription.pattern)
        self._drop_if_unused(subscribers)

    def to_topics(self, topics: Collection[str]) -> list[Subscribers]:
        """Return the subscriptions to just these topics, with whatever options."""
        return [
            subscribers
            for subscribers in self._by_name.values()
            if subscribers.subscription.pattern.is_exact
            and subscribers.subscription.pattern.topic in topics
        ]

    # Unsubscribing

    def unsubscribe(
        self, session: Session, name: str, incomplete: Collection[PendingSubscription]
    ) -> bool:
        """End a subscription. Returns whether the session had it, or waited for it.

        incomplete: the session's pending subscriptions with that name, which are withdrawn.
        """
        subscribers = self._by_name.get(name)
        if subscribers is None:
            return False
        for pending in incomplete:
            self._uncount(pending)
            # One that is confirmed, and whose replay goes on, is not there any more.
            subscribers.pending.pop(pending.token, None)
        had = session.subscriptions is not None and name in session.subscriptions
        if had:
            self._leave(session, subscribers)
        if had or any(pending.confirmed for pending in incomplete):
            self._ended(session, subscribers)
        self.plans.drop(subscribers.subscription.pattern)
        self._drop_if_unused(subscribers)
        return had or bool(incomplete)

    def _leave(self, session: Session, subscribers: Subscribers) -> None:
        if session.subscriptions is not None:
            del session.subscriptions[subscribers.subscription.name]
        self.count -= 1
        subscribers.members.remove(session)

    # Memberships

    def _began(self, session: Session, subscribers: Subscribers) -> None:
        if self._memberships.active and not subscribers.subscription.is_snapshot:
            self._memberships.began(self._realm.name, SUBSCRIPTION, subscribers.facts(session))

    def _ended(self, session: Session, subscribers: Subscribers) -> None:
        """Tell that a session has left, unless it has the subscription by another request."""
        snapshot = subscribers.subscription.is_snapshot
        if self._memberships.active and not (snapshot or subscribers.is_told(session)):
            id_ = subscribers.subscription.id
            self._memberships.ended(self._realm.name, SUBSCRIPTION, session.id, id_)

    def memberships(self) -> Iterator[Facts | None]:
        """Yield the memberships of all sessions, see `AllMemberships`."""
        for subscribers in list(self.by_id.values()):
            if not subscribers.subscription.is_snapshot:
                for session in list(subscribers.sessions()):
                    yield subscribers.facts(session) if subscribers.is_told(session) else None

    def _drop_if_unused(self, subscribers: Subscribers) -> None:
        subscription = subscribers.subscription
        pattern = subscription.pattern
        if not subscribers.unused or self._by_name.get(subscription.name) is not subscribers:
            return
        del self._by_name[subscription.name]
        del self.by_id[subscription.id]
        if subscription.is_plain:
            self._trie.remove(pattern, subscribers)
        if subscription.is_snapshot:
            return
        spec = subscription.selector
        id_ = 0 if spec is None else spec.id
        frame = Unsubscribe(self._realm.name, pattern.text, id_)
        for shard in self._shards(pattern):
            if self._links[shard].open:
                self._links[shard].send(frame)

    def session_ended(
        self, session: Session, incomplete: Iterable[PendingSubscription]
    ) -> list[Subscribers]:
        """Remove a session that has ended from all subscriptions; it gets no more events.

        incomplete: its pending subscriptions. Returns subscriptions that may have become unused,
        and are to be passed to `drop_unused` then.
        """
        left = []
        for pending in incomplete:
            self._uncount(pending)
            subscribers = self._by_name.get(pending.subscription.name)
            if subscribers is not None and pending.token in subscribers.pending:
                del subscribers.pending[pending.token]
                left.append(subscribers)
        subscriptions, session.subscriptions = session.subscriptions or {}, None
        self.count -= len(subscriptions)
        for name in subscriptions:
            subscribers = self._by_name[name]
            subscribers.members.remove(session)
            left.append(subscribers)
        if len(left) > MANY:
            self.plans.clear()
        else:
            for subscribers in left:
                self.plans.drop(subscribers.subscription.pattern)
        return left

    def drop_unused(self, left: list[Subscribers], many: int) -> bool:
        """Take so many subscriptions from a list, and drop those that nobody uses any more.

        Until then, the shards send their events in vain. Returns whether there are more.
        """
        for _ in range(min(many, len(left))):
            self._drop_if_unused(left.pop())
        return bool(left)

    # Shards

    def replay(self, shard: int) -> list[Frame]:
        """Return the subscriptions that a shard must know, when a pair with it begins."""
        return [
            Subscribe(
                0,
                self._realm.name,
                subscribers.subscription.pattern.text,
                replay=False,
                selector=subscribers.subscription.selector,
                start_id=subscribers.last_recorded(shard),
                created=subscribers.created,
            )
            for subscribers in self._by_name.values()
            if not subscribers.subscription.is_snapshot
            and shard in self._shards(subscribers.subscription.pattern)
        ]

    def history_caught_up(self, subscription: Subscription, shard: int, publication: int) -> None:
        """Note that a shard's history has come up to that id, where followers go on."""
        self._by_name[subscription.name].history_caught_up(shard, publication)

    def settled(self, shard: int, publication: int) -> None:
        """Note that all recorded events of that shard up to that id have come.

        This comes often, and there may be very many subscriptions: each looks here when it has to
        know.
        """
        self._settled[shard] = max(publication, self._settled.get(shard, 0))

    # Matching

    def plan(self, topic: str) -> Plan:
        """Return the receivers of events on the topic; cached until a subscription changes."""
        plan = self.plans.entries.get(topic)
        if plan is not None:
            return plan
        plan = Plan()
        to_mqtt = mqtt_deliverable(topic)
        for subscribers in self._trie.match(topic):
            plan.pending.extend(one for one in subscribers.pending.values() if one.sees(topic))
            for group in subscribers.members.groups_at(topic):
                for groups, into in ((group.plain, plan.plain), (group.granted, plan.granted)):
                    into.extend(
                        (encoder, subscribers.subscription, members)
                        for encoder, members in groups.items()
                        if to_mqtt or encoder.per_subscription
                    )
        once = {
            id(subscription)
            for encoder, subscription, _ in plan.plain + plan.granted
            if not encoder.per_subscription
        }
        if len(once) > 1:
            _merge(plan)
        self.plans.put(topic, plan)
        return plan


MANY = 100
"""Subscriptions of a session beyond which its end drops all plans, and not one by one."""

PLANS_LIMIT = 10_000
"""Topics of one realm whose plans are cached."""


def _is_newer(held: Event | SelectedEvent, keys: dict[str, int]) -> bool:
    """Whether an event is newer than its key. keys: topic -> publication id of the key shown."""
    event = held.event if isinstance(held, SelectedEvent) else held
    return event.publication > keys.get(event.publish.topic, 0)


def _merge(plan: Plan) -> None:
    """Let each MQTT session get the event once, at the best quality of service granted to it."""
    best: Members = {}
    first: dict[Session, Subscription] = {}
    for encoder, subscription, members in plan.plain + plan.granted:
        if not encoder.per_subscription:
            for session, granted_qos in members.items():
                best[session] = max(granted_qos, best.get(session, 0))
                first.setdefault(session, subscription)
    merged: list[dict[EventEncoder, tuple[Subscription, Members]]] = [{}, {}]
    for session, granted_qos in best.items():
        _, members = merged[granted_qos > 0].setdefault(session.encoder, (first[session], {}))
        members[session] = granted_qos
    for groups, extra in ((plan.plain, merged[0]), (plan.granted, merged[1])):
        groups[:] = [group for group in groups if group[0].per_subscription]
        groups.extend((encoder, *rest) for encoder, rest in extra.items())
