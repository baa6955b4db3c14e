"""Several real shards without gateways, their disks, and the wires between them."""

from random import Random

from shard_harness import KEYS, RPC, WALL, Disk

from fox_shard.backplane.frames import Hello, decode
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.terms import LinkSettings
from fox_shard.shard.core import Shard
from fox_shard.testing.ledger import REALM, Ledger, missing


class Shards:
    """The shards; batches move only in `turn`.

    cut: pairs of shard numbers (sender, receiver) between which batches are lost. deaf: pairs
    between which all batches but hellos are. ledgers: see `testing.ledger`; numbers and targets of
    the frames are counted here.
    """

    def __init__(self, count=2, *, identities=None, stored=None, **terms):
        """identities, stored: of each shard's store, its rows. terms: see `LinkSettings`."""
        self.terms = LinkSettings(shards=count, **terms)
        self.placement = Placement(count)
        self.now = 100.0
        self.disks = [Disk(rows) for rows in stored or [{}] * count]
        self._identities = identities or [1000 + number for number in range(count)]
        self.nodes = [None] * count
        self.ledgers = [None] * count
        self.cut = set()
        self.deaf = set()
        self.targets = {}
        # (sender, receiver, batch), of all times.
        self.arrived = []
        self._incarnation = 0
        for number in range(count):
            self.start(number)
        self.turns(8)

    def start(self, number):
        """Start a shard, for the first time or again."""
        self._incarnation += 1
        disk = self.disks[number] = Disk(self.disks[number].rows)
        self.nodes[number] = Shard(
            number,
            gateways=0,
            terms=self.terms,
            rpc=RPC,
            limits=KEYS,
            max_message_size=1 << 24,
            incarnation=self._incarnation,
            rng=Random(self._incarnation),
            now=self.now,
            wall=WALL + self.now,
            identity=self._identities[number],
            rows=sorted(disk.rows.items()),
        )
        self.ledgers[number] = Ledger(self.nodes[number], disk.rows)

    def kill(self, number):
        """Kill a shard; the others hear of the broken connections."""
        self.nodes[number] = None
        self._lost(number)

    def _lost(self, number):
        for node in self.running:
            node.connection_lost(f"shard-{number}", self.now)

    def restart(self, number):
        """Kill a shard, and start it from its disk."""
        self.kill(number)
        self.start(number)

    def sever(self, one, other):
        """Break the connection between two shards, which both notice."""
        self.nodes[one].connection_lost(f"shard-{other}", self.now)
        self.nodes[other].connection_lost(f"shard-{one}", self.now)

    @property
    def running(self):
        return [node for node in self.nodes if node is not None]

    def commit(self, number):
        """Commit what the shard has written, or let it fail."""
        outcome = self.disks[number].commit()
        if outcome is not None:
            self.nodes[number].journal.outcome(*outcome, self.now)

    def turn(self):
        """Let one turn pass, in which all that is on the wires arrives."""
        for node in self.running:
            number = node.number
            batches = node.flush(self.now)
            write = node.journal.take(self.now)
            if write is not None:
                self.disks[number].write(write)
            if not self.disks[number].held:
                self.commit(number)
            for name, data in batches:
                target = int(name.partition("-")[2])
                batch = decode(data)
                if self._arrives(number, target, batch):
                    self.arrived.append((number, target, batch))
                    self.nodes[target].receive(batch, len(data), self.now, WALL + self.now)

    def _arrives(self, source, target, batch):
        lost = (source, target) in self.cut
        if (source, target) in self.deaf:
            lost = not (batch.frames and isinstance(batch.frames[0], Hello))
        return not lost and self.nodes[target] is not None

    def turns(self, many=6):
        """Let several turns pass, and a little time."""
        for _ in range(many):
            self.now += 0.05
            for node in self.running:
                node.tick(self.now)
            self.turn()

    def settle(self):
        """Let everything come to rest, with all shards and disks well."""
        self.cut.clear()
        self.deaf.clear()
        for number, disk in enumerate(self.disks):
            disk.held, disk.trouble = False, ""
            if self.nodes[number] is None:
                self.start(number)
        for _ in range(400):  # longer than a store's retry and a peer's timeouts
            self.turns(1)
            if all(self._at_rest(node) for node in self.running):
                return
        raise AssertionError("the shards do not come to rest")

    @staticmethod
    def _at_rest(node):
        well = node.health()["status"] == "ok"
        return well and node.outbox.idle and node.inbox.idle and node.journal.idle

    # Frames

    def topic(self, shard, number=0):
        """Return the name of a topic that the shard owns."""
        names = (f"t{n}" for n in range(10_000))
        mine = [name for name in names if self.placement.shard_of(REALM, name) == shard]
        return mine[number]

    def send(self, source, target, count=1, *, revocable=False, topic=0):
        """Send frames from one shard to a topic of another."""
        name = self.topic(target, topic)
        for _ in range(count):
            number = len(self.targets) + 1
            self.targets[number] = name
            self.ledgers[source].send(name, number, revocable=revocable)

    def handled(self, shard, topic=0):
        """Return the numbers of the frames that were handled at a topic of that shard."""
        return self.ledgers[shard].handled.get(self.topic(shard, topic), [])

    def check(self):
        """Check that all frames that were sent had their effects, once and in order."""
        self.settle()
        assert missing([disk.rows for disk in self.disks], self.targets) == ""
