"""The subscriptions of one realm on one gateway.

Owns: who subscribed to what, and that a subscription stands at every shard it needs before its
subscriber hears of it. Never: encoding events.

The shards know a gateway, not its sessions: the first session that subscribes to a pattern brings
the gateway's subscription there, the last that leaves takes it away.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import (
    TRACE,
    Event,
    Frame,
    Selected,
    Subscribe,
    Unsubscribe,
)
from fox_shard.backplane.link import Link
from fox_shard.gateway.pubsub.pending import Pending
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.session import Flavour, Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import mqtt_deliverable
from fox_shard.topics.trie import Trie

Members = dict[Session, int]
Groups = list[tuple[Flavour, Subscription, Members]]


@final
class Subscribers:
    """Of one subscription: all sessions of this gateway that have it, or wait for it.

    Members are grouped by flavour, so that an event is encoded once for each group. plain: granted
    quality of service 0 (all WAMP sessions); granted: 1 or 2. established: it stands at the shards.
    """

    __slots__ = ("established", "granted", "last", "pending", "plain", "subscription")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        # Of who follows: the last recorded event of each shard that has come.
        self.last: dict[int, int] = {}
        self.established = False
        self.plain: dict[Flavour, Members] = {}
        self.granted: dict[Flavour, Members] = {}
        self.pending: list[Pending] = []

    def followers(self, shard: int) -> list[Session]:
        """Who has got all that shard's history."""
        members = [session for members in self.plain.values() for session in members]
        pending = [one for one in self.pending if one.confirmed and shard not in one.behind]
        return members + [one.session for one in pending]

    def settled(self, shard: int, publication: int) -> None:
        """Of who follows: all recorded events up to that id have come."""
        if shard in self.last:
            self.last[shard] = max(self.last[shard], publication)

    def is_next(self, event: Event, shard: int) -> bool:
        """Of who follows: has the event not come yet? It counts as had from now on."""
        if not event.publish.flags & TRACE:
            return True
        if event.publication <= self.last.get(shard, 0):
            return False
        self.last[shard] = event.publication
        return True

    @property
    def unused(self) -> bool:
        return not (self.plain or self.granted or self.pending)

    def has(self, session: Session) -> bool:
        """Is the session subscribed?"""
        flavour = session.flavour
        return session in self.plain.get(flavour, ()) or session in self.granted.get(flavour, ())

    def add(self, session: Session, grant: int) -> None:
        """Add, or change the grant."""
        self.remove(session)
        groups = self.granted if grant else self.plain
        groups.setdefault(session.flavour, {})[session] = grant

    def remove(self, session: Session) -> None:
        """Idempotent."""
        for groups in (self.plain, self.granted):
            members = groups.get(session.flavour)
            if members is not None and members.pop(session, None) is not None and not members:
                del groups[session.flavour]


@final
class Plan:
    """Whom an event on one topic goes to. Refers to the subscriptions' living groups."""

    __slots__ = ("granted", "merged", "pending", "plain")

    def __init__(self) -> None:
        self.plain: Groups = []
        self.granted: Groups = []
        # Where several subscriptions have MQTT members, each gets the event once, at its best.
        self.merged = False
        self.pending: list[Pending] = []


