"""The core of a shard: its parts, its turns, and what is due when.

Owns: how the parts are put together, and deadlines. Never: what a frame does (see `dispatch`); what
waits for the next turn (see `scheduler`); how peers come and go (see `membership`); what they
replay (see `recovery`); sockets, clocks, or randomness of its own.

In each turn, all inbound batches are handled; then `flush` returns one batch for each peer to which
there is something to send, and all changes of the turn go to the store as one transaction (see
`journal`). A shard that has just started handles replayed state only, until every expected peer has
finished its replay or `peer_timeout` is over; all other frames wait in order.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.attached import HasEnded, Running, nobody_knows, none_run
from fox_shard.backplane.frames import (
    Batch,
    StoreFailure,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.links import IsWorking, Links, unknown
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import RandomSource
from fox_shard.backplane.terms import LinkSettings
from fox_shard.backplane.totals import Totals
from fox_shard.backplane.tracing import Tracer
from fox_shard.backplane.usage import NO_USAGE, Usage
from fox_shard.config import Keys, Realm, RealmLimits, Rpc
from fox_shard.config import Reducers as ReducerLimits
from fox_shard.deadline import Deadline
from fox_shard.shard.backlog import Backlog
from fox_shard.shard.budget import TURN_UNITS, Budget
from fox_shard.shard.clock import PublicationClock, TimeOfDay
from fox_shard.shard.dispatch import Dispatcher
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.inquiries import Inquiries
from fox_shard.shard.keys.listing import KeyListing
from fox_shard.shard.keys.realm import Realms
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.inbox import Inbox
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import GATEWAY, SHARD
from fox_shard.shard.links.peers import Peers
from fox_shard.shard.links.relays import Relays
from fox_shard.shard.loading import load
from fox_shard.shard.membership import Membership
from fox_shard.shard.monitoring import Monitoring
from fox_shard.shard.publishing.stored import StoredPublishes
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.directory import Directory
from fox_shard.shard.pubsub.history_pages import HistoryPages
from fox_shard.shard.pubsub.meta_listeners import MetaListeners
from fox_shard.shard.pubsub.realms import RealmIndexes
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.queue_quota import QueueQuotas
from fox_shard.shard.recovery import Recovery
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.releases import Releases
from fox_shard.shard.rows import CEILING
from fox_shard.shard.rows import encode as encode_row
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.registrar import Registrar
from fox_shard.shard.rpc.reports import Reports as RegistrationReports
from fox_shard.shard.scheduler import Scheduler
from fox_shard.shard.sessions.wills import Wills
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.shard.tables.reading import TableReader
from fox_shard.shard.tables.states import TableStates
from fox_shard.shard.tables.tables import Tables
from fox_shard.shard.tables.validation import Validation
from fox_shard.store.journal import Journal

REALM_LIMITS = RealmLimits()


@final
class Shard:
    """The core of one shard process, a `Node`."""

    __slots__ = (
        "_backlog",
        "_ceiling_ticket",
        "_dispatcher",
        "_membership",
        "_monitoring",
        "_peers",
        "_releases",
        "_time_of_day",
        "_unannounced",
        "broker",
        "budget",
        "clock",
        "deadline",
        "dealer",
        "definitions",
        "inbox",
        "inquiries",
        "journal",
        "links",
        "name",
        "notices",
        "number",
        "outbox",
        "outcomes",
        "peers",
        "queue_quotas",
        "recovery",
        "reducers",
        "registrar",
        "relays",
        "retained_keys",
        "scheduler",
        "stored_publishes",
        "subscriptions",
        "tables",
        "totals",
        "wills",
    )

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        number: int,
        *,
        gateways: int,
        terms: LinkSettings,
        rpc: Rpc,
        limits: Keys,
        reducer: ReducerLimits,
        max_message_size: int,
        incarnation: int,
        rng: RandomSource,
        now: float,
        wall: float,
        identity: int = 0,
        rows: Iterable[tuple[bytes, bytes]] = (),
        realms: Iterable[Realm] = (),
        realm_limits: RealmLimits = REALM_LIMITS,
        is_working: IsWorking = unknown,
        running: Running = none_run,
        has_ended: HasEnded = nobody_knows,
        turn_units: int = TURN_UNITS,
    ) -> None:
        """number: 0..shards-1. gateways: how many there are. rng: for epochs and random callees.

        rpc, limits, reducer: settings. max_message_size: bytes of a client's message, and of a
        patched or reduced key. now: monotonic seconds; wall: seconds since 1970. identity: of the
        store; 0: it ends with the incarnation. rows: (key, value) of the store, in the order of
        keys. realms: the configured ones. realm_limits: of those without limits of their own.
        is_working, has_ended: see `Links`. running: tells which attached gateways run. turn_units:
        the budget of a turn.
        Raises ValueError for a row that this version cannot read.
        """
        self.number = number
        self.name = f"shard-{number}"
        placement = Placement(terms.shards)
        self.deadline = Deadline()
        self.notices: list[Notice] = []
        self.totals = Totals(now)
        self.links = Links(
            self.name,
            self,
            settings=terms,
            incarnation=incarnation,
            new_epoch=lambda: rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            notices=self.notices,
            now=now,
            is_working=is_working,
            has_ended=has_ended,
        )
        self.journal = Journal(
            self.deadline, self._committed, self._commit_failed, self._store_failure
        )
        self._time_of_day = TimeOfDay(now)
        self._tell_time(wall, now)
        self.clock = PublicationClock(number, now + self._time_of_day.offset)
        # Of the transaction that stores the clock's present ceiling.
        self._ceiling_ticket = 0
        settings = tuple(realms)
        self.budget = Budget(turn_units)
        realm_table = Realms(settings, realm_limits, terms.shards, self.budget)
        indexes = RealmIndexes(realm_table)
        self.queue_quotas = QueueQuotas(settings, realm_limits)
        self._unannounced = UnannouncedChanges(self.journal)
        histories = Histories(settings, self.clock, self.journal, self.budget)
        self.broker = Broker(indexes, self.clock, self._unannounced, self.budget)
        self.inquiries = Inquiries(self.budget)
        self._peers = Peers(number, identity, self.links, self.journal, terms)
        self.peers = self._peers.by_name
        listeners = MetaListeners(number, placement, self.clock, self.peers, settings)
        self.subscriptions = Subscriptions(
            indexes,
            self.clock,
            histories,
            self.budget,
            Directory(number, placement, self.inquiries),
            listeners,
        )
        self.retained_keys = RetainedKeys(
            realm_table,
            self.clock,
            self.journal,
            self._unannounced,
            histories,
            limits,
            max_message_size,
        )
        self.outcomes = Outcomes(self.journal)
        self.inbox = Inbox(self.journal)
        self.outbox = ShardOutbox(
            number,
            placement,
            self.journal,
            self.links.by_name,
            self.inbox,
            self.budget,
            terms,
        )
        self.reducers = Reducers(
            number,
            placement,
            self.retained_keys,
            self.clock,
            self.journal,
            self.budget,
            self.deadline,
            reducer,
            max_message_size,
            self.outbox,
            self.inbox,
            self.inquiries,
            self._peers.other_shards,
            settings,
        )
        self.reducers.tick(now)
        self.relays = Relays(self.peers)
        self.definitions = Definitions(self.journal, self.peers, self.budget)
        validation = Validation(self.definitions, realm_table, self.budget)
        self.tables = Tables(
            self.definitions,
            validation,
            self.retained_keys,
            self.journal,
            self.inbox,
            self.outbox,
            self.budget,
            terms.shards,
        )
        TableReader(realm_table, self.inquiries, self.definitions)
        TableStates(self.definitions, self.tables.builds, realm_table, self.inquiries)
        self.stored_publishes = StoredPublishes(
            self.broker,
            self.retained_keys,
            histories,
            self.reducers,
            self.tables,
            self.clock,
            self.outcomes,
            self._unannounced,
            self.peers,
            limits,
            validation,
            self.budget,
            self.queue_quotas,
        )
        KeyListing(realm_table, self.stored_publishes.conditional.waiting, self.inquiries)
        self.dealer = Dealer(
            number,
            placement,
            self.peers.get,
            rpc,
            rng,
            self.deadline,
            self.budget,
            self.queue_quotas,
        )
        self.registrar = Registrar(self.dealer, placement, self._peers.other_shards, self.clock)
        RegistrationReports(self.dealer, self.inquiries)
        self.wills = Wills(self.journal)
        fences = Fences(self._peers)
        history_pages = HistoryPages(histories, self.budget)
        self._dispatcher = Dispatcher(
            self.peers,
            self.broker,
            self.subscriptions,
            self.stored_publishes,
            self.retained_keys.owners,
            history_pages,
            self.dealer,
            self.registrar,
            self.reducers,
            self.wills,
            self.outcomes,
            self.inbox,
            self.inquiries,
            self.relays,
            fences,
            self.definitions,
            self.budget,
            self._peers.outboxes,
        )
        self._releases = Releases(self._dispatcher, self.budget)
        self._backlog = Backlog(self.peers, self._dispatcher, fences, self.budget)
        self.recovery = Recovery(
            self._peers,
            self.links,
            self._dispatcher,
            self.broker,
            self.subscriptions,
            self.stored_publishes,
            self.retained_keys.owners,
            self.reducers,
            self.wills,
            self.outcomes,
            fences,
            self.budget,
            self._backlog,
            self.outbox,
            terms,
            now,
        )
        self.scheduler = Scheduler(
            self.budget,
            [
                self.recovery,
                self._releases,
                self._backlog,
                self.outbox,
                self.stored_publishes,
                self.tables.rebuilding,
                self.subscriptions,
                self.dealer.left_callees,
                history_pages,
            ],
        )
        self._membership = Membership(
            self._peers,
            self.links,
            self._dispatcher,
            self.subscriptions,
            listeners,
            self.retained_keys.owners,
            self._unannounced,
            self.stored_publishes.grants,
            self.dealer,
            self.registrar,
            self.reducers,
            self.definitions,
            self.wills,
            self.outcomes,
            fences,
            self.recovery,
            self._releases,
            self.journal,
            self.notices,
            running,
            terms,
        )
        self._monitoring = Monitoring(
            self._peers,
            self.links,
            self.journal,
            self.retained_keys,
            self.stored_publishes,
            self.dealer.invocations,
            self.reducers,
            self.tables,
            self.outbox,
        )
        running_now = running()
        self._peers.add_all(gateways, running_now, now)
        gateways_of_rows = load(
            rows,
            self.clock,
            self.retained_keys,
            self._unannounced,
            self.stored_publishes,
            self.reducers,
            self.outcomes,
            self.wills,
            self.peers,
            self.inbox,
            self.outbox,
            self.definitions,
            self.tables,
            self.notices,
        )
        self._membership.load(gateways_of_rows, running_now, now)
        self._time_of_day.begin_at(self.clock.ceiling, now)
        self.clock.advance(now + self._time_of_day.offset)
        if self.clock.raise_ceiling():
            self._store_ceiling()

    def _tell_time(self, wall: float, now: float) -> None:
        why = self._time_of_day.tell(wall, now)
        if why:
            self.notices.append(("clock", {"reason": why}))

    def _store_ceiling(self) -> None:
        self._ceiling_ticket = self.journal.ticket
        self.journal.keep(CEILING, encode_row(self.clock.ceiling))

    @property
    def incarnation(self) -> int:
        """The number that names this life of the process, as its peers see it."""
        return self.links.incarnation

    @property
    def forgotten(self) -> list[str]:
        """See `Node`."""
        return self.links.forgotten

    # In

    def receive(  # noqa: C901 - every batch comes here, and each call would cost
        self, batch: Batch, size: int, now: float, wall: float
    ) -> None:
        """Handle one batch.

        size: bytes on the wire. now: monotonic seconds; wall: seconds since 1970.
        """
        peer = self.peers.get(batch.source) or self._membership.newcomer(batch, now)
        if peer is None:
            return
        frames = self.links.receive(peer.link, batch, size, now)
        if peer.deliveries.awaited:
            peer.deliveries.peer_confirmed()
        dispatcher = self._dispatcher
        if peer.kind is not GATEWAY or not peer.caught_up:
            dispatcher.stirred = True
        if peer.kind is SHARD:
            self.dealer.forwarding.confirmed(peer, int(peer.name.partition("-")[2]))
            self.outbox.confirmed(peer.name)
        self.outcomes.confirmed(peer)
        self.stored_publishes.grants.confirmed(peer)
        self._unannounced.confirmed(peer)
        if frames:
            self._monitoring.batches += 1
            self._monitoring.frames += len(frames)
            self._tell_time(wall, now)
            self.clock.advance(now + self._time_of_day.offset)
            if self.clock.raise_ceiling():
                self._store_ceiling()
            arrival = Arrival.of(peer.link, frames)
            if peer.caught_up:
                self._backlog.handle(peer, arrival, now)
            else:
                self.recovery.receive(peer, arrival, now)
            if dispatcher.stirred:
                self.deadline.by(self.retained_keys.next_expiry - self._time_of_day.offset)

    # Links, and so the peers (a `LinkOwner`)

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """Begin a new pair with the peer."""
        self._membership.link_opened(link, before)

    def link_broken(self, link: Link, now: float) -> None:
        """End the pair with the peer, which may come back."""
        self._membership.link_broken(link)

    def peer_gone(self, link: Link, now: float) -> None:
        """End the sessions of the peer, which will not come back."""
        self._membership.peer_gone(link, now)

    def connection_lost(self, name: str, now: float) -> None:
        """End the pair with that peer, to which the connection is broken."""
        self.links.connection_lost(name, now)

    # The store

    def _committed(self, ticket: int, now: float) -> None:
        self._dispatcher.stirred = True
        if ticket >= self._ceiling_ticket:
            self.clock.ceiling_is_durable()
        self.outbox.committed(ticket)
        self.inbox.committed(ticket)
        self.wills.committed(ticket)
        self.clock.wall = now + self._time_of_day.offset
        self._releases.committed(ticket, now)

    def _commit_failed(self, _ticket: int, why: str, now: float) -> None:
        self._dispatcher.stirred = True
        self.outbox.commit_failed()
        self.inbox.commit_failed()
        self._releases.commit_failed(why, now)

    def _store_failure(self, why: str) -> None:
        self._dispatcher.stirred = True
        self._peers.tell_gateways(StoreFailure(why))
        self.notices.append(("store_failed", {"reason": why}) if why else ("store_recovered", {}))

    # Time and out

    def tick(self, now: float) -> None:
        """Do what is due, and set `deadline`. now: monotonic seconds."""
        self._dispatcher.stirred = True
        self.clock.wall = now + self._time_of_day.offset
        self.links.turn(now)
        self.journal.tick(now)
        self.dealer.invocations.expire(now)
        self.reducers.tick(now)
        if self.recovery.synced:
            self.stored_publishes.ended_keys.expire(now + self._time_of_day.offset)
        self.recovery.tick(now)
        self.links.tick(now)
        self._membership.tick(now)
        due = [
            self.links.next_tick(),
            self.dealer.invocations.next_timeout(),
            self.journal.next_tick(),
            self.reducers.next_due,
            self.recovery.next_due(now),
        ]
        if self.recovery.synced:
            due.append(self.retained_keys.next_expiry - self._time_of_day.offset)
        self.deadline.at = min(due)

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """Return (peer, batch) for each peer that is to be sent something; call once a turn."""
        if self._dispatcher.stirred:
            self._end_stirred_turn(now)
        else:
            self.budget.begin_turn()
        self.retained_keys.realms.documents.clear()
        self._peers.limit_credit(now)
        return self.links.flush(now)

    @property
    def quiet(self) -> bool:
        """Whether nothing has happened in this turn but what leaves no work for its end."""
        return not self._dispatcher.stirred

    def _end_stirred_turn(self, now: float) -> None:
        """Go on with what waits, and write what the turn has changed."""
        waits = self.scheduler.end_turn(now)
        if self.tables.aggregates.has_due and self.recovery.until is None:
            # Behind everything else that may change an aggregate in this turn.
            self.stored_publishes.write_aggregates()
            waits = waits or self.stored_publishes.busy
        if waits:
            self.deadline.by(now)
        # While something waits, each turn goes on with it. Aggregates that were just written may
        # contribute to others, and what is due waits for the end of the sync.
        self._dispatcher.stirred = waits or self.tables.aggregates.has_due
        self.stored_publishes.settled.announce_regularly(self.peers.values())

    # What is told

    def send_report(self, now: float, usage: Usage = NO_USAGE) -> None:
        """Send the metrics to the coordinator."""
        coordinator = self.peers.get("coordinator")
        if coordinator is not None:
            report = self._monitoring.report(usage)
            self.totals.add(report, now)
            coordinator.reply(report)

    def trace(self, tracer: Tracer) -> None:
        """Let a tracer see all frames that come and go."""
        self.links.tracer = tracer

    def health(self) -> dict[str, object]:
        """Return the state for health checks, in the form of `Node.health`."""
        return {"name": self.name, **self._monitoring.health()}
