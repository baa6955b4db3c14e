"""The coordinator's links.

Owns: who of the other processes is there. Never: what their frames mean (see `core`).
"""

from collections.abc import Sequence
from typing import final

from fox_shard.backplane.chance import Chance
from fox_shard.backplane.frames import Batch
from fox_shard.backplane.link import Change, Link, Terms
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.coordinator.core import Coordinator, Effects
from fox_shard.coordinator.metrics import Value
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal


@final
class Hub:
    """Listens to the gateways, connects to the shards."""

    def __init__(
        self,
        *,
        terms: Terms,
        incarnation: int,
        rng: Chance,
        now: float,
        realms: Sequence[str] = (),
        sys_interval: float = 0,
    ) -> None:
        """realms, sys_interval: see `Coordinator`."""
        self.name = "coordinator"
        self.notices: list[Notice] = []
        self.journal: Journal | None = None
        self.deadline = Deadline()
        placement = Placement(terms.shards)
        self.core = Coordinator(placement, realms=realms, sys_interval=sys_interval, now=now)
        self.deadline.by(self.core.sys_due)
        self._terms = terms
        self._incarnation = incarnation
        self._rng = rng
        self._links: dict[str, Link] = {}
        # Gateways that are not heard of: since when.
        self._lost_at: dict[str, float] = {}
        for shard in range(terms.shards):
            self._meet(f"shard-{shard}", now, connects=True)

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
        )
        return link

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch."""
        name = batch.source
        link = self._links.get(name) or self._meet(name, now, connects=False)
        incarnation = link.peer_incarnation
        change, frames = link.receive(batch, size, now)
        match change:
            case Change.OPENED:
                self._lost_at.pop(name, None)
                if incarnation not in (0, link.peer_incarnation):
                    self._gone(name, now)
                link.resume([])
                if link.connects:
                    self._send_if_open(self.core.shard_opened(name, now))
                self.notices.append(("linked", {"peer": name}))
            case Change.BROKEN:
                self._broken(name, now)
            case Change.REFUSED:
                self.notices.append(("refused", {"peer": name, "reason": link.refusal}))
        for frame in frames:
            self._perform(self.core.receive(name, frame, now))
        link.passed = link.received
        link.durable = link.watermark

    def _perform(self, effects: Effects) -> None:
        for peer, frame in effects:
            link = self._links.get(peer)
            if link is None:
                continue
            if peer.startswith("shard-"):
                link.send_reliable(frame)
            elif link.open:
                link.send(frame)

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
            if link.tick(now) is Change.BROKEN:
                self._broken(name, now)
        late = [name for name, since in self._lost_at.items() if now >= self._deadline(since)]
        for name in late:
            del self._lost_at[name]
            self._gone(name, now)
        if now >= self.core.sys_due:
            self._send_if_open(self.core.sys_news(now))
        due = [link.next_tick() for link in self._links.values()]
        due += [self._deadline(since) for since in self._lost_at.values()]
        self.deadline.at = min(*due, self.core.sys_due)

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
        status = "ok" if all(peers.values()) else "degraded"
        return {
            "name": self.name,
            "status": status,
            "links": peers,
            "sessions": self.core.session_count(),
        }
