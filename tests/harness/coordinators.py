"""Coordinators, for tests of their core and of their links."""

from random import Random

from fake_peer import FakePeer
from shard_harness import Disk

from fox_shard.backplane.attached import is_attached
from fox_shard.backplane.frames import decode
from fox_shard.backplane.terms import LinkSettings
from fox_shard.coordinator.core import Coordinator
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal


def coordinator_of(placement, **options):
    """Return a coordinator whose journal is never written."""
    journal = Journal(
        Deadline(), lambda ticket, now: None, lambda ticket, why, now: None, lambda why: None
    )
    return Coordinator(placement, journal, **options)


class CoordinatorSite:
    """A coordinator with a disk, and fake peers. running: which attached gateways run."""

    def __init__(self, **terms):
        """terms: see `LinkSettings`; there is one shard."""
        self.terms = LinkSettings(shards=1, **terms)
        self.gateways = 2
        self.now = 100.0
        self.disk = Disk()
        self.peers = {}
        self.running = set()
        self._start(7)

    def _start(self, incarnation):
        self.node = CoordinatorNode(
            terms=self.terms,
            gateways=self.gateways,
            incarnation=incarnation,
            rng=Random(incarnation),
            now=self.now,
            realms=["realm1"],
            stored=sorted(self.disk.rows.items()),
            running=lambda: frozenset(self.running),
        )

    def start(self, name, incarnation=1):
        """Start a peer, for the first time or again."""
        terms = self.terms
        if is_attached(name):
            self.running.add(name)
            terms = terms.for_attached()
        connects = name.startswith("gateway")
        peer = FakePeer(
            name, "coordinator", terms, self.now, connects=connects, incarnation=incarnation
        )
        self.peers[name] = peer
        return peer

    def kill(self, name):
        """End a peer; the coordinator hears of the broken connection."""
        del self.peers[name]
        self.running.discard(name)
        self.node.connection_lost(name, self.now)

    def restart(self):
        """Kill the coordinator, and start it from its disk."""
        self._start(self.node.incarnation + 1)
        for peer in self.peers.values():
            peer.link.break_off(self.now)

    def pass_time(self, seconds):
        """Let time pass, while all do their work."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.05
            self.node.tick(self.now)
            write = self.node.journal.take(self.now)
            if write is not None:
                self.disk.write(write)
                self.node.journal.outcome(*self.disk.commit(), self.now)
            for name, data in self.node.flush(self.now):
                if name in self.peers:
                    self.peers[name].take(data, self.now)
            for peer in self.peers.values():
                peer.tick(self.now)
                for data in [] if peer.silent else peer.flush(self.now):
                    self.node.receive(decode(data), len(data), self.now, self.now)
