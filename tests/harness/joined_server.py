"""One gateway, one shard and the coordinator at a junction, their disks, and virtual time."""

from random import Random

from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Gateway as GatewaySettings
from fox_shard.config import Keys, Mqtt, Realm, Reducers, Rpc
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.embedded.junction import Junction
from fox_shard.gateway.core import Gateway
from fox_shard.shard.core import Shard
from fox_shard.testing.disk import Disk
from fox_shard.testing.timing import Timing
from fox_shard.testing.wires import Wire

WALL = 1_800_000_000.0


class JoinedServer:
    """The three cores of one process. turns: how many the process has made."""

    def __init__(self, seed=1, max_delay=0.0):
        """max_delay: maximum seconds that clients' bytes are on their way."""
        self.rng = Random(seed)
        self.timing = Timing(self.rng, max_delay)
        self.disks = {
            name: Disk(self.timing, name, lambda line: None) for name in ("shard-0", "coordinator")
        }
        self.turns = 0
        self.wires = []
        self.life = 0
        self.start()

    def start(self):
        """Start the process, for the first time or again."""
        self.life += 1
        terms = LinkSettings(shards=1, hands_over=True)
        realms = [Realm(name="realm1")]
        both = {"terms": terms, "now": self.now, "is_working": lambda peer, incarnation, now: True}
        self.gateway = Gateway(
            0,
            realms=realms,
            settings=GatewaySettings(),
            mqtt=Mqtt(),
            reducer=Reducers(),
            incarnation=self._random(),
            rng=Random(self._random()),
            wall=WALL + self.now,
            **both,
        )
        self.coordinator = CoordinatorNode(
            gateways=1,
            realms=["realm1"],
            incarnation=self._random(),
            rng=Random(self._random()),
            identity=self.disks["coordinator"].identity,
            stored=self.disks["coordinator"].scan(),
            **both,
        )
        self.shard = Shard(
            0,
            gateways=1,
            rpc=Rpc(),
            limits=Keys(),
            reducer=Reducers(),
            max_message_size=1 << 24,
            incarnation=self._random(),
            rng=Random(self._random()),
            wall=WALL + self.now,
            identity=self.disks["shard-0"].identity,
            rows=self.disks["shard-0"].scan(),
            realms=realms,
            **both,
        )
        self.junction = Junction([self.gateway, self.coordinator, self.shard])
        for node in self.junction.nodes:
            if node.journal is not None:
                self.disks[node.name].open(self._told(node))
        self._turning = False
        self._armed = float("inf")
        self._arm()

    def _random(self):
        return self.rng.randrange(1, 1 << 52)

    def _told(self, node):
        def on_outcome(ticket, why):
            node.journal.outcome(ticket, why, self.now)
            self.turn(node.name)

        return on_outcome

    def kill(self):
        """Kill the process, as SIGKILL does."""
        self.life += 1
        for disk in self.disks.values():
            disk.crash()
        wires, self.wires = self.wires, []
        for wire in wires:
            wire.died()

    # Time

    @property
    def now(self):
        return self.timing.now

    def run(self, seconds):
        """Let virtual time pass."""
        until = self.now + seconds
        while self.timing.is_due(until):
            self.timing.next_action()()
        self.timing.now = until

    def run_until(self, holds, limit=30.0):
        until = self.now + limit
        while not holds():
            assert self.timing.is_due(until), "it did not come about"
            self.timing.next_action()()

    def turn(self, name):
        """Let a turn follow, as something has come for that node."""
        self.junction.stir(name)
        if not self._turning:
            self._turning = True
            self._at(self.now, self._end_turn)

    def _at(self, when, action):
        life = self.life
        self.timing.at(when, lambda: action() if self.life == life else None)

    def _end_turn(self):
        self._turning = False
        self.turns += 1
        for name, write in self.junction.turn(self.now, WALL + self.now):
            self.disks[name].write(write)
        self._perform()
        if self.junction.busy or self.gateway.busy:
            self.turn(self.gateway.name)
        self._arm()

    def _arm(self):
        due = max(self.junction.due, self.now)
        if due < self._armed:
            self._armed = due
            self._at(due, lambda: self._tick(due))

    def _tick(self, due):
        if due == self._armed:
            self._armed = float("inf")
            self.junction.tick(self.now)
            self._end_turn()

    # Clients

    def connect(self, gateway, kind, received, closed):
        """Connect a client of the simulator; see `World.connect`."""
        wire = Wire(self.timing, self.turn, self.gateway, lambda act: act(), kind, received, closed)
        self.wires.append(wire)
        return wire

    def _perform(self):
        gateway, dirty = self.gateway, self.gateway.dirty
        for connection in dirty:
            wire = connection.transport
            if connection.out:
                wire.to_client(b"".join(connection.out))
                connection.out.clear()
            if connection.closing:
                wire.closed_by_gateway()
            elif not connection.paused:
                wire.resume()
        dirty.clear()
        due = gateway.turns.begin(self.now)
        if due or gateway.turns.busy:
            gateway.now = self.now
            for connection in due:
                gateway.turns.go_on(connection, self.now)
            gateway.turns.do_chores()
            self.turn(gateway.name)
