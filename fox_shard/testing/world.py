"""The whole cluster in one thread, with virtual time, from one seed.

Owns: the processes' cores, the links between them and to scripted clients, the clock. Never: real
sockets, real time, anything that is not decided by the seed.

What two ends send each other arrives in order; between different pairs anything may overtake
anything. A process may be killed and started again; what was on the way to it or from it is lost.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection
from random import Random
from typing import final

from fox_shard.backplane.frames import Batch, Hello, Report, SyncEnd, decode
from fox_shard.backplane.node import Node
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Gateway as GatewaySettings
from fox_shard.config import History as Rule
from fox_shard.config import Mqtt
from fox_shard.config import Realm as RealmSettings
from fox_shard.coordinator.hub import Hub
from fox_shard.gateway.core import Gateway
from fox_shard.shard.core import Shard
from fox_shard.testing.disk import Disk
from fox_shard.testing.timing import Timing
from fox_shard.testing.wires import Pipe, Wire

logging.getLogger("websockets").setLevel(logging.WARNING)

WALL = 1_800_000_000.0
"""Seconds since 1970 at which virtual time begins."""

TRACE_LIMIT = 20_000
"""Entries of the trace that are kept, the latest."""

REPORT_LINES = 120
"""Lines of the trace that a failure shows, the latest."""

LOSING = 0.3
"""Seconds after which a connection loses nothing more."""

Entry = tuple[float, str, str | Batch]
"""When, what happened to whom; or which process got that batch."""


@final
class World:
    """One simulated cluster, with its disks and its clients."""

    def __init__(
        self,
        seed: int,
        *,
        gateways: int = 2,
        shards: int = 2,
        max_delay: float = 0.02,
        queue_limit: int = 100,
        credit: int = 8 << 20,
        realms: tuple[str, ...] = ("realm1", "realm2"),
        unstored: tuple[str, ...] = (),
        history: tuple[Rule, ...] = (),
    ) -> None:
        """max_delay: seconds a batch or a client's bytes may be on the way.

        credit: see `LinkSettings`.
        unstored: realms whose keys are in memory only. history: what all realms record.
        """
        self.seed = seed
        self.rng = Random(seed)
        self.timing = Timing(self.rng, max_delay)
        self.trace: deque[Entry] = deque(maxlen=TRACE_LIMIT)
        self._queue_limit = queue_limit
        self.realms = [
            RealmSettings(
                name=name, store="memory" if name in unstored else "sqlite", history=history
            )
            for name in realms
        ]
        self.gateways = gateways
        self.terms = LinkSettings(shards=shards, credit=credit)
        self.nodes: dict[str, Node] = {}
        self._pipes: dict[tuple[str, str], Pipe] = {}
        self._due: dict[str, float] = {}
        self._turning: set[str] = set()
        self._wires: dict[str, list[Wire]] = {}
        # They outlive the processes.
        self.disks: dict[str, Disk] = {}
        # When each process was killed.
        self.killed: dict[str, list[float]] = {}
        self.names = [f"gateway-{number}" for number in range(gateways)]
        self.names += [f"shard-{number}" for number in range(shards)]
        self.names.append("coordinator")
        for name in self.names:
            self.start(name)

    # Time

    @property
    def now(self) -> float:
        """Virtual time in seconds."""
        return self.timing.now

    def at(self, when: float, action: Callable[[], object]) -> None:
        """See `Timing.at`."""
        self.timing.at(when, action)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        until = self.now + seconds
        while self.timing.is_due(until):
            self._step()
        self.timing.now = until

    def run_until(self, holds: Callable[[], bool], limit: float = 30.0) -> None:
        """Let time pass until it holds. Raises AssertionError with the trace after `limit`."""
        until = self.now + limit
        while not holds():
            if not self.timing.is_due(until):
                raise AssertionError(self.report("it did not come about"))
            self._step()

    def _step(self) -> None:
        action = self.timing.next_action()
        try:
            action()
        except Exception as error:
            raise AssertionError(self.report(f"{type(error).__name__}: {error}")) from error

    # What happened

    def note(self, text: str) -> None:
        """A line for the trace."""
        self.trace.append((self.now, text, ""))

    def check(self, holds: object, what: str, about: Collection[str] = ()) -> None:
        """Raises AssertionError with the trace if it does not hold. about: see `report`."""
        if not holds:
            raise AssertionError(self.report(what, about))

    def report(self, what: str, about: Collection[str] = (), lines: int = REPORT_LINES) -> str:
        """A failure, with everything that is needed to see it again.

        about: shows only the lines of the trace that contain one of these, if there are any such.
        """
        shown = [line for entry in self.trace for line in _lines(entry)]
        shown = [line for line in shown if any(text in line for text in about)] or shown
        trimmed = [f"… {len(shown) - lines} lines"] if len(shown) > lines else []
        head = f"seed {self.seed}, at {self.now:.4f}: {what}"
        return "\n".join([head, *trimmed, *shown[-lines:]])

    # Processes

    def start(self, name: str) -> None:
        """Start a process, for the first time or again."""
        kind, _, number = name.partition("-")
        incarnation = self.rng.randrange(1, 1 << 52)
        rng = Random(self.rng.random())
        if kind == "gateway":
            self.nodes[name] = Gateway(
                int(number),
                realms=self.realms,
                settings=GatewaySettings(),
                mqtt=Mqtt(),
                terms=self.terms,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
                wall=WALL + self.now,
            )
        elif kind == "shard":
            disk = self._disk(name)
            self.nodes[name] = Shard(
                int(number),
                gateways=self.gateways,
                terms=self.terms,
                queue_limit=self._queue_limit,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
                wall=WALL + self.now,
                rows=disk.scan(),
                realms=self.realms,
            )
        else:
            disk = self._disk(name)
            self.nodes[name] = Hub(
                terms=self.terms,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
                identity=disk.identity,
                stored=disk.scan(),
            )
        self.note(f"{name} starts")
        node = self.nodes[name]
        if node.journal is not None:
            self._disk(name).open(lambda ticket, why: self._committed(node, ticket, why))
        self._arm(name)

    def _disk(self, name: str) -> Disk:
        disk = self.disks.get(name)
        if disk is None:
            disk = self.disks[name] = Disk(self.timing, name, self.note)
        return disk

    def _committed(self, node: Node, ticket: int, why: str) -> None:
        if node.journal is not None:
            node.journal.outcome(ticket, why, self.now)
            self.turn(node.name)

    def kill(self, name: str) -> None:
        """As SIGKILL does: it and what is on the way to it and from it is gone."""
        self.note(f"{name} is killed")
        self.killed.setdefault(name, []).append(self.now)
        del self.nodes[name]
        if name in self.disks:
            self.disks[name].crash()
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
                self.at(self.now + self.timing.delay(), lambda node=node: self._lost(node, name))  # type: ignore[misc]

    def sever(self, one: str, other: str, *, told: bool) -> None:
        """Break the connection of two processes: what is on the way between them is lost.

        told: both hear of it at once, as when sending fails; else they find the hole themselves.
        """
        self.note(f"{one} and {other} are severed")
        for source, target in ((one, other), (other, one)):
            pipe = self._pipes.pop((source, target), None)
            if pipe is not None:
                pipe.cut = True
            if told and source in self.nodes and target in self._peers(source):
                self._lost(self.nodes[source], target)

    def lose(self, source: str, target: str, batches: int) -> None:
        """The next batches from one to the other vanish, for a while."""
        self.note(f"{batches} batches {source}>{target} are lost")
        pipe = self._pipes.get((source, target))
        if pipe is not None:
            pipe.losing += batches
            pipe.losing_until = self.now + LOSING

    def pairs(self) -> list[tuple[str, str]]:
        """Processes that have a link with each other."""
        return [
            (one, other)
            for i, one in enumerate(self.names)
            for other in self.names[i + 1 :]
            if not one[:7] == other[:7] == "gateway"
        ]

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
    def gateways_here(self) -> list[int]:
        """Those that run."""
        return [number for number in range(self.gateways) if f"gateway-{number}" in self.nodes]

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
        write = None if node.journal is None else node.journal.take(self.now)
        if write is not None:
            self.disks[name].write(write)
        node.notices.clear()
        if isinstance(node, Gateway):
            self._perform(node)
        self._arm(name)

    def _send(self, source: str, target: str, data: bytes) -> None:
        pipe = self._pipes.get((source, target))
        if pipe is None:
            pipe = Pipe(self.timing, lambda data: self._arrived(target, data))
            self._pipes[source, target] = pipe
        pipe.send(data)

    def _arrived(self, name: str, data: bytes) -> None:
        node = self.nodes.get(name)
        if node is None:
            return
        batch = decode(data)
        self.trace.append((self.now, name, batch))
        node.receive(batch, len(data), self.now, WALL + self.now)
        self.turn(name)

    def _arm(self, name: str) -> None:
        due = max(self.nodes[name].deadline.at, self.now + 0.001)
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
        wire = Wire(self.timing, self.turn, self.gateway(gateway), kind, received, closed)
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


def _lines(entry: Entry) -> list[str]:
    now, who, batch = entry
    if isinstance(batch, str):
        return [f"{now:.4f} {who}"]
    return [
        f"{now:.4f} {batch.source}>{who} {number} {frame!r}"
        for number, frame in enumerate(batch.frames, batch.first)
        if not isinstance(frame, Hello | SyncEnd | Report)
    ]
