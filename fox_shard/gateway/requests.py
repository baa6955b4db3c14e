"""The one place through which all requests of clients pass, in every protocol.

Owns: which part of the gateway carries out a request, and whether it may. Never: a wire format;
what is asked of the shards.

Where no realm has roles, all sessions may do everything. So most requests are bound methods of the
parts that carry them out, which saves a call. Otherwise the `Guard` stands before these parts, and
before the guard, where roles have authorizers, the `AskingGuard`.
"""

from collections.abc import Callable
from functools import partial
from typing import final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.node import Notice
from fox_shard.config import Gateway as Settings
from fox_shard.config import Mqtt
from fox_shard.errors import Refusal, SlowConsumer
from fox_shard.gateway.asking_guard import AskingGuard
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.authorization.roles import Roles
from fox_shard.gateway.authorizers import Authorizers
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.limited_lines import LimitedLines
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.consulting.consultations import Consultations
from fox_shard.gateway.guard import Guard
from fox_shard.gateway.pubsub.pending import PendingSubscription
from fox_shard.gateway.pubsub.publish_rate import PublishRate
from fox_shard.gateway.pubsub.publishing import Publishing
from fox_shard.gateway.pubsub.rows import find_row
from fox_shard.gateway.pubsub.slow_consumers import SlowConsumers
from fox_shard.gateway.pubsub.subscribing import SubscribeRequests
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.pubsub.unstored_waiters import UnstoredWaiters
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.rpc.reductions import Reductions
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.realm import Realm, Route
from fox_shard.gateway.sessions.registry import SessionRegistry
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.gateway.sessions.token_expiry import TokenExpiry
from fox_shard.topics.pattern import Pattern

UNSUBSCRIBED_AT_ONCE = 20
"""Subscriptions of a session that has ended that are dropped at a time: this takes half a
millisecond, which is what a chore counts for (see `Turns`)."""


