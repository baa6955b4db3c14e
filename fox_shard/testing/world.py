"""The whole cluster in one thread, with virtual time, from one seed.

Owns: the processes' cores, the links between them and to scripted clients, the clock. Never: real
sockets, real time, anything that is not decided by the seed.

What two ends send each other arrives in order; between different pairs anything may overtake
anything. A process may be killed and started again; what was on the way to it or from it is lost.
"""

import logging
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import final

from fox_shard.backplane.frames import Batch, Hello, decode
from fox_shard.backplane.link import Terms
from fox_shard.backplane.node import Node
from fox_shard.config import Gateway as GatewaySettings
from fox_shard.config import Mqtt
from fox_shard.coordinator.hub import Hub
from fox_shard.gateway.connection import Connection
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.transports import makers
from fox_shard.shard.core import Shard

logging.getLogger("websockets").setLevel(logging.WARNING)

WALL = 1_800_000_000.0
"""Seconds since 1970 at which virtual time begins."""

TRACE_LIMIT = 4000
"""Lines of the trace that are kept, the latest."""


@final
class Pipe:
    """One direction between two ends: first in, first out, each item after a delay."""

    __slots__ = ("_deliver", "_items", "_last", "_world", "cut")

    def __init__(self, world: "World", deliver: Callable[[bytes], None]) -> None:
        self._world = world
        self._deliver = deliver
        self._items: deque[bytes] = deque()
        self._last = 0.0
        self.cut = False

    def send(self, data: bytes) -> None:
        """Deliver later, behind what was sent before."""
        self._last = max(self._last, self._world.now + self._world.delay())
        self._items.append(data)
        self._world.at(self._last, self._arrive)

    def _arrive(self) -> None:
        data = self._items.popleft()
        if not self.cut:
            self._deliver(data)


@final
class Wire:
    """A client's connection, both directions. `received(data)` and `closed()` belong to the client."""

    def __init__(
        self,
        world: "World",
        gateway: Gateway,
        kind: str,
        received: Callable[[bytes], None],
        closed: Callable[[], None],
    ) -> None:
        self._world = world
        self._gateway = gateway
        self._closed = closed
        self.open = True
        self.connection = Connection(gateway.dirty, f"client:{kind}")
        gateway.now = world.now
        self.connection.receiver = makers(gateway)[kind](self.connection)
        self.connection.transport = self
        self._up = Pipe(world, self._arrived)
        self._down = Pipe(world, received)
        self._waiting: list[bytes] = []

    def send(self, data: bytes) -> None:
        """From the client."""
        if self.open:
            self._up.send(data)

    def _arrived(self, data: bytes) -> None:
        if self.connection.paused:
            self._waiting.append(data)
        elif self.open:
            self._gateway.now = self._world.now
            self.connection.receiver.receive(data, self._world.now)
            self._world.turn(self._gateway.name)

    def to_client(self, data: bytes) -> None:
        """From the gateway."""
        self._down.send(data)

    def resume(self) -> None:
        """The gateway reads again."""
        while self._waiting and not self.connection.paused:
            self._arrived(self._waiting.pop(0))

    def close(self) -> None:
        """By the client, without a goodbye."""
        if self.open:
            self.open = False
            self._gateway.now = self._world.now
            self.connection.receiver.lost(self._world.now)
            self._world.turn(self._gateway.name)

    def closed_by_gateway(self) -> None:
        """What was written before still arrives."""
        if self.open:
            self.open = False
            self._world.at(self._world.now + 0.01, self._closed)
            self.connection.receiver.lost(self._world.now)

    def died(self) -> None:
        """The gateway was killed."""
        if self.open:
            self.open = False
            self._down.cut = True
            self._closed()


