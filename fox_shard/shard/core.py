"""The core of a shard: its peers, its turns, and what is due when.

Owns: the coming and going of peers, and deadlines. Never: what a frame does (see `dispatch`); what
waits for the next turn (see `scheduler`); what peers replay (see `recovery`); sockets, clocks, or
randomness of its own.

In each turn, all inbound batches are handled; then `flush` returns one batch for each peer to which
there is something to send, and all changes of the turn go to the store as one transaction (see
`journal`). A shard that has just started handles replayed state only, until every expected peer has
finished its replay or `peer_timeout` is over; all other frames wait in order.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import final

from fox_shard.backplane.attached import Running, is_attached, none_run
from fox_shard.backplane.departures import Departures
from fox_shard.backplane.frames import (
    Batch,
    Forward,
    Frame,
    Report,
    StoreFailure,
)
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
from fox_shard.shard.links.attached import AttachedGateways
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.inbox import Inbox
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import GATEWAY, SHARD, Kind, Peer
from fox_shard.shard.links.recipients import Outboxes
from fox_shard.shard.links.relays import Relays
from fox_shard.shard.loading import load
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

DISK_CREDIT = 1 << 20
"""Bytes that may wait for the disk before gateways get no credit: some thousands of keys, which
take a tenth of a second. Nobody's frames come through meanwhile."""

WAITED_FOR = 6
"""How many times `peer_timeout` a shard waits for the replay of a peer that works but is busy."""