@final
class Subscriptions:
    """See the module."""

    __slots__ = ("_by_name", "_links", "_realm", "_trie", "by_id", "count", "plans")

    def __init__(self, realm: Realm, links: list[Link]) -> None:
        """links: to the shards, by number."""
        self._realm = realm
        self._links = links
        self._by_name: dict[str, Subscribers] = {}
        self.by_id: dict[int, Subscribers] = {}
        self._trie: Trie[Subscribers] = Trie()
        self.plans: MatchCache[Plan] = MatchCache(PLANS_LIMIT)
        # How many there are, of all sessions.
        self.count = 0

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
        grant: int,
        wish: SubscribeOptions,
    ) -> Pending | None:
        """Begin a subscription; returns what has to come first, None if it stands already.

        token: names it at the shards.
        """
        subscribers = self._find(pattern, wish)
        subscription = subscribers.subscription
        if subscribers.established and not wish.replays:
            self._activate(session, subscribers, grant)
            session.subscribed(request, subscription, [])
            return None
        if wish.after is not None and subscribers.has(session):
            # It begins anew, behind the history.
            self._leave(session, subscribers)
        shards = self._shards(pattern)
        pending = Pending(token, session, request, subscription, grant, wish, shards)
        subscribers.pending.append(pending)
        self.plans.drop(pattern)
        for shard in pending.waiting:
            if self._links[shard].open:
                self._links[shard].send(pending.subscribe(shard))
        return pending

    def _find(self, pattern: Pattern, wish: SubscribeOptions) -> Subscribers:
        subscription = Subscription(self._realm.name, pattern, wish)
        found = self._by_name.get(subscription.name)
        if found is not None:
            return found
        subscribers = Subscribers(subscription)
        self._by_name[subscription.name] = subscribers
        self.by_id[subscription.id] = subscribers
        if subscription.is_plain:
            self._trie.add(pattern, subscribers)
        return subscribers

    def _activate(self, session: Session, subscribers: Subscribers, grant: int) -> None:
        subscription = subscribers.subscription
        subscribers.add(session, grant)
        if session.subscriptions is None:
            session.subscriptions = {}
        if subscription.name not in session.subscriptions:
            self.count += 1
        session.subscriptions[subscription.name] = subscription
        self.plans.drop(subscription.pattern)

    def begin(self, pending: Pending) -> list[Event | Selected]:
        """All shards have confirmed: tell the session; returns the live events held for it.

        What has to come first goes on coming, unless `finish` is next.
        """
        subscription, session = pending.subscription, pending.session
        subscribers = self._by_name[subscription.name]
        pending.confirmed = True
        retained = [
            event for shard in sorted(pending.retained) for event in pending.retained[shard]
        ]
        held, pending.held = pending.held, []
        if not pending.wish.snapshot:
            subscribers.established = True
        if pending.wish.after is None and not pending.wish.snapshot:
            subscribers.pending.remove(pending)
            if subscribers.has(session):
                held = []
            self._activate(session, subscribers, pending.grant)
        if held and retained:
            # Of a restarted shard, an event may come that is older than the key.
            keys = {event.publish.topic: event.publication for event in retained}
            held = [one for one in held if _is_newer(one, keys)]
        session.subscribed(pending.request, subscription, retained)
        return held

    def finish(self, pending: Pending) -> bool:
        """All that had to come first has come. Returns whether that was all there is to come."""
        if pending.wish.snapshot:
            self.abandon(pending)
        elif pending.wish.after is not None:
            subscribers = self._by_name[pending.subscription.name]
            subscribers.pending.remove(pending)
            self._activate(pending.session, subscribers, pending.grant)
        return pending.wish.snapshot

    def abandon(self, pending: Pending) -> None:
        """It is not, or not any longer, what the session wants."""
        subscribers = self._by_name[pending.subscription.name]
        subscribers.pending.remove(pending)
        self.plans.drop(pending.subscription.pattern)
        self._drop_if_unused(subscribers)

    # Unsubscribing

    def unsubscribe(self, session: Session, name: str) -> bool:
        """Returns whether there was such a subscription, or the wish for one."""
        subscribers = self._by_name.get(name)
        if subscribers is None:
            return False
        mine = [pending for pending in subscribers.pending if pending.session is session]
        for pending in mine:
            subscribers.pending.remove(pending)
        had = session.subscriptions is not None and name in session.subscriptions
        if had:
            self._leave(session, subscribers)
        self.plans.drop(subscribers.subscription.pattern)
        self._drop_if_unused(subscribers)
        return had or bool(mine)

    def _leave(self, session: Session, subscribers: Subscribers) -> None:
        if session.subscriptions is not None:
            del session.subscriptions[subscribers.subscription.name]
        self.count -= 1
        subscribers.remove(session)

    def _drop_if_unused(self, subscribers: Subscribers) -> None:
        subscription = subscribers.subscription
        pattern = subscription.pattern
        if not subscribers.unused or self._by_name.get(subscription.name) is not subscribers:
            return
        del self._by_name[subscription.name]
        del self.by_id[subscription.id]
        if subscription.is_plain:
            self._trie.remove(pattern, subscribers)
        if subscription.once:
            return
        selection = subscription.selection
        id_ = 0 if selection is None else selection.id
        frame = Unsubscribe(self._realm.name, pattern.text, id_)
        for shard in self._shards(pattern):
            if self._links[shard].open:
                self._links[shard].send(frame)

    def leave(self, session: Session, wishes: Iterable[str]) -> None:
        """The session has ended. wishes: names of what it had not been told to have."""
        for name in [*(session.subscriptions or ()), *wishes]:
            self.unsubscribe(session, name)

    # A shard comes back

    def replay(self, shard: int) -> list[Frame]:
        """What that shard must know."""
        return [
            Subscribe(
                0,
                self._realm.name,
                subscribers.subscription.pattern.text,
                replay=False,
                selection=subscribers.subscription.selection,
                start_id=subscribers.last.get(shard, 0),
            )
            for subscribers in self._by_name.values()
            if not subscribers.subscription.once
            and shard in self._shards(subscribers.subscription.pattern)
        ]

    def follow(self, subscription: Subscription, shard: int, publication: int) -> None:
        """That shard's history has come, up to that id: who follows goes on from there."""
        self._by_name[subscription.name].last.setdefault(shard, publication)

    def settled(self, shard: int, publication: int) -> None:
        """All recorded events of that shard up to that id have come."""
        for subscribers in self.by_id.values():
            subscribers.settled(shard, publication)

    # Matching

    def plan(self, topic: str) -> Plan:
        """Whom events on the topic go to; cached until a subscription changes."""
        plan = self.plans.entries.get(topic)
        if plan is not None:
            return plan
        plan = Plan()
        to_mqtt = mqtt_deliverable(topic)
        for subscribers in self._trie.match(topic):
            plan.pending.extend(subscribers.pending)
            for groups, into in (
                (subscribers.plain, plan.plain),
                (subscribers.granted, plan.granted),
            ):
                into.extend(
                    (flavour, subscribers.subscription, members)
                    for flavour, members in groups.items()
                    if to_mqtt or flavour.per_subscription
                )
        once = {
            id(subscription)
            for flavour, subscription, _ in plan.plain + plan.granted
            if not flavour.per_subscription
        }
        if len(once) > 1:
            _merge(plan)
        self.plans.put(topic, plan)
        return plan


PLANS_LIMIT = 10_000


def _is_newer(held: Event | Selected, keys: dict[str, int]) -> bool:
    """keys: topic -> publication id of what was shown."""
    event = held.event if isinstance(held, Selected) else held
    return event.publication > keys.get(event.publish.topic, 0)


def _merge(plan: Plan) -> None:
    """Give each session that is to get an event once (MQTT) its best grant over all that match."""
    best: Members = {}
    first: dict[Session, Subscription] = {}
    for flavour, subscription, members in plan.plain + plan.granted:
        if not flavour.per_subscription:
            for session, grant in members.items():
                best[session] = max(grant, best.get(session, 0))
                first.setdefault(session, subscription)
    merged: list[dict[Flavour, tuple[Subscription, Members]]] = [{}, {}]
    for session, grant in best.items():
        _, members = merged[grant > 0].setdefault(session.flavour, (first[session], {}))
        members[session] = grant
    plan.merged = True
    for groups, extra in ((plan.plain, merged[0]), (plan.granted, merged[1])):
        groups[:] = [group for group in groups if group[0].per_subscription]
        groups.extend((flavour, *rest) for flavour, rest in extra.items())
