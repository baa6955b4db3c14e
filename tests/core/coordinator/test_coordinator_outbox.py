"""What waits in the coordinator is bounded, and its health tells what was refused."""

from random import Random

from fake_peer import FakePeer
from shard_harness import Disk

from fox_shard.backplane.frames import Join, Leave, decode
from fox_shard.backplane.terms import LinkSettings
from fox_shard.coordinator.node import CoordinatorNode

TERMS = LinkSettings(shards=1, outbox_limit=2000)


class Site:
    """A coordinator with a disk, and fake peers."""

    def __init__(self):
        self.now = 100.0
        self.disk = Disk()
        self.node = CoordinatorNode(terms=TERMS, incarnation=7, rng=Random(1), now=self.now)
        self.peers = {}

    def start(self, name):
        connects = name.startswith("gateway")
        peer = FakePeer(name, "coordinator", TERMS, self.now, connects=connects)
        self.peers[name] = peer
        return peer

    def pass_time(self, seconds):
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
                for data in peer.flush(self.now):
                    self.node.receive(decode(data), len(data), self.now, self.now)


def test_gateways_keep_their_frames_while_too_much_waits_for_a_shard():
    site = Site()
    gateway = site.start("gateway-0")
    site.pass_time(1)

    def come_and_go(session):
        join = Join(session, "realm1", *["x"] * 7, client="", began=0.0, replay=False)
        for frame in (join, Leave(session, graceful=True)):
            gateway.link.send_reliable(frame)
        site.pass_time(0.3)
        return gateway.link.reliably_sent - gateway.link.forgotten

    assert come_and_go(1) == 0
    unconfirmed = [come_and_go(session) for session in range(2, 30)]
    assert unconfirmed[-1] > unconfirmed[-2] > 0
    site.start("shard-0")
    site.pass_time(2)
    assert gateway.link.reliably_sent == gateway.link.forgotten


def test_the_health_tells_which_limits_have_refused_something():
    node = Site().node
    assert "refused" not in node.health()
    node.core.schema_calls.limit_counts.add("schema_calls")
    assert node.health()["refused"] == {"schema_calls": 1}
