"""The coordinator's links.

Owns: who of the other processes is there, and what waits for the coordinator's own store. Never:
what their frames mean (see `core`).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import final

from fox_shard.backplane.frames import Batch, Publish
from fox_shard.backplane.link import Link
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import Chance
from fox_shard.backplane.terms import LinkEvent, LinkSettings
from fox_shard.coordinator import rows
from fox_shard.coordinator.core import Coordinator, Effects
from fox_shard.coordinator.loading import Stored, read
from fox_shard.coordinator.metrics import Value
from fox_shard.coordinator.outbox import Outbox
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
        self._identity = identity
        self._terms = terms
        self._incarnation = incarnation
        self._rng = rng
        self._links: dict[str, Link] = {}
        # Gateways that are not heard of: since when.
        self._lost_at: dict[str, float] = {}
        # (ticket, gateway, its incarnation, rseq): what it may forget when that is durable.
        self._unsafe: deque[tuple[int, str, int, int]] = deque()
        for shard in range(terms.shards):
            self._meet(f"shard-{shard}", now, connects=True)
        self._outbox = Outbox(self.journal, self._links)
        self._load(read(stored), now)

    def _load(self, stored: Stored, now: float) -> None:
        """What was before the restart. Gateways may come back; else their sessions have ended."""
        for entry in stored.sessions:
            self.core.load(entry)
        for name, row in stored.gateways.items():
            self._load_gateway(name, row, now)
        if stored.generation == self._terms.generation:
            self._outbox.load(stored.last, stored.frames)
            return
        # The shards are others now, and who was to be told has not been connected since.
        for shard, frames in stored.frames.items():
            for number, _ in frames:
                self.journal.keep(rows.outbox(shard, number), None)
        for shard in stored.last:
            self.journal.keep(rows.last(shard), None)
        self.journal.keep(rows.GENERATION, rows.encode(self._terms.generation))

    def _load_gateway(self, name: str, row: rows.GatewayRow, now: float) -> None:
        link = self._meet(name, now, connects=False)
        link.peer_incarnation = link.peer_identity = row.incarnation
        link.watermark = link.durable = row.watermark
        self._lost_at[name] = now

    def _meet(self, name: str, now: float, *, connects: bool) -> Link:
        link = self._links[name] = Link(
            self.name,
            name,
            incarnation=self._incarnation,
            terms=self._terms,
            new_epoch=lambda: self._rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            connects=connects,
            now=now,
            identity=self._identity,
        )
        return link

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch."""
        name = batch.source
        link = self._links.get(name) or self._meet(name, now, connects=False)
        incarnation = link.peer_incarnation
        change, frames = link.receive(batch, size, now)
        if change is not LinkEvent.NONE:
            self._changed(name, link, change, incarnation, now)
        for frame in frames:
            self._perform(self.core.receive(name, frame, now))
        link.passed = link.received
        if link.connects:
            link.durable = link.watermark
            self._outbox.prune(name)
        elif link.marks:
            self._keep_watermark(link)

    def _changed(self, name: str, link: Link, change: LinkEvent, before: int, now: float) -> None:
        """before: the peer's incarnation in the pair before."""
        match change:
            case LinkEvent.OPENED:
                self._lost_at.pop(name, None)
                if before not in (0, link.peer_incarnation):
                    self._gone(name, now)
                link.resume([])
                if link.connects:
                    self._send_if_open(self.core.shard_opened(name, now))
                self.notices.append(("linked", {"peer": name}))
            case LinkEvent.BROKEN:
                self._broken(name, now)
            case LinkEvent.REFUSED:
                self.notices.append(("refused", {"peer": name, "reason": link.refusal}))

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
            link = self._links.get(peer)
            if link is not None and link.open:
                link.send(frame)

    def _durable(self, ticket: int, _now: float) -> None:
        self._outbox.durable(ticket)
        unsafe = self._unsafe
        while unsafe and unsafe[0][0] <= ticket:
            _, gateway, incarnation, rseq = unsafe.popleft()
            link = self._links[gateway]
            if link.peer_incarnation == incarnation:
                link.durable = max(link.durable, rseq)
                link.acknowledge_soon()

    def _failed(self, _ticket: int, _why: str, _now: float) -> None:
        """All of it is written again: sessions go on, and are told of when the store works."""
        self._outbox.failed()
        ticket = self.journal.ticket
        self._unsafe = deque((ticket, *rest[1:]) for rest in self._unsafe)

    def _trouble(self, why: str) -> None:
        self.notices.append(("store_failed", {"reason": why}) if why else ("store_recovered", {}))

    def _send_if_open(self, effects: Effects) -> None:
        """What is told again when the link opens: nothing of it waits for a shard that is down."""
        for peer, frame in effects:
            link = self._links[peer]
            if link.open:
                link.send(frame)

    def _broken(self, name: str, now: float) -> None:
        self._lost_at[name] = now
        self.deadline.by(self._deadline(now))
        self.notices.append(("lost", {"peer": name}))

    def _gone(self, name: str, now: float) -> None:
        if name.startswith("gateway-"):
            self.journal.keep(rows.gateway(name), None)
            self._perform(self.core.gateway_gone(name, now))
        else:
            self.core.shard_gone(name, now)

    def lost(self, peer: str, now: float) -> None:
        """The connection is broken. A gateway has `peer_timeout` to come back."""
        link = self._links[peer]
        if link.open:
            link.break_off(now)
            self._broken(peer, now)

    def tick(self, now: float) -> None:
        """Heartbeats, gateways that did not come back, and `$SYS`."""
        for name, link in self._links.items():
            if link.tick(now) is LinkEvent.BROKEN:
                self._broken(name, now)
        self.journal.tick(now)
        late = [name for name, since in self._lost_at.items() if now >= self._deadline(since)]
        for name in late:
            del self._lost_at[name]
            self._gone(name, now)
        if now >= self.core.sys_due:
            self._send_if_open(self.core.sys_news(now))
        due = [link.next_tick() for link in self._links.values()]
        due += [self._deadline(since) for since in self._lost_at.values()]
        self.deadline.at = min(*due, self.core.sys_due, self.journal.next_tick())

    def _deadline(self, since: float) -> float:
        return since + self._terms.peer_timeout

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """(peer, batch) for everybody who has news."""
        return [
            (name, data)
            for name, link in self._links.items()
            if link.outbox or link.urgent
            for data in link.flush(now)
        ]

    def send_report(self, now: float) -> None:
        """It has nobody to report to; see `metrics`."""

    def metrics(self, now: float) -> list[Value]:
        """What StatsD is to be told, once an interval."""
        return self.core.flush(now)

    def health(self) -> dict[str, object]:
        """See `Node`."""
        peers = {name: link.open for name, link in self._links.items()}
        well = all(peers.values()) and not self.journal.failing
        trouble = {"store": self.journal.failing} if self.journal.failing else {}
        return {
            "name": self.name,
            "status": "ok" if well else "degraded",
            "links": peers,
            "sessions": self.core.session_count(),
            **trouble,
        }