@final
class Requests:
    """The `Router` of all sessions of one gateway."""

    __slots__ = (
        "_authorizers",
        "_backpressure",
        "_calls",
        "_clock",
        "_guard",
        "_ordering",
        "_publish_rate",
        "_publishing",
        "_reductions",
        "_registrations",
        "_registry",
        "_roles",
        "_slow_consumers",
        "_subscribe_requests",
        "_subscriptions",
        "_token_expiry",
        "_turns",
        "_unstored_waiters",
        "authentication",
        "call",
        "cancel",
        "clock_set",
        "continue_call",
        "dropped",
        "give_up_call",
        "invocation_error",
        "limit_counts",
        "mqtt",
        "open_realm",
        "publish",
        "publish_all",
        "realms",
        "register",
        "register_reducer",
        "set_will",
        "settings",
        "slow_consumers",
        "subscribe",
        "timers",
        "unregister",
        "yield_",
    )

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        *,
        settings: Settings,
        mqtt: Mqtt,
        realms: dict[str, Realm],
        clock: Clock,
        timers: Timers,
        turns: Turns,
        limit_counts: LimitCounts,
        authentication: Authentication,
        registry: SessionRegistry,
        ordering: Ordering,
        backpressure: Backpressure,
        publishing: Publishing,
        unstored_waiters: UnstoredWaiters,
        slow_consumers: SlowConsumers,
        subscribe_requests: SubscribeRequests,
        subscriptions: dict[str, Subscriptions],
        calls: Calls,
        registrations: Registrations,
        reductions: Reductions,
        roles: Roles,
        consultations: Consultations,
        notices: list[Notice],
        open_realm: Callable[[str | None], None],
    ) -> None:
        """realms, subscriptions: by the realm's name. notices: for the log."""
        self.settings = settings
        self.mqtt = mqtt
        self.realms = realms
        self.timers = timers
        self.limit_counts = limit_counts
        self.authentication = authentication
        self._turns = turns
        self._clock = clock
        self._registry = registry
        self._token_expiry = TokenExpiry(registry.sessions, timers, turns.add_chore, clock)
        self.clock_set = self._token_expiry.clock_set
        self._ordering = ordering
        self._backpressure = backpressure
        self._unstored_waiters = unstored_waiters
        self._slow_consumers = slow_consumers
        self._subscribe_requests = subscribe_requests
        self._subscriptions = subscriptions
        self._calls = calls
        self._registrations = registrations
        self._reductions = reductions
        self._publishing = publishing
        self.publish = publishing.publish
        self.publish_all = publishing.publish_all
        self.call, self.continue_call = calls.call, calls.continue_call
        self.cancel, self.give_up_call = calls.cancel, calls.give_up
        self.register = registrations.register
        self.register_reducer = reductions.register
        self.subscribe, self.set_will = self._subscribe, self._set_will
        self.open_realm = open_realm
        self._roles = roles
        self._guard: Guard | None = None
        self._authorizers: Authorizers | None = None
        if roles.in_use:
            guard = Guard(limit_counts, publishing, calls, registrations, reductions)
            self._guard = guard
            self.publish, self.publish_all = guard.publish, guard.publish_all
            self.call = guard.call
            self.register = guard.register
            self.register_reducer = guard.register_reducer
            if roles.have_authorizers:
                authorizers = Authorizers(
                    consultations,
                    limit_counts,
                    turns,
                    lambda: clock.now,
                    lambda: LimitedLines("authorizer_failed", notices, timers),
                )
                self._authorizers = authorizers
                self._ask_before(AskingGuard(guard, authorizers), authorizers)
        self._publish_rate: PublishRate | None = None
        if settings.publish_rate:
            # This stands before the guard: publishes that it refuses count, too.
            rate = PublishRate(
                settings, limit_counts, turns, timers, clock, self.publish, self.publish_all
            )
            self._publish_rate = rate
            self.publish, self.publish_all = rate.publish, rate.publish_all
        self.unregister = registrations.unregister
        self.yield_ = registrations.yield_
        self.invocation_error = registrations.invocation_error
        # Counted since the last report.
        self.slow_consumers = 0
        self.dropped = 0

    def _ask_before(self, guard: AskingGuard, authorizers: Authorizers) -> None:
        """Let requests wait for the answers of authorizers."""
        self.publish, self.publish_all = guard.publish, guard.publish_all
        self.call = guard.call
        self.register = guard.register
        self.register_reducer = guard.register_reducer
        self.subscribe = authorizers.asking(self._subscribe)
        self.set_will = authorizers.asking(self._set_will)

    @property
    def now(self) -> float:
        """The time in monotonic seconds."""
        return self._clock.now

    @property
    def wall(self) -> float:
        """The same time in seconds since 1970."""
        return self._clock.wall

    def session_opened(
        self,
        session: Session,
        *,
        protocol: str,
        transport: str,
        authmethod: str,
        authprovider: str,
        client: str = "",
    ) -> bool:
        """Open a session, see `Router`."""
        access = session.connection.access
        if access is None or not access.application:
            session.permissions = self._roles.permissions(
                session.realm.name, session.authid, session.authrole
            )
        may_begin = self._registry.session_opened(
            session,
            protocol=protocol,
            transport=transport,
            authmethod=authmethod,
            authprovider=authprovider,
            client=client,
            wall=self._clock.wall,
        )
        if session.expires is not None:
            self._token_expiry.add(session, session.expires)
        if self._authorizers is not None:
            more = {
                "authmethod": authmethod,
                "authprovider": authprovider,
                "transport": {"type": transport, "protocol": protocol},
            }
            self._authorizers.session_opened(session, more)
        return may_begin

    def session_ended(self, session: Session, reason: str, *, graceful: bool = False) -> None:
        """Note that a session has ended, see `Router`."""
        if self._authorizers is not None:
            self._authorizers.session_ended(session)
        if self._registry.session_ended(session, self._ordering, reason, graceful=graceful):
            self._backpressure.release(session.connection)
            self._slow_consumers.session_ended(session)
            if self._publish_rate is not None:
                self._publish_rate.session_ended(session)
            self._unstored_waiters.session_ended(session.id)
            incomplete = self._subscribe_requests.withdraw_all(session)
            self._leave(session, incomplete)
            self._calls.session_ended(session)
            self._registrations.session_ended(session)
            self._reductions.session_ended(session)

    def _leave(self, session: Session, incomplete: list[PendingSubscription]) -> None:
        """Unsubscribe a session that has ended: at once, or a part at a time, as it has many."""
        subscriptions = self._subscriptions[session.realm.name]
        left = subscriptions.session_ended(session, incomplete)
        if subscriptions.drop_unused(left, UNSUBSCRIBED_AT_ONCE):
            self._turns.add_chore(partial(subscriptions.drop_unused, left, UNSUBSCRIBED_AT_ONCE))

    def slow(self, connection: Connection) -> None:
        """End the session of a client that reads too slowly, see `Router`."""
        self.slow_consumers += 1
        self.limit_counts.add("outbound_limit")
        if connection.owner is not None:
            connection.owner.end(
                SlowConsumer.uri,
                f"more than {self.settings.outbound_limit} bytes have waited to be read for too "
                "long: read faster, or subscribe to less",
            )

    def _set_will(
        self, session: Session, route: Route, flags: int, encoding: int, args: bytes
    ) -> None:
        """Set what is published if the session ends ungracefully, see `Router`."""
        if route.table is not None:
            try:
                route, flags = find_row(session.realm, route, flags, encoding, args, b"")
            except Refusal:
                self.dropped += 1
                return
        if self._guard is not None and not self._guard.may_will(session, route.topic, flags):
            return
        self._registry.set_will(session, route, flags, encoding, args)

    def take_dropped(self) -> int:
        """Return how many publishes were dropped since the last call."""
        dropped = self.dropped + self._publishing.dropped
        self.dropped = self._publishing.dropped = 0
        return dropped

    def _subscribe(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        granted_qos: int,
        options: SubscribeOptions,
    ) -> None:
        """Subscribe, see `Router`; to all rows, if the pattern is the name of a table."""
        named, pattern = pattern, session.realm.rows_of(pattern)
        guard = self._guard
        if guard is None or guard.may_subscribe(session, request, pattern, named):
            self._subscribe_requests.subscribe(session, request, pattern, granted_qos, options)

    def unsubscribe(self, session: Session, name: str) -> bool:
        """End a subscription, see `Router`."""
        if self._unsubscribe(session, name):
            return True
        pattern = Pattern.parse(name.partition("\0")[0])
        rows = session.realm.rows_of(pattern)
        return rows is not pattern and self._unsubscribe(session, rows.text)

    def _unsubscribe(self, session: Session, name: str) -> bool:
        incomplete = self._subscribe_requests.withdraw(session, name)
        for pending in incomplete:
            if not pending.confirmed:
                session.unsubscribed_early(pending.request, pending.subscription)
        return self._subscriptions[session.realm.name].unsubscribe(session, name, incomplete)
