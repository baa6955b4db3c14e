"""One gateway: its links and its sessions.

Owns: the parts of the gateway, its links, time. Never: which part handles a frame (see `dispatch`)
or a request of a session (see `requests`), sockets, clocks, chance of its own, a wire format.

Requests of sessions become frames in the links' outboxes, which `flush` returns as batches. Frames
that arrive become bytes in the buffers of connections, which are then in `dirty`.
"""

from collections.abc import Callable, Iterable
from typing import final

from fox_shard.backplane.frames import Batch, Frame, LoginFailed, Report
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.link import Link
from fox_shard.backplane.links import IsWorking, Links, unknown
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import RandomSource
from fox_shard.backplane.terms import LinkSettings
from fox_shard.backplane.totals import Totals
from fox_shard.backplane.tracing import Tracer
from fox_shard.backplane.usage import NO_USAGE, Usage
from fox_shard.config import Auth, Mqtt, RealmLimits, asks_for_proof, share
from fox_shard.config import Gateway as Settings
from fox_shard.config import Realm as RealmSettings
from fox_shard.config import Reducers as ReducerSettings
from fox_shard.deadline import Deadline
from fox_shard.gateway.arrivals import Arrivals
from fox_shard.gateway.auth.assigned_realm import assigned_realm
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.auth.awaited_users import AwaitedUsers
from fox_shard.gateway.auth.dynamic import Authenticators
from fox_shard.gateway.auth.tokens import Tokens
from fox_shard.gateway.auth.user_keys import UserKeys
from fox_shard.gateway.authorization.roles import Roles
from fox_shard.gateway.clients.admission import Admission
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limited_lines import MAX_REASON, LimitedLines
from fox_shard.gateway.clients.limits import NAMES, Limits
from fox_shard.gateway.clients.sampled_times import SampledTimes
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.consulting.consultations import Consultations
from fox_shard.gateway.dispatch import Dispatcher
from fox_shard.gateway.procedures.event_history import EventHistory
from fox_shard.gateway.procedures.inquiry import Inquiries
from fox_shard.gateway.procedures.key_list import KeyList
from fox_shard.gateway.procedures.reducer_list import ReducerProcedures
from fox_shard.gateway.procedures.registration_meta import RegistrationMeta
from fox_shard.gateway.procedures.status import StatusProcedure
from fox_shard.gateway.procedures.subscribers import SubscriberReports
from fox_shard.gateway.procedures.subscription_meta import SubscriptionMeta
from fox_shard.gateway.procedures.table_list import TableList
from fox_shard.gateway.procedures.table_rows import TableRows
from fox_shard.gateway.procedures.testaments import Testaments
from fox_shard.gateway.pubsub.fanout import Fanout
from fox_shard.gateway.pubsub.publishing import Publishing
from fox_shard.gateway.pubsub.slow_consumers import SlowConsumers
from fox_shard.gateway.pubsub.subscribing import SubscribeRequests
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.pubsub.unstored_waiters import UnstoredWaiters
from fox_shard.gateway.requests import Requests
from fox_shard.gateway.rpc.calls import COORDINATOR, Calls
from fox_shard.gateway.rpc.own_calls import OwnCalls
from fox_shard.gateway.rpc.reductions import Reductions
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.budget import DeliveryBudget
from fox_shard.gateway.sessions.memberships import SUBSCRIPTION, Memberships
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.realms_on_demand import RealmsOnDemand
from fox_shard.gateway.sessions.registry import SessionRegistry
from fox_shard.gateway.sessions.removed_users import RemovedUsers
from fox_shard.store.journal import Journal
from fox_shard.users.user import Users

NO_AUTH, REALM_LIMITS = Auth(), RealmLimits()

CLOCK_STEP = 0.5
"""Seconds by which the time of day may differ from what it was to be, unnoticed."""

FLOOD = 8
"""How many times its credit may be on its way to a shard before new clients have to wait.

Each client is stopped when there is no credit, but has sent something by then, and may come again.
"""

STOOD_STILL = "fox.close.stood_still"
"""Why sessions end if their gateway stood still until other processes declared it gone."""