@final
class Shard:
    """The core of one shard process, a `Node`."""

    __slots__ = (
        "_attached",
        "_backlog",
        "_batches",
        "_ceiling_ticket",
        "_departures",
        "_disk_credit",
        "_dispatcher",
        "_fences",
        "_frames",
        "_gateways",
        "_identity",
        "_listeners",
        "_outboxes",
        "_overloaded",
        "_placement",
        "_releases",
        "_settings",
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
        turn_units: int = TURN_UNITS,
    ) -> None:
        """number: 0..shards-1. gateways: how many there are. rng: for epochs and random callees.

        rpc, limits, reducer: settings. max_message_size: bytes of a client's message, and of a
        patched or reduced key. now: monotonic seconds; wall: seconds since 1970. identity: of the
        store; 0: it ends with the incarnation. rows: (key, value) of the store, in the order of
        keys. realms: the configured ones. realm_limits: of those without limits of their own.
        is_working: see `Links`. running: tells which attached gateways run. turn_units: the budget
        of a turn.
        Raises ValueError for a row that this version cannot read.
        """
        self.number = number
        self.name = f"shard-{number}"
        self._settings = terms
        # Links to shards have the store's identity, because the outbox's frames are rows. What a
        # gateway is sent reliably ends with the incarnation.
        self._identity = identity
        self._placement = Placement(terms.shards)
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
        self.peers: dict[str, Peer] = {}
        self._listeners = MetaListeners(number, self._placement, self.clock, self.peers, settings)
        self.subscriptions = Subscriptions(
            indexes,
            self.clock,
            histories,
            self.budget,
            Directory(number, self._placement, self.inquiries),
            self._listeners,
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
            self._placement,
            self.journal,
            self.links.by_name,
            self.inbox,
            self.budget,
            terms,
        )
        self.reducers = Reducers(
            number,
            self._placement,
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
            self._other_shards,
            settings,
        )
        self.reducers.tick(now)
        self._outboxes = Outboxes()
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
        # Those peers that are gateways.
        self._gateways: list[Peer] = []
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
            self._placement,
            self.peers.get,
            rpc,
            rng,
            self.deadline,
            self.budget,
            self.queue_quotas,
        )
        self.registrar = Registrar(self.dealer, self._placement, self._other_shards, self.clock)
        RegistrationReports(self.dealer, self.inquiries)
        self.wills = Wills(self.journal)
        fences = Fences(self._origin)
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
            self._outboxes,
        )
        self._releases = Releases(self._dispatcher, self.budget)
        self._backlog = Backlog(self.peers, self._dispatcher, fences, self.budget)
        self.recovery = Recovery(
            self.peers,
            self._dispatcher,
            self.broker,
            self.subscriptions,
            self.stored_publishes,
            self.retained_keys.owners,
            self.reducers,
            self.wills,
            self.outcomes,
            fences,
            now + terms.peer_timeout,
            self.budget,
            self._backlog,
            self.outbox,
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
        self._fences = fences
        self._attached = AttachedGateways(self.links, terms)
        self._departures = Departures(
            self.journal,
            terms.heartbeat,
            running,
            self._is_over,
            self._forget,
            self.outcomes.keep_gone,
        )
        self._overloaded = False
        self._disk_credit = min(DISK_CREDIT, terms.credit)
        # Counted since the last report.
        self._batches = self._frames = 0
        running_now = running()
        self._add_peers(gateways, running_now, now)
        self._load(rows, running_now, now)
        self._time_of_day.begin_at(self.clock.ceiling, now)
        self.clock.advance(now + self._time_of_day.offset)
        if self.clock.raise_ceiling():
            self._store_ceiling()

    def _add_peers(self, gateways: int, running: Collection[str], now: float) -> None:
        """Add all peers that there must be. running: attached gateways, which come back.

        A shard connects to the shards of higher numbers, and listens to all other peers.
        """
        for other in range(self._settings.shards):
            if other != self.number:
                self._add_peer(f"shard-{other}", now, connects=other > self.number)
        for gateway in range(gateways):
            self._add_peer(f"gateway-{gateway}", now)
        for name in sorted(running):
            self._add_peer(name, now)

    def _load(
        self, stored: Iterable[tuple[bytes, bytes]], running: Collection[str], now: float
    ) -> None:
        """Load the rows, and wait for the gateways that they name."""
        for name, incarnation in load(
            stored,
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
        ):
            peer = self.peers.get(name) or self._add_peer(name, now)
            peer.may_repeat = True
            if peer.kind is Kind.GATEWAY:
                ended = peer.attached and name not in running
                since = now - self._settings.attached_timeout if ended else now
                self.links.await_incarnation(peer.link, incarnation, since)
        gone = self.outcomes.gone
        for name, incarnation in gone.items():
            peer_of_name = self.peers.get(name)
            if not (is_attached(name) or peer_of_name):
                peer_of_name = self._add_peer(name, now)
            if peer_of_name is not None:
                peer_of_name.link.gone = incarnation
        self._departures.load({name: gone[name] for name in gone if is_attached(name)})

    def _tell_time(self, wall: float, now: float) -> None:
        why = self._time_of_day.tell(wall, now)
        if why:
            self.notices.append(("clock", {"reason": why}))

    def _store_ceiling(self) -> None:
        self._ceiling_ticket = self.journal.ticket
        self.journal.keep(CEILING, encode_row(self.clock.ceiling))

    def _add_peer(self, name: str, now: float, *, connects: bool = False) -> Peer:
        identity = self._identity if name.startswith("shard-") else 0
        link = self.links.add(name, now, connects=connects, identity=identity)
        peer = self.peers[name] = Peer(link)
        self._outboxes.add(peer)
        if peer.kind is Kind.GATEWAY:
            self._gateways.append(peer)
        if peer.attached:
            self._attached.add(peer)
            link.missed = self.recovery.synced
            link.hold_credit = self._overloaded
        return peer

    def _newcomer(self, batch: Batch, now: float) -> Peer | None:
        """Return the peer of a batch whose sender is not known; None: it is not let in."""
        name = batch.source
        if is_attached(name) and not self.links.knocks(batch, self._departures.gone(name)):
            return None
        return self._add_peer(name, now)

    def _origin(self, name: str) -> Peer | None:
        """Return the peer that a fence names; None: nothing is to come of it.

        An attached gateway that runs is known: its clients come in after it is linked here.
        """
        peer = self.peers.get(name)
        if peer is not None or is_attached(name):
            return peer
        return self._add_peer(name, 0.0)

    def _is_over(self, name: str) -> bool:
        """Whether nothing waits for that attached gateway, which is gone, or for its sessions."""
        peer = self.peers[name]
        busy = self.recovery.busy or self._releases.busy or not self.recovery.synced
        waits = peer.waiting or peer.resent or peer.fence_queries or not peer.deliveries.idle
        sessions = self.wills.sessions_of(name) or (
            self.retained_keys.owners.sessions_of_other_incarnations(name, 0)
        )
        return peer.gone and not (busy or waits or sessions)

    def _forget(self, name: str) -> None:
        """Keep nothing of that attached gateway."""
        peer = self.peers.pop(name)
        self._attached.remove(peer)
        self.links.forget(name)
        self._outboxes.remove(peer)
        self._gateways.remove(peer)
        self.subscriptions.forget(peer)
        self.wills.forget(peer)
        self.retained_keys.owners.forget(name)
        self.notices.append(("forgotten", {"peer": name}))

    def _other_shards(self) -> list[Peer]:
        return [peer for peer in self.peers.values() if peer.kind is Kind.SHARD]

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
        peer = self.peers.get(batch.source) or self._newcomer(batch, now)
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
            self._batches += 1
            self._frames += len(frames)
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

    # Peers come and go

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """Begin a new pair with the peer. before: its incarnation in the last pair; 0: unknown."""
        self._dispatcher.stirred = True
        peer = self.peers[link.peer]
        if peer.attached:
            self._departures.returned(peer.name)
        known = before == link.peer_incarnation
        # Another numbering has begun if the peer has another identity.
        peer.applied = min(peer.applied, link.watermark)
        self._drop_replayed_state(peer)
        if not known and before:
            self._drop_incarnation(peer)
        self.outcomes.link_opened(peer)
        owners = self.retained_keys.owners
        self.recovery.end_sessions(
            owners.sessions_of_other_incarnations(peer.name, peer.incarnation)
        )
        owners.link_opened(peer.name)
        self.wills.link_opened(peer, known=known)
        peer.settled = 0
        self.subscriptions.link_opened(peer)
        link.resume(self._announcements(peer.kind))
        peer.deliveries.link_opened()
        if self.journal.failing and peer.kind is Kind.GATEWAY:
            peer.reply(StoreFailure(self.journal.failing))

    def _announcements(self, to: Kind) -> list[Frame]:
        if to is Kind.SHARD:
            return [*self.registrar.announcements(), *self.reducers.announcements()]
        listening = self._listeners.announcements() if to is Kind.COORDINATOR else []
        return [*self.definitions.announcements(), *listening]

    def link_broken(self, link: Link, now: float) -> None:
        """Drop the state that the peer replays if it comes back."""
        self._dispatcher.stirred = True
        self._drop_replayed_state(self.peers[link.peer])

    def peer_gone(self, link: Link, now: float) -> None:
        """Drop everything of the peer's incarnation, and end its sessions.

        A gateway is not let in again in this incarnation, because its clients would go on as if
        they still had their locks.
        """
        self._dispatcher.stirred = True
        peer = self.peers[link.peer]
        self._drop_incarnation(peer)
        if peer.kind is Kind.GATEWAY:
            link.disown()
        if peer.attached:
            self._departures.left(peer.name, link.gone)
            self.recovery.attached_gone(now)
        elif peer.kind is Kind.GATEWAY:
            self.outcomes.keep_gone(peer.name, link.gone)

    def connection_lost(self, name: str, now: float) -> None:
        """End the pair with that peer, to which the connection is broken."""
        self.links.connection_lost(name, now)

    def _drop_replayed_state(self, peer: Peer) -> None:
        """Drop the state that the peer replays if it comes back."""
        peer.synced = peer.caught_up = False
        self._dispatcher.link_broken(peer)
        if peer.waiting:
            # These frames are not handled: the peer resends reliable ones, but not calls.
            for arrival in peer.waiting:
                for frame in arrival.frames:
                    if type(frame) is Forward:
                        self.dealer.refuse_forwarded(frame, peer.name)
            peer.waiting.clear()
            peer.resent.clear()
            peer.link.watermark = peer.applied
        for session in self.dealer.invocations.callers_of(peer):
            self.dealer.session_ended(peer, session)
        for session in self.registrar.sessions_of(peer):
            self.registrar.session_ended(session)
        self.reducers.link_broken(peer)
        if peer.kind is Kind.SHARD:
            self.registrar.link_broken(int(peer.name.partition("-")[2]))
        self.dealer.link_broken(peer)
        peer.fence_queries.extend(peer.deliveries.link_broken())

    def _drop_incarnation(self, peer: Peer) -> None:
        """Drop everything of an incarnation that will not come back, and end its sessions."""
        self.subscriptions.peer_gone(peer)
        if peer.kind is not Kind.SHARD:
            # What waits for a shard is in the outbox, and so for its next incarnation.
            peer.link.peer_gone()
        peer.deliveries.peer_gone()
        self.outcomes.peer_gone(peer)
        self.stored_publishes.grants.peer_gone(peer)
        self.reducers.instances.peer_gone(peer)
        self._unannounced.peer_gone(peer)
        owning = self.retained_keys.owners.sessions_of_other_incarnations(peer.name, 0)
        self.recovery.end_sessions([*owning, *self.wills.sessions_of(peer.name)])
        self._fences.answer(peer)

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
        self._tell_gateways(StoreFailure(why))
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
        if self.recovery.until is not None and now >= self._sync_due(now, self.recovery.until):
            self.recovery.end(now)
        self.links.tick(now)
        self._departures.tick(now)
        due = [
            self.links.next_tick(),
            self.dealer.invocations.next_timeout(),
            self.journal.next_tick(),
            self.reducers.next_due,
        ]
        if self.recovery.synced:
            due.append(self.retained_keys.next_expiry - self._time_of_day.offset)
        if self.recovery.until is not None:
            due.append(self._sync_due(now, self.recovery.until))
        self.deadline.at = min(due)

    def _sync_due(self, now: float, until: float) -> float:
        """Return when the sync ends, although some peers have not replayed.

        The time in which this shard stood still does not count, and peers that work are waited for
        `WAITED_FOR` times as long.
        """
        due = until + self.links.stood_still
        if now < due or now >= due + (WAITED_FOR - 1) * self._settings.peer_timeout:
            return due
        working = any(
            not peer.synced and self.links.is_working(peer.link, now)
            for peer in self.peers.values()
            if self.recovery.awaits(peer)
        )
        return now + self._settings.heartbeat if working else due

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """Return (peer, batch) for each peer that is to be sent something; call once a turn."""
        if self._dispatcher.stirred:
            self._end_stirred_turn(now)
        else:
            self.budget.begin_turn()
        self.retained_keys.realms.documents.clear()
        self._limit_credit(now)
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

    def _tell_gateways(self, frame: Frame) -> None:
        for gateway in self._gateways:
            gateway.reply(frame)

    def _limit_credit(self, now: float) -> None:
        """Give no credit to any gateway while one of them, or the store, is behind.

        One that is attached holds back itself only. Gateways without credit stop reading from
        publishers, but always read from shards, and shards read from all peers. So no circle of
        processes can wait for each other.
        """
        credit = self._settings.credit
        overloaded = self.journal.waiting > (credit if self.journal.failing else self._disk_credit)
        for gateway in self._gateways:
            if gateway.link.in_flight > credit and not gateway.attached:
                overloaded = True
        if overloaded is not self._overloaded:
            self._overloaded = overloaded
            for gateway in self._gateways:
                gateway.link.hold_credit = overloaded
                gateway.link.acknowledge_soon()
        self._attached.limit_credit(overloaded=overloaded, now=now)

    def send_report(self, now: float, usage: Usage = NO_USAGE) -> None:
        """Send the metrics to the coordinator."""
        coordinator = self.peers.get("coordinator")
        if coordinator is not None:
            refusals = self.stored_publishes.refusals
            counters = Counter(
                {
                    "batches": self._batches,
                    "frames": self._frames,
                    "dropped": refusals.dropped,
                    "limit_exceeded": refusals.limit_exceeded,
                    **self.reducers.take_counts(),
                    **self.tables.take_counts(),
                    **usage.counters(),
                }
            )
            self._batches = self._frames = 0
            refusals.dropped = refusals.limit_exceeded = 0
            for limit_counts in self._limit_counts():
                # Added up: calls and publishes may have exceeded the same limit.
                counters.update(limit_counts.take())
            gauges = {
                "keys": self.retained_keys.keys_held,
                "waiting_publishes": len(self.stored_publishes.conditional.waiting),
                "queue_depth": self.dealer.invocations.kept.queued,
                **self.reducers.gauges(),
                "outbox_bytes": self.outbox.total,
                "store_failing": int(bool(self.journal.failing)),
                **usage.gauges(),
            }
            times = {"commit_seconds": self.journal.commit_times.take()}
            report = Report(counters, gauges, {}, times)
            self.totals.add(report, now)
            coordinator.reply(report)

    def _limit_counts(self) -> tuple[LimitCounts, ...]:
        publishes = self.stored_publishes.refusals.limit_counts
        return publishes, self.dealer.invocations.limit_counts, self.reducers.instances.limit_counts

    def trace(self, tracer: Tracer) -> None:
        """Let a tracer see all frames that come and go."""
        self.links.tracer = tracer

    def health(self) -> dict[str, object]:
        """Return the state for health checks, in the form of `Node.health`."""
        peers = self.links.states()
        syncing = not self.recovery.synced
        linked = all(is_open for name, is_open in peers.items() if not is_attached(name))
        well = linked and not self.journal.failing
        status = "unavailable" if syncing else "ok" if well else "degraded"
        trouble: dict[str, object] = {}
        if self.journal.failing:
            trouble["store"] = self.journal.failing
        refused = Counter[str]()
        for counts in self._limit_counts():
            refused.update(counts.totals())
        if refused:
            trouble["refused"] = dict(refused)
        return {
            "name": self.name,
            "status": status,
            "links": peers,
            "keys": self.retained_keys.keys_held,
            "waiting_publishes": len(self.stored_publishes.conditional.waiting),
            "queued_calls": self.dealer.invocations.kept.queued,
            **trouble,
        }
