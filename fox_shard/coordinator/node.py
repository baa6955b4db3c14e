"""The coordinator as a process: its core with links and a store.

Owns: which processes are linked, and what waits for the coordinator's own store. Never: what
frames mean (see `core`).
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, final

from fox_shard.backplane.attached import HasEnded, Running, is_attached, nobody_knows, none_run
from fox_shard.backplane.departures import Departures
from fox_shard.backplane.frames import Batch, LoginFailed, Publish
from fox_shard.backplane.link import Link
from fox_shard.backplane.links import IsWorking, Links, unknown
from fox_shard.backplane.node import Notice
from fox_shard.backplane.outbox import Outbox
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import RandomSource
from fox_shard.backplane.terms import LinkSettings
from fox_shard.backplane.totals import Totals
from fox_shard.backplane.tracing import Tracer
from fox_shard.backplane.usage import NO_USAGE, Usage
from fox_shard.coordinator import rows
from fox_shard.coordinator.core import Coordinator, Effects
from fox_shard.coordinator.loading import Stored, read
from fox_shard.coordinator.metrics import Value
from fox_shard.coordinator.totals import Sums
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal

COMMIT_INTERVAL: Final = 0.1
"""Seconds between two transactions. No client that joins waits for one: a session begins before its
row is durable. So sessions that begin and end within this time share a transaction here, and one in
the shard of their meta events. Who defines a schema, or is the first to subscribe to meta events,
waits at most so much longer."""

PATIENCE: Final = 1.0
"""Seconds for which rows of sessions wait for others while nobody listens to meta events. Gateways
keep until then what they have told, and tell it again if the coordinator restarts."""


@final
class CoordinatorNode:
    """The coordinator's `Node`. Gateways connect to it; it connects to the shards."""

    def __init__(
        self,
        *,
        terms: LinkSettings,
        gateways: int,
        incarnation: int,
        rng: RandomSource,
        now: float,
        realms: Sequence[str] = (),
        sys_interval: float = 0,
        metrics_realms: int = 100,
        schemas: Mapping[str, str] | None = None,
        identity: int = 0,
        stored: Iterable[tuple[bytes, bytes]] = (),
        is_working: IsWorking = unknown,
        running: Running = none_run,
        has_ended: HasEnded = nobody_knows,
    ) -> None:
        """Load the stored rows, and connect to the shards.

        gateways: how many there are, besides attached ones; of others that were there before, only
        the sessions' ends are awaited. realms, sys_interval, metrics_realms, schemas: see
        `Coordinator`. identity, stored: the store's identity and its rows. is_working, has_ended:
        see `Links`. running: tells which attached gateways run. Raises ValueError for a row that
        this version does not know.
        """
        self.name = "coordinator"
        self._gateways = frozenset(f"gateway-{number}" for number in range(gateways))
        self.notices: list[Notice] = []
        self.totals = Totals(now)
        self.deadline = Deadline()
        self.journal = Journal(
            self.deadline,
            self._committed,
            self._commit_failed,
            self._store_failure,
            interval=COMMIT_INTERVAL,
            patience=PATIENCE,
        )
        placement = Placement(terms.shards)
        self.core = Coordinator(
            placement,
            self.journal,
            realms=realms,
            sys_interval=sys_interval,
            metrics_realms=metrics_realms,
            schemas=schemas,
            now=now,
        )
        self.deadline.by(self.core.sys_due)
        self._generation = terms.generation
        self._outbox_limit = terms.outbox_limit
        self._links = Links(
            self.name,
            self,
            settings=terms,
            incarnation=incarnation,
            identity=identity,
            new_epoch=lambda: rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            notices=self.notices,
            now=now,
            is_working=is_working,
            has_ended=has_ended,
        )
        # (ticket, gateway, its incarnation, rseq): once the ticket is durable, the gateway may
        # forget its reliable frames up to that rseq.
        self._uncommitted_watermarks: deque[tuple[int, str, int, int]] = deque()
        for shard in range(terms.shards):
            self._links.add(f"shard-{shard}", now, connects=True)
        self._outbox = Outbox(self.journal, self._links.by_name, rows)
        self._attached_timeout = terms.attached_timeout
        self._departures = Departures(
            self.journal, terms.heartbeat, running, self._is_over, self._forget, self._note_gone
        )
        self._load(read(stored), running(), now)

    def _load(self, stored: Stored, running: Collection[str], now: float) -> None:
        """Take over the state before the restart. running: which attached gateways run.

        The sessions of a gateway that does not come back within `peer_timeout` have ended.
        """
        for entry in stored.sessions:
            self.core.load(entry)
        sessions = [(entry.session, entry.gateway) for entry in stored.sessions]
        self.core.memberships.load(stored.censuses, stored.members, sessions)
        self.deadline.by(now)  # Memberships of sessions that are not known are to end.
        self._load_gateways(stored.gateways, running, now)
        for realm, schema in stored.schemas.items():
            self.core.schemas.load(realm, schema)
        self.core.schemas.begin()
        if stored.generation == self._generation:
            self._outbox.load(stored.last, stored.frames)
            return
        # The number of shards has changed, for which all processes were stopped: no subscriber
        # that these meta events were meant for is connected any more.
        for shard, frames in stored.frames.items():
            for number, _ in frames:
                self.journal.keep(rows.outbox(shard, number), None)
        for shard in stored.last:
            self.journal.keep(rows.last(shard), None)
        self.journal.keep(rows.GENERATION, rows.encode(self._generation))

    def _load_gateways(
        self, stored: Mapping[str, rows.GatewayRow], running: Collection[str], now: float
    ) -> None:
        gone = {
            name: row.incarnation
            for name, row in stored.items()
            if is_attached(name) and row.watermark == rows.GONE
        }
        self._departures.load(dict(gone))
        for name, row in stored.items():
            if name not in gone:
                ended = is_attached(name) and name not in running
                self._load_gateway(name, row, now - self._attached_timeout if ended else now)

    def _load_gateway(self, name: str, row: rows.GatewayRow, since: float) -> None:
        """Wait for a gateway that has been here. since: monotonic seconds."""
        link = self._links.add(name, since)
        if row.watermark == rows.GONE:
            link.gone = row.incarnation
            return
        self._links.await_incarnation(link, row.incarnation, since)
        link.peer_identity = row.incarnation
        link.watermark = link.durable = row.watermark

    @property
    def incarnation(self) -> int:
        """The number that names this life of the process, as its peers see it."""
        return self._links.incarnation

    @property
    def forgotten(self) -> list[str]:
        """See `Node`."""
        return self._links.forgotten

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch of another process; see `Node`."""
        name = batch.source
        link = self._links.by_name.get(name) or self._newcomer(batch, now)
        if link is None:
            return
        for frame in self._links.receive(link, batch, size, now):
            if type(frame) is LoginFailed:
                self._tell_others(name, frame)
            else:
                self._perform(self.core.receive(name, frame, now))
        self.deadline.by(self.core.schemas.next_expiry)
        self.deadline.by(self.core.memberships.next_expiry)
        link.delivered = link.received
        if link.connects:
            link.durable = link.watermark
            self._outbox.confirmed(name)
            self._confirm_durable()
        elif link.reliable_indexes:
            self._keep_watermark(link)

    def _newcomer(self, batch: Batch, now: float) -> Link | None:
        """Return the link for a batch whose sender is not known; None: it is not let in."""
        name = batch.source
        if is_attached(name) and not self._links.knocks(batch, self._departures.gone(name)):
            return None
        return self._links.add(name, now)

    def _is_over(self, name: str) -> bool:
        """Whether nothing waits for that attached gateway, which is gone, or for its sessions."""
        link = self._links.by_name[name]
        confirmed = all(one[1] != name for one in self._uncommitted_watermarks)
        here = link.open or link.lost_at is not None
        return confirmed and not (here or self.core.memberships.busy)

    def _forget(self, name: str) -> None:
        """Keep nothing of that attached gateway."""
        self._links.forget(name)
        self.notices.append(("forgotten", {"peer": name}))

    def _note_gone(self, name: str, incarnation: int) -> None:
        """Note that the gateway's incarnation is gone, and not let in again; 0: delete the note."""
        row = rows.GatewayRow(incarnation, rows.GONE)
        self.journal.keep(rows.gateway(name), rows.encode(row) if incarnation else None)

    def _tell_others(self, gateway: str, frame: LoginFailed) -> None:
        """Tell all gateways but that one, each of which counts for itself."""
        for name, link in self._links.by_name.items():
            if not link.connects and link.open and name != gateway:
                link.send(frame)

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """Begin a pair: a gateway replays its sessions, a shard gets schemas and `$SYS` topics.

        A gateway is told of which meta events it is to tell the causes.
        """
        self._departures.returned(link.peer)
        if before not in (0, link.peer_incarnation):
            self._drop_incarnation(link, now)
        if not link.connects:
            link.resume(self.core.memberships.gateway_opened(link.peer))
        else:
            link.resume(self.core.schemas.replay())
            self._send_if_open(self.core.shard_opened(link.peer, now))

    def link_broken(self, link: Link, now: float) -> None:
        """Forget a gateway's calls. Its sessions stay until it is back, or gone."""
        self.core.schema_calls.gateway_gone(link.peer)

    def peer_gone(self, link: Link, now: float) -> None:
        """End the sessions of a gateway, which is not let in again, or drop a shard's gauges."""
        self._drop_incarnation(link, now)
        if not link.connects:
            link.disown()
            if is_attached(link.peer):
                self._departures.left(link.peer, link.gone)
            else:
                self._note_gone(link.peer, link.gone)

    def _drop_incarnation(self, link: Link, now: float) -> None:
        name = link.peer
        if link.connects:
            self.core.shard_gone(name, now)
        else:
            self.journal.keep(rows.gateway(name), None)
            self._perform(self.core.gateway_gone(name, now))

    def connection_lost(self, peer: str, now: float) -> None:
        """End the pair with that process, because the connection to it is broken."""
        self._links.connection_lost(peer, now)

    def _keep_watermark(self, link: Link) -> None:
        """Store how far the gateway's reliable frames have had their effects.

        The row is part of the transaction that stores these effects, and no more urgent than they.
        """
        row = rows.GatewayRow(link.peer_incarnation, link.watermark)
        self.journal.keep(rows.gateway(link.peer), rows.encode(row), patient=True)
        self._uncommitted_watermarks.append(
            (self.journal.ticket, link.peer, link.peer_incarnation, link.watermark)
        )

    def _perform(self, effects: Effects) -> None:
        for peer, frame in effects:
            if isinstance(frame, Publish):
                self._outbox.send(peer, frame)
                continue
            link = self._links.by_name.get(peer)
            if link is not None and link.open:
                link.send(frame)

    def _committed(self, ticket: int, _now: float) -> None:
        self._outbox.committed(ticket)
        self._perform(self.core.schemas.committed(ticket))
        self._perform(self.core.memberships.committed(ticket))
        self._confirm_durable()

    def _confirm_durable(self) -> None:
        """Tell gateways how far their frames are durable, unless too much waits for the shards.

        Gateways let only so many frames wait for the coordinator (`gateway.meta_event_backlog`),
        and so only so much can come to wait here.
        """
        waiting = self._uncommitted_watermarks
        while (
            waiting
            and waiting[0][0] <= self.journal.durable
            and self._outbox.total <= self._outbox_limit
        ):
            _, gateway, incarnation, rseq = waiting.popleft()
            link = self._links.by_name[gateway]
            if link.peer_incarnation == incarnation:
                link.durable = max(link.durable, rseq)
                link.acknowledge_soon()

    def _commit_failed(self, _ticket: int, _why: str, _now: float) -> None:
        """Wait for the next transaction, in which the journal writes all these rows again.

        Sessions go on; their meta events are published when the store works again.
        """
        self._outbox.commit_failed()
        self.core.memberships.commit_failed()
        ticket = self.journal.ticket
        self._uncommitted_watermarks = deque(
            (ticket, *watermark[1:]) for watermark in self._uncommitted_watermarks
        )

    def _store_failure(self, why: str) -> None:
        self.notices.append(("store_failed", {"reason": why}) if why else ("store_recovered", {}))

    def _send_if_open(self, effects: Effects) -> None:
        """Send frames that are repeated when a link opens; those for other links are dropped."""
        for peer, frame in effects:
            link = self._links.by_name[peer]
            if link.open:
                link.send(frame)

    def tick(self, now: float) -> None:
        """Do what is due: heartbeats, peers that did not come back, store retries, `$SYS`."""
        self._links.tick(now)
        self._departures.tick(now)
        self.journal.tick(now)
        if now >= self.core.sys_due:
            self._send_if_open(self.core.sys_news(now))
        schemas = self.core.schemas
        self._perform(schemas.expire(now))
        self.core.memberships.expire(now)
        due = (
            self._links.next_tick(),
            self.core.sys_due,
            self.journal.next_tick(),
            schemas.next_expiry,
            self.core.memberships.next_expiry,
        )
        self.deadline.at = min(due)

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """Return (process, batch) for each process that has something to get; once a turn."""
        calls = self.core.schema_calls
        if calls.busy:
            self._perform(calls.go_on(now))
            self.deadline.by(now if calls.busy else self.core.schemas.next_expiry)
        memberships = self.core.memberships
        if memberships.busy:
            self._perform(memberships.go_on())
            if memberships.busy:
                self.deadline.by(now)
        return self._links.flush(now)

    def send_report(self, now: float, usage: Usage = NO_USAGE) -> None:
        """Add the coordinator's own metrics to those of the other processes."""
        self.core.report(usage, now)

    def metrics(self, now: float) -> list[Value]:
        """Return the metrics for StatsD; called once per `statsd.interval`."""
        return self.core.flush(now)

    def sums(self, now: float) -> Sums:
        """Return what all processes have counted since the start."""
        sums = self.core.sums(now)
        sums.links = self._links.states()
        return sums

    def trace(self, tracer: Tracer) -> None:
        """Let a tracer see all frames that come and go."""
        self._links.tracer = tracer

    def _is_expected(self, name: str) -> bool:
        return name in self._gateways or not name.startswith("gateway-")

    def health(self) -> dict[str, object]:
        """Return the health report of this process; see `Node`."""
        peers = {
            name: is_open
            for name, is_open in self._links.states().items()
            if is_open or is_attached(name) or self._is_expected(name)
        }
        linked = all(is_open for name, is_open in peers.items() if not is_attached(name))
        well = linked and not self.journal.failing
        trouble: dict[str, object] = {}
        if self.journal.failing:
            trouble["store"] = self.journal.failing
        if refused := self.core.schema_calls.limit_counts.totals():
            trouble["refused"] = refused
        return {
            "name": self.name,
            "status": "ok" if well else "degraded",
            "links": peers,
            "sessions": self.core.session_count(),
            **trouble,
        }