@final
class Gateway:
    """The core of a gateway process (see `Node`)."""

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        number: int | str,
        *,
        realms: Iterable[RealmSettings],
        settings: Settings,
        mqtt: Mqtt,
        reducer: ReducerSettings,
        terms: LinkSettings,
        incarnation: int,
        rng: RandomSource,
        now: float,
        wall: float,
        gateways: int = 1,
        realm_limits: RealmLimits = REALM_LIMITS,
        is_working: IsWorking = unknown,
        auth: Auth = NO_AUTH,
        users: Users | None = None,
    ) -> None:
        """number: 0..gateways-1, or what follows `gateway-` in the name of an attached one.

        rng: for session ids, epochs, incarnations and nonces.

        users: None: there are none, and all clients are anonymous, unless a realm has tokens.
        now: monotonic seconds. wall: seconds since 1970. gateways: how many there are.
        realm_limits: of realms without limits of their own. is_working: see `Links`.
        """
        self.name = f"gateway-{number}"
        self._gateways, self._realm_limits = gateways, realm_limits
        self.settings = settings
        self.now = now
        self._wall_offset = self._noted_offset = wall - now
        self.deadline = Deadline()
        self.timers = Timers(self.deadline)
        self.dirty: list[Connection] = []
        self.turns = Turns()
        self.admission = Admission()
        self.limit_counts = LimitCounts(NAMES)
        realms = [*realms]
        roles = Roles(realms)
        anonymous = [one.name for one in realms if one.anonymous]
        self.notices: list[Notice] = []
        self.totals = Totals(now)
        self._refusals = LimitedLines("client_refused", self.notices, self.timers)
        self.links: list[Link] = []
        user_keys = self.user_keys = UserKeys(
            realms,
            auth,
            self.links,
            terms.shards,
            self.limit_counts,
            self.notices,
            lambda: self._end_removed.look(),
        )
        self.authentication = Authentication(
            auth, anonymous, self.limit_counts, rng, lambda: self.now, user_keys
        )
        self.authentication.tokens = {
            one.name: Tokens(one.name, one.jwt, lambda: self.now, lambda: self.wall)
            for one in realms
            if one.jwt is not None
        }
        self.authentication.awaited = AwaitedUsers(
            user_keys, self.authentication, self.turns.add_chore
        )
        self.authentication.users = users
        self.authentication.assigned_realm = assigned_realm(realms)
        self.authentication.tell_others = self._login_failed
        if users is None and asks_for_proof(realms):
            self.authentication.users = Users(())
        self._all_links = Links(
            self.name,
            self,
            settings=terms,
            incarnation=incarnation,
            new_epoch=lambda: rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            notices=self.notices,
            now=now,
            is_working=is_working,
            on_disowned=self._disowned,
        )
        self.links += [
            self._all_links.add(f"shard-{shard}", now, connects=True)
            for shard in range(terms.shards)
        ]
        for link in self.links:
            link.work_limit = terms.work_credit
        self.coordinator = self._all_links.add("coordinator", now, connects=True)
        self._credit = terms.credit
        # Whether so much is on its way to a shard that no new client is let in.
        self._flooded = False
        self._new_incarnation: Callable[[], int] = lambda: rng.randrange(1, 1 << 53)
        self._numbers = {peer.peer: shard for shard, peer in enumerate(self.links)}
        self._numbers["coordinator"] = COORDINATOR
        self.journal: Journal | None = None
        # Whether the links to all shards are open, and the tables known. If not, no new client is
        # let in, for it would see only some of the keys. Nor is it while a shard is flooded.
        self.linked = False
        peers = {number: self._link(number) for number in self._numbers.values()}
        self._backpressure = Backpressure(peers, self.turns)
        self._congested = self._backpressure.congested

        self.registry = SessionRegistry(
            self.links,
            self.coordinator,
            rng,
            self.notices,
            settings.session_backlog,
            self.limit_counts,
        )
        self.sessions = self.registry.sessions
        self._end_removed = RemovedUsers(self.registry, self.authentication, self.turns.add_chore)
        self.realms: dict[str, Realm] = {}
        self.subscriptions: dict[str, Subscriptions] = {}
        self._fanouts: dict[str, Fanout] = {}
        memberships = self._memberships = Memberships(
            self.coordinator, self.realms, settings.meta_event_backlog, self.turns.add_chore
        )
        memberships.source(SUBSCRIPTION, lambda realm: self.subscriptions[realm].memberships())
        for one in realms:
            self._add_realm(one)
        self.budget = DeliveryBudget(self.realms.values())
        self.ordering = Ordering(
            self.name,
            self.links,
            lambda frame, shard: self._dispatcher.deliver_held_back(frame, shard),
            self.budget,
            self._backpressure.pause,
        )
        # Whether so much is held back that the shards get no credit.
        self._held_limit = settings.held_limit
        self._holds_too_much = False
        limits = Limits(settings, self.limit_counts)
        self._times = SampledTimes(self)
        own_calls = OwnCalls(self.links, Placement(terms.shards), rng)
        self.consultations = Consultations(
            own_calls,
            settings.max_consultations,
            self.limit_counts,
            self.timers,
            lambda: self.now,
        )
        self.authentication.authenticators = Authenticators(
            realms,
            auth.authenticator_timeout,
            self.consultations,
            self.realms,
            self.authentication,
        )
        self.calls = Calls(
            self.links,
            self.coordinator,
            self.ordering,
            self.sessions,
            limits,
            own_calls,
            self._backpressure,
            self._times,
        )
        self.reductions = Reductions(
            self.links, self.sessions, limits, self, self.timers, reducer, self._backpressure
        )
        self.registrations = Registrations(
            self.links,
            self.ordering,
            self.sessions,
            limits,
            self.reductions,
            self,
            memberships,
            self.timers,
            self._backpressure,
        )
        self.subscribe_requests = SubscribeRequests(
            self.subscriptions,
            self._fanouts,
            self.ordering,
            self.links,
            self.timers,
            limits,
            memberships,
            self._backpressure,
            self.slow,
        )
        self.inquiries = Inquiries(
            self.links,
            self.calls,
            self.sessions,
            settings,
            self.limit_counts,
            self._backpressure,
        )
        EventHistory(self.inquiries, self.subscriptions, self.calls)
        ReducerProcedures(self.inquiries, self.calls)
        StatusProcedure(self.calls, self.health)
        KeyList(self.inquiries, self.calls)
        RegistrationMeta(self.inquiries, self.calls)
        SubscriptionMeta(self.inquiries, self.calls)
        TableRows(self.inquiries, self.calls)
        TableList(self.inquiries, self.calls)
        Testaments(self.registry.wills, self.calls, settings, limits, self._backpressure)
        self._unstored_waiters = UnstoredWaiters()
        self._dispatcher = Dispatcher(
            shards=terms.shards,
            times=self._times,
            sessions=self.sessions,
            ordering=self.ordering,
            subscriptions=self.subscriptions,
            fanouts=self._fanouts,
            subscribe_requests=self.subscribe_requests,
            unstored_waiters=self._unstored_waiters,
            calls=self.calls,
            registrations=self.registrations,
            reductions=self.reductions,
            inquiries=self.inquiries,
            subscriber_reports=SubscriberReports(self.links, self.subscriptions),
            memberships=memberships,
            registry=self.registry,
            realms=self.realms,
            user_keys=user_keys,
            login_failed=self.authentication.failed_elsewhere,
        )
        self.arrivals = Arrivals(
            peers,
            self.budget,
            self._all_links.receive,
            self._dispatcher.handle,
            self.ordering.unfinished,
        )
        self._left = self.arrivals.queue
        self._unreleased = self.ordering.unfinished
        # Whether another turn should follow at once.
        self.busy = False
        slow_consumers = SlowConsumers(settings, self.notices, self.timers, self)
        self.fell_behind, self.caught_up = slow_consumers.fell_behind, slow_consumers.caught_up
        on_demand = RealmsOnDemand(
            auth.realms_on_demand,
            self.realms,
            self.authentication,
            self.limit_counts,
            lambda name: self._add_realm(RealmSettings(name=name)),
        )
        self.requests = Requests(
            settings=settings,
            mqtt=mqtt,
            realms=self.realms,
            clock=self,
            timers=self.timers,
            turns=self.turns,
            limit_counts=self.limit_counts,
            authentication=self.authentication,
            registry=self.registry,
            ordering=self.ordering,
            backpressure=self._backpressure,
            publishing=Publishing(
                self.links, self.ordering, self._backpressure, self._unstored_waiters
            ),
            unstored_waiters=self._unstored_waiters,
            slow_consumers=slow_consumers,
            subscribe_requests=self.subscribe_requests,
            subscriptions=self.subscriptions,
            calls=self.calls,
            registrations=self.registrations,
            reductions=self.reductions,
            roles=roles,
            consultations=self.consultations,
            notices=self.notices,
            open_realm=on_demand.open,
        )
        # Returns how many bytes wait for clients to read them; set by the shell.
        self.client_buffers: Callable[[], int] = lambda: 0

    def _add_realm(self, settings: RealmSettings) -> None:
        name = settings.name
        realm = self.realms[name] = Realm(
            name,
            Placement(len(self.links)),
            headers=settings.kwargs_are_headers,
            stored=settings.store != "memory",
            has_schema=bool(settings.schema),
            max_subscriptions=share(
                settings.limits(self._realm_limits).max_subscriptions, self._gateways
            ),
        )
        realm.count_dropped_event = lambda: self.limit_counts.add("slow_consumer")
        subscriptions = Subscriptions(realm, self.links, self, self._memberships)
        self.subscriptions[name] = subscriptions
        self._fanouts[name] = Fanout(
            realm,
            subscriptions,
            self.sessions,
            self.dirty,
            lambda pending, event: self.subscribe_requests.kept(pending, event),
        )

    @property
    def wall(self) -> float:
        """The time `now` in seconds since 1970."""
        return self.now + self._wall_offset

    def slow(self, connection: Connection) -> None:
        """End the client's session: more than `outbound_limit` bytes wait for it."""
        self.requests.slow(connection)

    def end_sessions(self, reason: str, message: str) -> None:
        """End all sessions. reason: a URI. message: a sentence for the clients."""
        for session in list(self.sessions.values()):
            session.end(reason, message)

    def set_users(self, users: Users) -> None:
        """Replace the users. Sessions of users that are gone end in the next turns."""
        self.authentication.users = users
        self._end_removed.look()

    def client_refused(self, connection: Connection) -> None:
        """Log that the client got no session, as `connection.refused` says."""
        reason = connection.refused[:MAX_REASON]
        self._refusals.add({"address": connection.peer, "reason": reason}, self.now)

    @property
    def incarnation(self) -> int:
        """The number that names this life of the process, as its peers see it."""
        return self._all_links.incarnation

    @property
    def forgotten(self) -> list[str]:
        """See `Node`."""
        return self._all_links.forgotten

    @property
    def refusal(self) -> str:
        """Why a shard or the coordinator does not let this gateway in, in words; "": none."""
        return self._all_links.refusal

    # From the links

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch, at once or over several turns.

        size: its bytes on the wire. now, wall: see `__init__`.
        """
        self.now = self.subscribe_requests.now = now
        self._wall_offset = wall - now
        if abs(self._wall_offset - self._noted_offset) > CLOCK_STEP:
            self._noted_offset = self._wall_offset
            self.requests.clock_set()
        shard = self._numbers[batch.source]
        self.arrivals.receive(shard, batch, size, now)
        if not self.linked:
            # Perhaps what has just come are the definitions that were waited for.
            self._update_linked()

    def _go_on(self, now: float) -> None:
        """Go on with what earlier turns have left."""
        self.now = self.subscribe_requests.now = now
        self.ordering.release_more()
        self.arrivals.go_on(now)
        if not self.linked:
            self._update_linked()
        self.busy = bool(self._left or self._unreleased)
        if self.busy:
            self.deadline.by(now)

    def _update_linked(self) -> None:
        self.linked = (
            not self._flooded
            and all(link.open for link in self.links)
            and not any(realm.awaits_tables for realm in self.realms.values())
        )

    # Pairs begin and end

    def _link(self, shard: int) -> Link:
        """Return the link to that shard, or to the coordinator."""
        return self.coordinator if shard == COORDINATOR else self.links[shard]

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """Replay to a shard, or to the coordinator, what it must know of the sessions.

        before: the peer's incarnation in the pair before, 0: there was none.
        """
        shard = self._numbers[link.peer]
        if shard == COORDINATOR:
            self.registry.coordinator_opened()
            return
        frames: list[Frame] = []
        for subscriptions in self.subscriptions.values():
            frames.extend(subscriptions.replay(shard))
        frames.extend(self.subscribe_requests.replay(shard))
        frames.extend(self.user_keys.replay(shard))
        self.calls.link_opened(shard)
        frames.extend(self.registrations.replay(shard))
        frames.extend(self.reductions.replay())
        frames.extend(self.registry.wills.replay(shard))
        frames.extend(self.registry.alive_at(shard))
        link.resume(frames)
        if before != link.peer_incarnation:
            queued = set(map(id, link.outbox))
            for publish in self._unstored_waiters.at(shard):
                if id(publish) not in queued:
                    link.send_reliable(publish)
        self._dispatcher.link_opened(shard, link.peer_incarnation)
        self._update_linked()
        for session in self.sessions.values():
            self.ordering.renumber(session, shard)
        self.ordering.ask_again(shard)
        self.registry.link_opened(shard)

    def link_broken(self, link: Link, now: float) -> None:
        """Fail calls and registrations at that peer; publishes and subscriptions wait for it."""
        shard = self._numbers[link.peer]
        self.arrivals.finish(shard)
        if shard == COORDINATOR:
            self.registry.admit_all()
        else:
            self.user_keys.link_broken(shard)
        self._update_linked()
        self._backpressure.update()
        self._dispatcher.store_failures.pop(shard, None)
        # This comes first, as it releases frames that were held back behind invocations.
        self.ordering.link_broken(shard)
        self.calls.link_broken(shard)
        self.registrations.link_broken(shard)
        self.reductions.link_broken(shard)
        self.inquiries.link_broken(shard)

    def peer_gone(self, link: Link, now: float) -> None:
        """Do nothing: a gateway waits for its shards and the coordinator as long as it takes."""

    def connection_lost(self, peer: str, now: float) -> None:
        """Note that the connection to that process is broken."""
        self._all_links.connection_lost(peer, now)

    # Time and out

    def tick(self, now: float) -> None:
        """Do what is due, and set `deadline`."""
        self.now = self.subscribe_requests.now = now
        self.timers.run(now)
        self._all_links.tick(now)
        self.deadline.at = min(self._all_links.next_tick(), self.timers.next())

    def _login_failed(self, network: str) -> None:
        """Tell the other gateways, if the coordinator is there; without it, each counts alone."""
        if self.coordinator.open:
            self.coordinator.send(LoginFailed(network))

    def _disowned(self, now: float) -> None:
        """End all sessions, and go on in a new incarnation.

        Another process has declared this gateway gone, and its sessions with it, while this gateway
        stood still. Publishes that no shard has applied yet are dropped, because other sessions may
        have been told in the meantime that their publishes had taken effect.
        """
        self.registry.wills.drop()
        ended = len(self.sessions)
        self.end_sessions(STOOD_STILL, "the gateway stood still for too long: join again")
        self._all_links.renew(self._new_incarnation(), now)
        self.notices.append(("renewed", {"sessions_ended": ended}))

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """Return (peer, batch) for every process that there is news for. Called once a turn."""
        if self._left or self._unreleased or self.busy:
            self._go_on(now)
        times = self._times
        if times.event or times.call is not None:
            times.turn_ends(now, now + self._wall_offset)
        self.budget.begin_turn()
        if (self.ordering.held_bytes > self._held_limit) is not self._holds_too_much:
            self._limit_credit()
        out = self._all_links.flush(now)
        if self._congested or self._all_links.held or (out and self._out_of_credit()):
            self._backpressure.update()
            flooded = any(link.in_flight > FLOOD * self._credit for link in self.links)
            if flooded is not self._flooded:
                self._flooded = flooded
                self._update_linked()
        return out

    def _limit_credit(self) -> None:
        """Give the shards no credit while too much is held back, so that they give others none.

        What is held back waits only for answers to questions, which need no credit. They may depend
        on what this gateway has handled, which it goes on to say (`Batch.withheld`).
        """
        self._holds_too_much = not self._holds_too_much
        for link in self.links:
            link.hold_credit = self._holds_too_much
            link.acknowledge_soon()

    def _out_of_credit(self) -> bool:
        credit = self._credit
        for link in self.links:
            if link.out_of_credit:
                return True
        return self.coordinator.in_flight > credit

    def send_report(self, now: float, usage: Usage = NO_USAGE) -> None:
        """Send the metrics to the coordinator, if it is linked."""
        if self.coordinator.open:
            report = self._report(usage)
            self.totals.add(report, now)
            self.coordinator.send(report)

    def _report(self, usage: Usage = NO_USAGE) -> Report:
        """Return the counters since the last report, and the gauges."""
        requests = self.requests
        counters = {
            "slow_consumers": requests.slow_consumers,
            "dropped": requests.take_dropped(),
            "authentication_failures": self.authentication.failures,
            **self.limit_counts.take(),
            **usage.counters(),
        }
        requests.slow_consumers = self.authentication.failures = 0
        gauges = {
            "sessions": len(self.sessions),
            "subscriptions": sum(s.count for s in self.subscriptions.values()),
            "client_buffers": self.client_buffers(),
            "link_buffers": sum(link.in_flight for link in self._all_links.by_name.values()),
            **usage.gauges(),
        }
        realms = {realm.name: realm.take_counts() for realm in self.realms.values()}
        return Report(counters, gauges, realms, self._times.take())

    def trace(self, tracer: Tracer) -> None:
        """Let a tracer see all frames that come and go."""
        self._all_links.tracer = tracer

    def health(self) -> dict[str, object]:
        """Return {"name", "status": "ok", "degraded" (still serving) or "unavailable", …}."""
        peers = self._all_links.states()
        failures = {
            self.links[shard].peer: why
            for shard, why in self._dispatcher.store_failures.items()
            if why
        }
        healthy = all(peers.values()) and not failures
        health: dict[str, object] = {
            "name": self.name,
            "status": "ok" if healthy else "degraded" if self.linked else "unavailable",
            "links": peers,
            "sessions": len(self.sessions),
        }
        if failures:
            health["stores"] = failures
        if refused := self.limit_counts.totals():
            health["refused"] = refused
        return health
