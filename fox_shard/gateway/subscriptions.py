"""The subscriptions of one realm on one gateway.

Owns: who subscribed to what, and that a subscription stands at every shard it needs before its
subscriber hears of it. Never: encoding events.

The shards know a gateway, not its sessions: the first session that subscribes to a pattern brings
the gateway's subscription there, the last that leaves takes it away.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import Event, Frame, Subscribe, Unsubscribe
from fox_shard.backplane.link import Link
from fox_shard.gateway.realm import Realm
from fox_shard.gateway.session import Flavour, Session
from fox_shard.topics.cache import MatchCache
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import mqtt_deliverable
from fox_shard.topics.trie import Trie

Members = dict[Session, int]
Groups = list[tuple[Flavour, "Subscription", Members]]


@final
class Subscription:
    """One pattern, with all its subscribers on this gateway.

    Members are grouped by flavour, so that an event is encoded once for each group. plain: granted
    quality of service 0 (all WAMP sessions); granted: 1 or 2.
    """

    __slots__ = ("established", "granted", "id", "pattern", "pending", "plain")

    def __init__(self, realm: str, pattern: Pattern) -> None:
        self.id = pattern_id(realm, "subscription", pattern.text)
        self.pattern = pattern
        self.established = False
        self.plain: dict[Flavour, Members] = {}
        self.granted: dict[Flavour, Members] = {}
        self.pending: list[Pending] = []

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
class Pending:
    """A session's wish to subscribe, until every shard has confirmed it."""

    __slots__ = (
        "earlier",
        "grant",
        "held",
        "replay",
        "request",
        "retained",
        "session",
        "subscription",
        "token",
        "waiting",
    )

    def __init__(
        self,
        token: int,
        session: Session,
        request: int,
        subscription: Subscription,
        grant: int,
        *,
        replay: bool,
        shards: Iterable[int],
    ) -> None:
        self.token = token
        self.session = session
        self.request = request
        self.subscription = subscription
        self.grant = grant
        self.replay = replay
        self.waiting = dict.fromkeys(shards)
        # Keys as each shard sent them, and live events of shards that have confirmed already.
        self.retained: dict[int, list[Event]] = {}
        self.held: list[Event] = []
        # Publications that came before a shard's confirmation, and are held back (see `order`):
        # they are not for this subscription, which begins when they have gone.
        self.earlier: set[int] = set()


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

    __slots__ = ("_by_text", "_links", "_pending", "_realm", "_trie", "count", "plans")

    def __init__(self, realm: Realm, links: list[Link]) -> None:
        """links: to the shards, by number."""
        self._realm = realm
        self._links = links
        self._by_text: dict[str, Subscription] = {}
        self._trie: Trie[Subscription] = Trie()
        self._pending: dict[int, Pending] = {}
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
        *,
        replay: bool,
    ) -> Pending | None:
        """Begin a subscription; returns what has to be confirmed, None if it stands already.

        token: names it at the shards.
        """
        subscription = self._by_text.get(pattern.text)
        if subscription is None:
            subscription = Subscription(self._realm.name, pattern)
            self._by_text[pattern.text] = subscription
            self._trie.add(pattern, subscription)
        if subscription.established and not replay:
            self._activate(session, subscription, grant)
            session.subscribed(request, subscription, [])
            return None
        pending = Pending(
            token,
            session,
            request,
            subscription,
            grant,
            replay=replay,
            shards=self._shards(pattern),
        )
        subscription.pending.append(pending)
        self.plans.drop(pattern)
        frame = Subscribe(token, self._realm.name, pattern.text, replay)
        for shard in pending.waiting:
            if self._links[shard].open:
                self._links[shard].send(frame)
        return pending

    def _activate(self, session: Session, subscription: Subscription, grant: int) -> None:
        subscription.add(session, grant)
        if session.subscriptions is None:
            session.subscriptions = {}
        if subscription.pattern.text not in session.subscriptions:
            self.count += 1
        session.subscriptions[subscription.pattern.text] = subscription
        self.plans.drop(subscription.pattern)

    def complete(self, pending: Pending) -> list[Event]:
        """All shards have confirmed: tell the session; returns the live events held for it."""
        subscription = pending.subscription
        subscription.pending.remove(pending)
        subscription.established = True
        retained = [
            event for shard in sorted(pending.retained) for event in pending.retained[shard]
        ]
        held = [] if subscription.has(pending.session) else pending.held
        if held and retained:
            # Of a restarted shard, an event may come that is older than the key.
            keys = {event.publish.topic: event.publication for event in retained}
            held = [one for one in held if one.publication > keys.get(one.publish.topic, 0)]
        self._activate(pending.session, subscription, pending.grant)
        pending.session.subscribed(pending.request, subscription, retained)
        return held

    def abandon(self, pending: Pending) -> None:
        """The session has gone, or has unsubscribed meanwhile."""
        subscription = pending.subscription
        subscription.pending.remove(pending)
        self.plans.drop(subscription.pattern)
        self._drop_if_unused(subscription)

    # Unsubscribing

    def unsubscribe(self, session: Session, text: str) -> bool:
        """Returns whether there was such a subscription, or the wish for one."""
        subscription = self._by_text.get(text)
        if subscription is None:
            return False
        mine = [pending for pending in subscription.pending if pending.session is session]
        for pending in mine:
            pending.waiting.clear()
            subscription.pending.remove(pending)
        had = session.subscriptions is not None and text in session.subscriptions
        if had and session.subscriptions is not None:
            del session.subscriptions[text]
            self.count -= 1
            subscription.remove(session)
        self.plans.drop(subscription.pattern)
        self._drop_if_unused(subscription)
        return had or bool(mine)

    def _drop_if_unused(self, subscription: Subscription) -> None:
        pattern = subscription.pattern
        if not subscription.unused or self._by_text.get(pattern.text) is not subscription:
            return
        del self._by_text[pattern.text]
        self._trie.remove(pattern, subscription)
        frame = Unsubscribe(self._realm.name, pattern.text)
        for shard in self._shards(pattern):
            if self._links[shard].open:
                self._links[shard].send(frame)

    def leave(self, session: Session) -> None:
        """The session has ended."""
        for text in list(session.subscriptions or ()):
            self.unsubscribe(session, text)

    # A shard comes back

    def replay(self, shard: int) -> list[Frame]:
        """What that shard must know."""
        frames: list[Frame] = []
        realm = self._realm.name
        for subscription in self._by_text.values():
            pattern = subscription.pattern
            if shard not in self._shards(pattern):
                continue
            frames.append(Subscribe(0, realm, pattern.text, replay=False))
            for pending in subscription.pending:
                if shard in pending.waiting:
                    pending.retained.pop(shard, None)
                    frames.append(Subscribe(pending.token, realm, pattern.text, pending.replay))
        return frames

    # Matching

    def plan(self, topic: str) -> Plan:
        """Whom events on the topic go to; cached until a subscription changes."""
        plan = self.plans.entries.get(topic)
        if plan is not None:
            return plan
        plan = Plan()
        to_mqtt = mqtt_deliverable(topic)
        for subscription in self._trie.match(topic):
            plan.pending.extend(subscription.pending)
            for groups, into in (
                (subscription.plain, plan.plain),
                (subscription.granted, plan.granted),
            ):
                into.extend(
                    (flavour, subscription, members)
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