@final
class World:
    """See the module. `now` is virtual time in seconds."""

    def __init__(
        self,
        seed: int,
        *,
        gateways: int = 2,
        shards: int = 2,
        max_delay: float = 0.02,
        queue_limit: int = 100,
        realms: tuple[str, ...] = ("realm1", "realm2"),
    ) -> None:
        """max_delay: seconds a batch or a client's bytes may be on the way."""
        self.seed = seed
        self.rng = Random(seed)
        self.now = 100.0
        self.trace: deque[str] = deque(maxlen=TRACE_LIMIT)
        self._max_delay = max_delay
        self._queue_limit = queue_limit
        self._realms = list(realms)
        self._gateways = gateways
        self._terms = Terms(shards=shards)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.nodes: dict[str, Node] = {}
        self._pipes: dict[tuple[str, str], Pipe] = {}
        self._due: dict[str, float] = {}
        self._turning: set[str] = set()
        self._wires: dict[str, list[Wire]] = {}
        self.names = [f"gateway-{number}" for number in range(gateways)]
        self.names += [f"shard-{number}" for number in range(shards)]
        self.names.append("coordinator")
        for name in self.names:
            self.start(name)

    # Time

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do it then. What is due at the same time happens in the order of asking."""
        self._number += 1
        heappush(self._events, (when, self._number, action))

    def delay(self) -> float:
        """How long something is on the way: mostly short, sometimes long."""
        return self.rng.random() ** 3 * self._max_delay

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heappop(self._events)
            action()
        self.now = until

    def run_until(self, holds: Callable[[], bool], limit: float = 30.0) -> None:
        """Let time pass until it holds. Raises AssertionError with the trace after `limit` seconds."""
        until = self.now + limit
        while not holds():
            if not self._events or self._events[0][0] > until:
                raise AssertionError(self.report("it did not come about"))
            self.now, _, action = heappop(self._events)
            action()

    def report(self, what: str) -> str:
        """A failure, with everything that is needed to see it again."""
        return "\n".join([f"seed {self.seed}, at {self.now:.4f}: {what}", *self.trace])

    # Processes

    def start(self, name: str) -> None:
        """Start a process, for the first time or again."""
        kind, _, number = name.partition("-")
        incarnation = self.rng.randrange(1, 1 << 52)
        rng = Random(self.rng.random())
        if kind == "gateway":
            self.nodes[name] = Gateway(
                int(number),
                realms=self._realms,
                settings=GatewaySettings(),
                mqtt=Mqtt(),
                terms=self._terms,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
                wall=WALL + self.now,
            )
        elif kind == "shard":
            self.nodes[name] = Shard(
                int(number),
                gateways=self._gateways,
                terms=self._terms,
                queue_limit=self._queue_limit,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
            )
        else:
            self.nodes[name] = Hub(
                terms=self._terms, incarnation=incarnation, rng=rng, now=self.now
            )
        self.trace.append(f"{self.now:.4f} {name} starts")
        self._arm(name)

    def kill(self, name: str) -> None:
        """As SIGKILL does: it and what is on the way to it and from it is gone."""
        self.trace.append(f"{self.now:.4f} {name} is killed")
        del self.nodes[name]
        self.cut(name)
        for wire in self._wires.pop(name, []):
            wire.died()

    def cut(self, name: str) -> None:
        """Lose what is on the way to and from that process, and tell who was connected."""
        for source, target in list(self._pipes):
            if name in (source, target):
                self._pipes.pop((source, target)).cut = True
        for other, node in self.nodes.items():
            if other != name and name in self._peers(other):
                self.at(self.now + self.delay(), lambda node=node: self._lost(node, name))  # type: ignore[misc]

    def _peers(self, name: str) -> set[str]:
        links = self.nodes[name].health()["links"]
        return set(links) if isinstance(links, dict) else set()

    def _lost(self, node: Node, peer: str) -> None:
        if self.nodes.get(node.name) is node:
            node.lost(peer, self.now)
            self.turn(node.name)

    def gateway(self, number: int) -> Gateway:
        """The core of that gateway."""
        node = self.nodes[f"gateway-{number}"]
        assert isinstance(node, Gateway)
        return node

    def shard(self, number: int) -> Shard:
        """The core of that shard."""
        node = self.nodes[f"shard-{number}"]
        assert isinstance(node, Shard)
        return node

    @property
    def linked(self) -> bool:
        """Is every link open, and no shard waiting for replays?"""
        return all(node.health()["status"] == "ok" for node in self.nodes.values())

    # Turns

    def turn(self, name: str) -> None:
        """The process has been called: flush at the end of its turn, somewhat later."""
        if name not in self._turning:
            self._turning.add(name)
            self.at(self.now + self.rng.random() * 0.0005, lambda: self._flush(name))

    def _flush(self, name: str) -> None:
        self._turning.discard(name)
        node = self.nodes.get(name)
        if node is None:
            return
        for peer, data in node.flush(self.now):
            self._send(name, peer, data)
        node.notices.clear()
        if isinstance(node, Gateway):
            self._perform(node)
        self._arm(name)

    def _send(self, source: str, target: str, data: bytes) -> None:
        pipe = self._pipes.get((source, target))
        if pipe is None:
            pipe = Pipe(self, lambda data: self._arrived(target, data))
            self._pipes[source, target] = pipe
        pipe.send(data)

    def _arrived(self, name: str, data: bytes) -> None:
        node = self.nodes.get(name)
        if node is None:
            return
        batch = decode(data)
        self._trace(name, batch)
        node.receive(batch, len(data), self.now, WALL + self.now)
        self.turn(name)

    def _trace(self, name: str, batch: Batch) -> None:
        for number, frame in enumerate(batch.frames, batch.first):
            if type(frame) is not Hello:
                self.trace.append(f"{self.now:.4f} {batch.source}>{name} {number} {frame!r}")

    def _arm(self, name: str) -> None:
        due = max(self.nodes[name].next_tick(), self.now + 0.001)
        if not self.now < self._due.get(name, 0.0) <= due:
            self._due[name] = due
            self.at(due, lambda: self._tick(name, due))

    def _tick(self, name: str, due: float) -> None:
        node = self.nodes.get(name)
        if node is not None and self._due.get(name) == due:
            del self._due[name]
            node.tick(self.now)
            self._flush(name)

    # Clients

    def connect(
        self,
        gateway: int,
        kind: str,
        received: Callable[[bytes], None],
        closed: Callable[[], None],
    ) -> Wire:
        """A client connects to a listener ("mqtt", "rawsocket" or "websocket") of that gateway."""
        wire = Wire(self, self.gateway(gateway), kind, received, closed)
        self._wires.setdefault(f"gateway-{gateway}", []).append(wire)
        return wire

    def _perform(self, gateway: Gateway) -> None:
        """What the shell does to sockets."""
        dirty = gateway.dirty
        for connection in dirty:
            wire = connection.transport
            assert isinstance(wire, Wire)
            if connection.out:
                wire.to_client(b"".join(connection.out))
                connection.out.clear()
            if connection.closing:
                wire.closed_by_gateway()
            elif not connection.paused:
                wire.resume()
        dirty.clear()
