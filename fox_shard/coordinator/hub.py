"""The coordinator's links.

Owns: who of the other processes is there, and what waits for the coordinator's own store. Never:
what their frames mean (see `core`).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import final

from fox_shard.backplane.frames import Batch, Publish
from fox_shard.backplane.link import Link
from fox_shard.backplane.links import Links
from fox_shard.backplane.node import Notice
from fox_shard.backplane.outbox import Outbox
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import Chance
from fox_shard.backplane.terms import LinkSettings
from fox_shard.coordinator import rows
from fox_shard.coordinator.core import Coordinator, Effects
from fox_shard.coordinator.loading import Stored, read
from fox_shard.coordinator.metrics import Value
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal


@final
class Hub:
    """Listens to the gateways, connects to the shards."""

    def __init__(
        self,
        *,
        terms: LinkSettings,
        incarnation: int,
        rng: Chance,
        now: float,
        realms: Sequence[str] = (),
        sys_interval: float = 0,
        identity: int = 0,
        stored: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """realms, sys_interval: see `Coordinator`. identity, stored: the store's, and its rows.

        Raises ValueError for a row that it does not understand.
        """
        self.name = "coordinator"
        self.notices: list[Notice] = []
        self.deadline = Deadline()
        self.journal = Journal(self.deadline, self._durable, self._failed, self._trouble)
        placement = Placement(terms.shards)
        self.core = Coordinator(
            placement, self.journal, realms=realms, sys_interval=sys_interval, now=now
        )
        self.deadline.by(self.core.sys_due)
        self._generation = terms.generation
        self._links = Links(
            self.name,
            self,
            settings=terms,
            incarnation=incarnation,
            identity=identity,
            new_epoch=lambda: rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            notices=self.notices,
        )
        # (ticket, gateway, its incarnation, rseq): what it may forget when that is durable.
        self._unsafe: deque[tuple[int, str, int, int]] = deque()
        for shard in range(terms.shards):
            self._links.add(f"shard-{shard}", now, connects=True)
        self._outbox = Outbox(self.journal, self._links.by_name, rows)
        self._load(read(stored), now)

    def _load(self, stored: Stored, now: float) -> None:
        """What was before the restart. Gateways may come back; else their sessions have ended."""
        for entry in stored.sessions:
            self.core.load(entry)
        for name, row in stored.gateways.items():
            self._load_gateway(name, row, now)
        if stored.generation == self._generation:
            self._outbox.load(stored.last, stored.frames)
            return
        # The shards are others now, and who was to be told has not been connected since.
        for shard, frames in stored.frames.items():
            for number, _ in frames:
                self.journal.keep(rows.outbox(shard, number), None)
        for shard in stored.last:
            self.journal.keep(rows.last(shard), None)
        self.journal.keep(rows.GENERATION, rows.encode(self._generation))

    def _load_gateway(self, name: str, row: rows.GatewayRow, now: float) -> None:
        link = self._links.add(name, now)
        self._links.expect(link, row.incarnation, now)
        link.peer_identity = row.incarnation
        link.watermark = link.durable = row.watermark

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch."""
        name = batch.source
        link = self._links.by_name.get(name) or self._links.add(name, now)
        for frame in self._links.receive(link, batch, size, now):
            self._perform(self.core.receive(name, frame, now))
        link.passed = link.received
        if link.connects:
            link.durable = link.watermark
            self._outbox.confirmed(name)
        elif link.marks:
            self._keep_watermark(link)

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """Gateways tell their sessions again; shards are told `$SYS` again."""
        if before not in (0, link.peer_incarnation):
            self.peer_gone(link, now)
        link.resume([])
        if link.connects:
            self._send_if_open(self.core.shard_opened(link.peer, now))

    def link_broken(self, link: Link, now: float) -> None:
        """Nothing changes until the peer is back, or gone."""

    def peer_gone(self, link: Link, now: float) -> None:
        """A gateway's sessions have ended; a shard's gauges hold no longer."""
        name = link.peer
        if link.connects:
            self.core.shard_gone(name, now)
        else:
            self.journal.keep(rows.gateway(name), None)
            self._perform(self.core.gateway_gone(name, now))

    def lost(self, peer: str, now: float) -> None:
        """The connection to that process is broken."""
        self._links.connection_lost(peer, now)

    def _keep_watermark(self, link: Link) -> None:
        """What the gateway's reliable frames did is in this transaction."""
        row = rows.GatewayRow(link.peer_incarnation, link.watermark)
        self.journal.keep(rows.gateway(link.peer), rows.encode(row))
        self._unsafe.append((self.journal.ticket, link.peer, link.peer_incarnation, link.watermark))

    def _perform(self, effects: Effects) -> None:
        for peer, frame in effects:
            if isinstance(frame, Publish):
                self._outbox.send(peer, frame)
                continue
            link = self._links.by_name.get(peer)
            if link is not None and link.open:
                link.send(frame)

    def _durable(self, ticket: int, _now: float) -> None:
        self._outbox.committed(ticket)
        unsafe = self._unsafe
        while unsafe and unsafe[0][0] <= ticket:
            _, gateway, incarnation, rseq = unsafe.popleft()
            link = self._links.by_name[gateway]
            if link.peer_incarnation == incarnation:
                link.durable = max(link.durable, rseq)
                link.acknowledge_soon()

    def _failed(self, _ticket: int, _why: str, _now: float) -> None:
        """All of it is written again: sessions go on, and are told of when the store works."""
        self._outbox.commit_failed()
        ticket = self.journal.ticket
        self._unsafe = deque((ticket, *rest[1:]) for rest in self._unsafe)

    def _trouble(self, why: str) -> None:
        self.notices.append(("store_failed", {"reason": why}) if why else ("store_recovered", {}))

    def _send_if_open(self, effects: Effects) -> None:
        """What is told again when the link opens: nothing of it waits for a shard that is down."""
        for peer, frame in effects:
            link = self._links.by_name[peer]
            if link.open:
                link.send(frame)

    def tick(self, now: float) -> None:
        """Heartbeats, gateways that did not come back, and `$SYS`."""
        self._links.tick(now)
        self.journal.tick(now)
        if now >= self.core.sys_due:
            self._send_if_open(self.core.sys_news(now))
        due = (self._links.next_tick(), self.core.sys_due, self.journal.next_tick())
        self.deadline.at = min(due)

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """(peer, batch) for everybody who has news."""
        return self._links.flush(now)

    def send_report(self, now: float) -> None:
        """It has nobody to report to; see `metrics`."""

    def metrics(self, now: float) -> list[Value]:
        """What StatsD is to be told, once an interval."""
        return self.core.flush(now)

    def health(self) -> dict[str, object]:
        """See `Node`."""
        peers = self._links.states()
        well = all(peers.values()) and not self.journal.failing
        trouble = {"store": self.journal.failing} if self.journal.failing else {}
        return {
            "name": self.name,
            "status": "ok" if well else "degraded",
            "links": peers,
            "sessions": self.core.session_count(),
            **trouble,
        }
