"""One shard: its peers, its turns, its time.

Owns: the coming and going of peers, what is due. Never: what a frame does (see `dispatch`), what
peers tell again (see `recovery`); sockets, clocks, chance of its own.

All inbound batches of a turn are handled, then `flush` yields one batch for each peer that has
news; what has changed in the store goes there as one transaction (`journal`). A shard that has just
started handles replayed state only, until every process it expects has ended its replay or
`peer_timeout` is over; the rest waits in order.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import (
    Batch,
    Forward,
    Frame,
    Report,
    Trouble,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.links import Links
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import Chance
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Realm
from fox_shard.deadline import NEVER, Deadline
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.dispatch import Handling
from fox_shard.shard.history.histories import Archive
from fox_shard.shard.keys.realm import Realms
from fox_shard.shard.keys.retained import Retention
from fox_shard.shard.keys.unannounced import Untold
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.outcomes import Ledger
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.loading import load
from fox_shard.shard.publishing.stored import Commits
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.realms import RealmIndexes
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.recovery import Recovery
from fox_shard.shard.rows import CEILING
from fox_shard.shard.rows import encode as encode_row
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.registrar import Registrar
from fox_shard.shard.sessions.wills import Wills
from fox_shard.store.journal import Journal


@final
class Shard:
    """See the module."""

    __slots__ = (
        "_ahead",
        "_batches",
        "_fences",
        "_frames",
        "_handling",
        "_overloaded",
        "_placement",
        "_terms",
        "_untold",
        "broker",
        "clock",
        "commits",
        "deadline",
        "dealer",
        "journal",
        "ledger",
        "links",
        "name",
        "notices",
        "number",
        "peers",
        "recovery",
        "registrar",
        "retention",
        "subscriptions",
        "wills",
    )

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        number: int,
        *,
        gateways: int,
        terms: LinkSettings,
        queue_limit: int,
        incarnation: int,
        rng: Chance,
        now: float,
        wall: float,
        rows: Iterable[tuple[bytes, bytes]] = (),
        realms: Iterable[Realm] = (),
    ) -> None:
        """number: 0..shards-1. gateways: how many there are. rng: epochs and random callees.

        now: monotonic, wall: since 1970 (seconds). rows: of the store, in order.
        realms: those that are configured.
        Raises ValueError for a row that it does not understand.
        """
        self.number = number
        self.name = f"shard-{number}"
        self._terms = terms
        self._placement = Placement(terms.shards)
        self.deadline = Deadline()
        self.notices: list[Notice] = []
        self.links = Links(
            self.name,
            self,
            settings=terms,
            incarnation=incarnation,
            new_epoch=lambda: rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            notices=self.notices,
        )
        self.journal = Journal(self.deadline, self._durable, self._failed, self._trouble)
        self._ahead = wall - now
        self.clock = PublicationClock(number, wall)
        settings = tuple(realms)
        known = Realms(settings)
        indexes = RealmIndexes(known)
        self._untold = Untold(self.journal)
        archive = Archive(settings, self.clock, self.journal)
        self.broker = Broker(indexes, self.clock, self._untold)
        self.subscriptions = Subscriptions(indexes, self.clock, archive)
        self.retention = Retention(known, self.clock, self.journal, self._untold, archive)
        self.ledger = Ledger(self.journal)
        self.peers: dict[str, Peer] = {}
        self.commits = Commits(
            self.broker,
            self.retention,
            archive,
            self.clock,
            self.ledger,
            self._untold,
            self.peers,
        )
        self.dealer = Dealer(
            number, self._placement, self.peers.get, queue_limit, rng, self.deadline
        )
        self.registrar = Registrar(self.dealer, self._placement, self._other_shards)
        self.wills = Wills(self.journal)
        fences = Fences(lambda name: self.peers.get(name) or self._meet(name, 0.0))
        self._handling = Handling(
            self.peers,
            self.broker,
            self.subscriptions,
            self.commits,
            self.retention.owners,
            archive,
            self.dealer,
            self.registrar,
            self.wills,
            self.ledger,
            fences,
        )
        self.recovery = Recovery(
            self.peers,
            self._handling,
            self.broker,
            self.subscriptions,
            self.commits,
            self.retention.owners,
            self.wills,
            self.ledger,
            fences,
            now + terms.peer_timeout,
        )
        self._fences = fences
        self._overloaded = False
        # Since the last report.
        self._batches = self._frames = 0
        # A shard connects to the shards of higher numbers, and listens to everybody else.
        for other in range(terms.shards):
            if other != number:
                self._meet(f"shard-{other}", now, connects=other > number)
        for gateway in range(gateways):
            self._meet(f"gateway-{gateway}", now)
        for name, incarnation in load(
            rows, self.clock, self.retention, self._untold, self.commits, self.ledger, self.wills
        ):
            peer = self.peers.get(name) or self._meet(name, now)
            peer.careful = True
            if peer.kind is Kind.GATEWAY:
                self.links.expect(peer.link, incarnation, now)

    def _meet(self, name: str, now: float, *, connects: bool = False) -> Peer:
        peer = self.peers[name] = Peer(self.links.add(name, now, connects=connects))
        return peer

    def _other_shards(self) -> list[Peer]:
        return [peer for peer in self.peers.values() if peer.kind is Kind.SHARD]

    # In

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch. size: bytes on the wire. now: monotonic, wall: since 1970 (seconds)."""
        peer = self.peers.get(batch.source) or self._meet(batch.source, now)
        frames = self.links.receive(peer.link, batch, size, now)
        peer.passing.settle()
        if peer.kind is Kind.SHARD:
            self.dealer.forwarding.settle(peer, int(peer.name.partition("-")[2]))
        self.ledger.prune(peer)
        self.commits.grants.prune(peer)
        self._untold.prune(peer)
        if frames:
            self._batches += 1
            self._frames += len(frames)
            self._ahead = wall - now
            self.clock.advance(wall)
            if self.clock.raise_ceiling():
                self.journal.keep(CEILING, encode_row(self.clock.ceiling))
            arrival = Arrival.of(peer.link, frames)
            if self.recovery.until is None and peer.synced:
                self._handling.handle(peer, arrival, now)
            else:
                self.recovery.receive(peer, arrival, now)
            self.deadline.by(self.retention.next_expiry - self._ahead)

    # Peers come and go

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """The peer is there, as the incarnation of the pair before or as another."""
        peer = self.peers[link.peer]
        known = before == link.peer_incarnation
        if not known:
            peer.applied = 0
        self._forget(peer)
        if not known and before:
            self._gone(peer)
        self.ledger.opened(peer)
        owners = self.retention.owners
        self.recovery.end_sessions(owners.of_others(peer.name, peer.incarnation))
        owners.is_back(peer.name)
        self.wills.is_back(peer, known=known)
        peer.settled = 0
        self.subscriptions.is_back(peer)
        link.resume(self.registrar.announcements() if peer.kind is Kind.SHARD else [])
        peer.passing.resume()
        if self.journal.failing and peer.kind is Kind.GATEWAY:
            peer.reply(Trouble(self.journal.failing))

    def link_broken(self, link: Link, now: float) -> None:
        """The peer replays its state if it comes back."""
        self._forget(self.peers[link.peer])

    def peer_gone(self, link: Link, now: float) -> None:
        """The peer's sessions have ended."""
        self._gone(self.peers[link.peer])

    def lost(self, name: str, now: float) -> None:
        """The connection to that process is broken."""
        self.links.connection_lost(name, now)

    def _forget(self, peer: Peer) -> None:
        """What it will replay if it comes back."""
        peer.synced = False
        self._handling.forget(peer)
        if peer.waiting:
            # Not handled: what is reliable is to be sent again, calls are not.
            for arrival in peer.waiting:
                for frame in arrival.frames:
                    if type(frame) is Forward:
                        self.dealer.refuse_forwarded(frame, peer.name)
            peer.waiting.clear()
            peer.resent.clear()
            peer.link.watermark = peer.applied
        for session in self.dealer.callers_of(peer):
            self.dealer.caller_left(session)
        for session in self.registrar.sessions_of(peer):
            self.registrar.session_left(session)
        if peer.kind is Kind.SHARD:
            self.registrar.forget_announcements(int(peer.name.partition("-")[2]))
        self.dealer.forwarding.lost(peer)
        peer.asks.extend(peer.passing.pause())

    def _gone(self, peer: Peer) -> None:
        """That incarnation will not come back: its sessions have ended."""
        self.subscriptions.forget(peer)
        peer.link.forget()
        peer.passing.abandon()
        self.ledger.gone(peer)
        self.commits.grants.gone(peer)
        self._untold.gone(peer)
        owning = self.retention.owners.of_others(peer.name, 0)
        self.recovery.end_sessions([*owning, *self.wills.sessions_of(peer.name)])
        self._fences.answer(peer)

    # The store

    def _durable(self, ticket: int, now: float) -> None:
        self.clock.wall = now + self._ahead
        self._handling.durable(ticket, now)

    def _failed(self, _ticket: int, why: str, now: float) -> None:
        self._handling.failed(why, now)

    def _trouble(self, why: str) -> None:
        self._tell_gateways(Trouble(why))
        self.notices.append(("store_failed", {"reason": why}) if why else ("store_recovered", {}))

    # Time and out

    def tick(self, now: float) -> None:
        """What is due."""
        self.clock.wall = now + self._ahead
        self.journal.tick(now)
        self.dealer.expire(now)
        if self.recovery.until is None:
            self.commits.expire(now + self._ahead)
        if self.recovery.until is not None and now >= self.recovery.until:
            self.recovery.end(now)
        self.links.tick(now)
        due = [self.links.next_tick(), self.dealer.next_timeout(), self.journal.next_tick()]
        if self.recovery.until is None:
            due.append(self.retention.next_expiry - self._ahead)
        due.append(NEVER if self.recovery.until is None else self.recovery.until)
        self.deadline.at = min(due)

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """(peer, batch) for everybody who has news, once a turn."""
        self._share_the_load()
        self.commits.settled.say_now_and_then(self.peers.values())
        return self.links.flush(now)

    def _tell_gateways(self, frame: Frame) -> None:
        for peer in self.peers.values():
            if peer.kind is Kind.GATEWAY:
                peer.reply(frame)

    def _share_the_load(self) -> None:
        """While a gateway, or the store, is behind, give no credit to any gateway.

        It stops the publishers; shards and gateways themselves always read, so nothing can block.
        """
        overloaded = self.journal.waiting > self._terms.credit or any(
            peer.link.in_flight > self._terms.credit
            for peer in self.peers.values()
            if peer.kind is Kind.GATEWAY
        )
        if overloaded is not self._overloaded:
            self._overloaded = overloaded
            for peer in self.peers.values():
                if peer.kind is Kind.GATEWAY:
                    peer.link.hold_credit = overloaded
                    peer.link.acknowledge_soon()

    def send_report(self, now: float) -> None:
        """Tell the coordinator the metrics."""
        coordinator = self.peers.get("coordinator")
        if coordinator is not None:
            commits, seconds = self.journal.take_times()
            counters = {
                f"{self.name}.batches": self._batches,
                f"{self.name}.frames": self._frames,
                f"{self.name}.commits": commits,
                f"{self.name}.dropped": self.commits.refusals.dropped,
            }
            self._batches = self._frames = self.commits.refusals.dropped = 0
            gauges = {
                f"{self.name}.commit_microseconds": round(1e6 * seconds),
                f"{self.name}.keys": self.retention.keys_held,
                f"{self.name}.waiting_publishes": len(self.commits.turns.waiting),
                f"{self.name}.queue_depth": self.dealer.queued,
            }
            coordinator.reply(Report(counters, gauges))

    def health(self) -> dict[str, object]:
        """See `Node`."""
        peers = self.links.states()
        syncing = self.recovery.until is not None
        well = all(peers.values()) and not self.journal.failing
        status = "unavailable" if syncing else "ok" if well else "degraded"
        trouble = {"store": self.journal.failing} if self.journal.failing else {}
        return {
            "name": self.name,
            "status": status,
            "links": peers,
            "keys": self.retention.keys_held,
            "waiting_publishes": len(self.commits.turns.waiting),
            "queued_calls": self.dealer.queued,
            **trouble,
        }
