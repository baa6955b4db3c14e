"""The whole cluster in one thread, with virtual time, from one seed.

Owns: the processes' cores, the connections between them and to clients, the clock. Never: real
sockets, real time, anything that is not decided by the seed.

Data on one connection arrives in order; data on different connections may arrive in any order. A
process may be killed and started again; all data on the way to or from the process is lost then.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random
from typing import final

import msgspec

from fox_shard.backplane.attached import is_attached, name_of
from fox_shard.backplane.frames import encode
from fox_shard.backplane.node import Node
from fox_shard.backplane.parcel import batch_of
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Auth, Keys, Mqtt, RealmLimits, Reducers, Role, Rpc, Webhook
from fox_shard.config import Gateway as GatewaySettings
from fox_shard.config import History as Rule
from fox_shard.config import Realm as RealmSettings
from fox_shard.config import Reducer as BuiltIn
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.gateway.auth.hashing import Job
from fox_shard.gateway.clients.turns import TURN
from fox_shard.gateway.consulting.functions import FunctionCall
from fox_shard.gateway.consulting.outcomes import Advice, NoAdvice
from fox_shard.gateway.core import Gateway
from fox_shard.shard.budget import TURN_UNITS
from fox_shard.shard.core import Shard
from fox_shard.testing.disk import Disk
from fox_shard.testing.one_process import OneProcess, is_one_process
from fox_shard.testing.timing import Timing
from fox_shard.testing.trace import REPORT_LINES, Trace
from fox_shard.testing.wires import Pipe, Wire
from fox_shard.users.user import Users

logging.getLogger("websockets").setLevel(logging.WARNING)

WALL = 1_800_000_000.0
"""Time of day, in seconds since 1970, at virtual time 0."""

UNITS = (TURN, TURN, 30)
"""What clients may cause in a turn: often as in real life, sometimes hardly anything."""

LOSING = 0.3
"""Seconds after which a connection loses no more batches."""

HANDING_OVER = 0.3
"""Share of the seeds of which all processes hand over their batches, as if they were one."""

KEYS, SETTINGS, AUTH, REALM_LIMITS = Keys(), GatewaySettings(), Auth(), RealmLimits()


@final
class World:
    """One simulated cluster, with its disks and its clients' connections.

    nodes: the running processes by name. names: of all configured processes. attached: of all
    gateways that were ever attached, in order. killed, pauses: per process, the times when it was
    killed or paused.
    """

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        seed: int,
        *,
        gateways: int = 2,
        shards: int = 2,
        max_delay: float = 0.02,
        queue_limit: int = 100,
        credit: int = 8 << 20,
        work_credit: int = 8000,
        realms: tuple[str, ...] = ("realm1", "realm2"),
        unstored: tuple[str, ...] = (),
        history: tuple[Rule, ...] = (),
        units: int | None = None,
        limits: Keys = KEYS,
        settings: GatewaySettings = SETTINGS,
        reducer: Reducers | None = None,
        reducers: tuple[BuiltIn, ...] = (),
        webhooks: tuple[Webhook, ...] = (),
        schemas: Mapping[str, str] | None = None,
        users: Users | None = None,
        roles: tuple[Role, ...] = (),
        auth: Auth = AUTH,
        user_keys: str = "",
        authenticator: str = "",
        realm_limits: RealmLimits = REALM_LIMITS,
    ) -> None:
        """Start all processes.

        max_delay: maximum seconds that a batch or a client's bytes are on their way. queue_limit,
        credit, work_credit: as in the configuration. unstored: realms with `store = "memory"`.
        history: the rules of all realms. units: see `Turns`; None: the seed decides. limits,
        settings: of keys and gateways. reducer: settings. reducers: the built-in ones of all
        realms, as webhooks. schemas: the configured ones, by realm; also for the coordinator's next
        starts. users: None: all clients are anonymous. roles: of all realms. auth: settings.
        user_keys: the pattern of the keys with users, of the first realm; "": none. realm_limits:
        of the first realm. authenticator: of the first realm; a procedure is one of the last realm,
        which is open to anonymous clients then.
        """
        self.seed = seed
        self.rng = Random(seed)
        self.timing = Timing(self.rng, max_delay)
        self.trace = Trace(seed, self.timing)
        # (process, event, fields) of the log's latest lines.
        self.logged: deque[tuple[str, str, dict[str, object]]] = deque(maxlen=1000)
        self._queue_limit = queue_limit
        self._limits, self._settings = limits, settings
        self._reducer = reducer or Reducers()
        # The budget of a shard's turn: as in production, or next to nothing.
        self._turn_units = Random(f"turn {seed}").choice((1, 20, TURN_UNITS))
        self._units = UNITS[seed % len(UNITS)] if units is None else units
        self.realms = [
            RealmSettings(
                name=name,
                store="memory" if name in unstored else "sqlite",
                history=history,
                reducer=reducers,
                webhook=webhooks,
                role=roles,
                users=user_keys if name == realms[0] else "",
                authenticator=authenticator if name == realms[0] else "",
                **(msgspec.structs.asdict(realm_limits) if name == realms[0] else {}),
                authenticator_realm=realms[-1] if ":" not in authenticator else "",
                anonymous=bool(authenticator) and name == realms[-1] != realms[0],
            )
            for name in realms
        ]
        self.schemas = dict(schemas or {})
        self.users = users
        self._auth = auth
        self.gateways = gateways
        # Python functions that gateways may consult, by `module:function`.
        self.functions: dict[str, Callable[..., object]] = {}
        # All nodes of the server, if it is one process.
        self._process: OneProcess | None = None
        self.is_one_process = is_one_process()
        if self.is_one_process:
            # Clients of any gateway are those of the only one.
            gateways = shards = 1
        self._real_gateways = gateways
        # Whether batches are handed over as in one process, or decoded as in a cluster.
        hands_over = Random(f"hand over {seed}").random() < HANDING_OVER or self.is_one_process
        self.terms = LinkSettings(
            shards=shards, credit=credit, work_credit=work_credit, hands_over=hands_over
        )
        self.nodes: dict[str, Node] = {}
        self._pipes: dict[tuple[str, str], Pipe] = {}
        self._due: dict[str, float] = {}
        self._turning: set[str] = set()
        self._wires: dict[str, list[Wire]] = {}
        # Disks outlive their processes.
        self.disks: dict[str, Disk] = {}
        self.killed: dict[str, list[float]] = {}
        self.pauses: dict[str, list[float]] = {}
        # What paused processes have to do when they go on; those of them that seem to be at work.
        self._paused: dict[str, list[Callable[[], None]]] = {}
        self._busy: set[str] = set()
        # Called with each process that starts from now on, before anything else happens to it.
        self.on_start: Callable[[Node], None] = lambda node: None
        # Called with the only process, when it has started, and at the end of each of its turns.
        self.on_process: Callable[[OneProcess], None] = lambda process: None
        self.on_turn: Callable[[], None] = lambda: None
        self.names = [f"gateway-{number}" for number in range(gateways)]
        self.names += [f"shard-{number}" for number in range(shards)]
        self.names.append("coordinator")
        self.attached: list[str] = []
        for name in self.names:
            self.start(name)

    # Time

    @property
    def now(self) -> float:
        """Virtual time in seconds."""
        return self.timing.now

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Schedule an action; see `Timing.at`."""
        self.timing.at(when, action)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        until = self.now + seconds
        while self.timing.is_due(until):
            self._step()
        self.timing.now = until

    def run_until(self, holds: Callable[[], bool], limit: float = 30.0) -> None:
        """Let time pass until `holds()`. Raises AssertionError after `limit` seconds."""
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

    # The trace

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.note(text)

    def check(self, holds: object, what: str, about: Collection[str] = ()) -> None:
        """Raise AssertionError with the trace unless `holds`. what, about: see `Trace.report`."""
        if not holds:
            raise AssertionError(self.report(what, about))

    def report(self, what: str, about: Collection[str] = (), lines: int = REPORT_LINES) -> str:
        """Return the description of a failure; see `Trace.report`."""
        return self.trace.report(what, about, lines)

    # Processes

    def start(self, name: str) -> None:
        """Start a process, for the first time or again; an attached gateway only once.

        If all nodes are one process, they start together.
        """
        if not self.is_one_process or is_attached(name):
            self._make(name)
        elif name not in self.nodes:
            for each in self.names:
                self._make(each)
            gateway = self.gateway(0)
            self._process = OneProcess(
                self.timing,
                [gateway, self.nodes["coordinator"], self.nodes["shard-0"]],
                self.disks,
                wall=lambda: WALL + self.now,
                after_turn=lambda: self._turned(gateway),
                send=self._send,
                failed=lambda what: self.check(False, what),  # noqa: FBT003 - it always raises
            )
            self.on_process(self._process)

    def _make(self, name: str) -> None:
        kind, _, number = name.partition("-")
        attached = is_attached(name)
        incarnation = self.rng.randrange(1, 1 << 52)
        rng = Random(self.rng.random())
        if kind == "gateway":
            gateway = self.nodes[name] = Gateway(
                number if attached else int(number),
                realms=self.realms,
                settings=self._settings,
                gateways=self._real_gateways,
                mqtt=Mqtt(),
                reducer=self._reducer,
                terms=self.terms.for_attached() if attached else self.terms,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
                wall=WALL + self.now,
                is_working=self._is_working,
                auth=self._auth,
                users=self.users,
            )
            gateway.turns.units = gateway.budget.units = self._units
        elif kind == "shard":
            disk = self._disk(name)
            self.nodes[name] = Shard(
                int(number),
                gateways=self._real_gateways,
                terms=self.terms,
                rpc=Rpc(queue_limit=self._queue_limit),
                limits=self._limits,
                reducer=self._reducer,
                max_message_size=self._settings.max_message_size,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
                wall=WALL + self.now,
                identity=disk.identity,
                rows=disk.scan(),
                realms=self.realms,
                is_working=self._is_working,
                running=self._running,
                has_ended=lambda name: name not in self.nodes,
                turn_units=self._turn_units,
            )
        else:
            disk = self._disk(name)
            self.nodes[name] = CoordinatorNode(
                terms=self.terms,
                gateways=self._real_gateways,
                incarnation=incarnation,
                rng=rng,
                now=self.now,
                realms=[realm.name for realm in self.realms],
                schemas=self.schemas,
                identity=disk.identity,
                stored=disk.scan(),
                is_working=self._is_working,
                running=self._running,
                has_ended=lambda name: name not in self.nodes,
            )
        self.note(f"{name} starts")
        node = self.nodes[name]
        self.on_start(node)
        if self.is_one_process and not attached:
            return
        if node.journal is not None:
            self._disk(name).open(lambda ticket, why: self._committed(node, ticket, why))
        self._arm(name)

    def attach(self) -> int:
        """Start a gateway beyond the configured ones; return its number, for `gateway`."""
        name = name_of(self.rng.getrandbits(48))
        self.attached.append(name)
        self.start(name)
        return self.gateways + len(self.attached) - 1

    def gateway_name(self, number: int) -> str:
        """Return the name of the gateway of that number, which is or was running."""
        others = number - self.gateways
        if self.is_one_process and others < 0:
            return self.names[0]
        return f"gateway-{number}" if others < 0 else self.attached[others]

    def _running(self) -> frozenset[str]:
        """Return the names of the attached gateways whose processes run: a `Running`."""
        return frozenset(name for name in self.attached if name in self.nodes)

    def _disk(self, name: str) -> Disk:
        disk = self.disks.get(name)
        if disk is None:
            disk = self.disks[name] = Disk(self.timing, name, self.note)
        return disk

    def _committed(self, node: Node, ticket: int, why: str) -> None:
        def tell() -> None:
            if node.journal is not None:
                node.journal.outcome(ticket, why, self.now)
                self.turn(node.name)

        self._when_awake(node.name, tell)

    def kill(self, name: str) -> None:
        """Kill a process, as SIGKILL does; all data on the way to or from it is lost."""
        if is_attached(name) or not self.is_one_process:
            self._kill(name)
        elif self._process is not None:
            self._process.loop.die()
            self._process = None
            for each in self.names:
                self._kill(each)

    def _kill(self, name: str) -> None:
        self.note(f"{name} is killed")
        self.killed.setdefault(name, []).append(self.now)
        del self.nodes[name]
        if self._paused.pop(name, None) is not None:
            self._turning.discard(name)
        self._busy.discard(name)
        if name in self.disks:
            self.disks[name].crash()
        self.cut(name)
        for wire in self._wires.pop(name, []):
            wire.died()

    def pause(self, name: str, seconds: float, *, busy: bool = False) -> None:
        """Let a process do nothing for so many seconds, as SIGSTOP and SIGCONT do.

        What comes for it waits. busy: the others know that it works, as in one very long turn.
        """
        if name not in self.nodes or name in self._paused:
            return
        if self._process is not None and not is_attached(name):
            self._process.loop.pause(seconds)
            for each in self.names:
                self._pause(each, seconds, busy=busy)
        else:
            self._pause(name, seconds, busy=busy)

    def _pause(self, name: str, seconds: float, *, busy: bool) -> None:
        self.note(f"{name} is paused for {seconds:.1f} s")
        self.pauses.setdefault(name, []).append(self.now)
        waiting = self._paused[name] = []
        if busy:
            self._busy.add(name)

        def go_on() -> None:
            if self._paused.get(name) is waiting:
                self.note(f"{name} goes on")
                del self._paused[name]
                self._busy.discard(name)
                for action in waiting:
                    action()

        self.at(self.now + seconds, go_on)

    def _when_awake(self, name: str, action: Callable[[], None]) -> None:
        """Perform the action now, or when the process is no longer paused; not if it dies first."""
        if name in self._paused:
            self._paused[name].append(action)
        else:
            action()

    def _is_working(self, name: str, incarnation: int, _now: float) -> bool:
        """Whether that incarnation (0: any) runs and is not stopped: an `IsWorking`."""
        node = self.nodes.get(name)
        stopped = name in self._paused and name not in self._busy
        return node is not None and incarnation in (0, node.incarnation) and not stopped

    def cut(self, name: str) -> None:
        """Break all connections of that process; the linked processes notice after a delay."""
        for source, target in list(self._pipes):
            if name in (source, target):
                self._pipes.pop((source, target)).cut = True
        for other, node in self.nodes.items():
            if other != name and name in self._peers(other):
                self.at(self.now + self.timing.delay(), lambda node=node: self._lost(node, name))  # type: ignore[misc]

    def sever(self, one: str, other: str, *, notify: bool) -> None:
        """Break the connection of two processes; all data on the way between them is lost.

        notify: both processes notice at once, as when sending fails. Otherwise they notice the hole
        in the sequence numbers, or the silence.
        """
        self.note(f"{one} and {other} are severed")
        for source, target in ((one, other), (other, one)):
            pipe = self._pipes.pop((source, target), None)
            if pipe is not None:
                pipe.cut = True
            if notify and source in self.nodes and target in self._peers(source):
                self._lost(self.nodes[source], target)

    def lose(self, source: str, target: str, batches: int) -> None:
        """Lose the next batches from `source` to `target`, for `LOSING` seconds at most."""
        self.note(f"{batches} batches {source}>{target} are lost")
        pipe = self._pipes.get((source, target))
        if pipe is not None:
            pipe.losing += batches
            pipe.losing_until = self.now + LOSING

    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of processes that have a link with each other."""
        names = [*sorted(self._running()), *self.names]
        pairs = [
            (one, other)
            for i, one in enumerate(names)
            for other in names[i + 1 :]
            if not one[:7] == other[:7] == "gateway"
        ]
        if self.is_one_process:
            return [pair for pair in pairs if is_attached(pair[0])]
        return pairs

    def _peers(self, name: str) -> set[str]:
        links = self.nodes[name].health()["links"]
        return set(links) if isinstance(links, dict) else set()

    def _lost(self, node: Node, peer: str) -> None:
        def tell() -> None:
            if self.nodes.get(node.name) is node:
                node.connection_lost(peer, self.now)
                self.turn(node.name)

        self._when_awake(node.name, tell)

    def gateway(self, number: int) -> Gateway:
        """Return the core of that gateway, which must be running."""
        node = self.nodes[self.gateway_name(number)]
        assert isinstance(node, Gateway)
        return node

    def shard(self, number: int) -> Shard:
        """Return the core of that shard, which must be running."""
        node = self.nodes[f"shard-{number}"]
        assert isinstance(node, Shard)
        return node

    @property
    def running_gateways(self) -> list[int]:
        """The numbers of the gateways that are running, attached ones too."""
        every = range(self.gateways + len(self.attached))
        return [number for number in every if self.gateway_name(number) in self.nodes]

    @property
    def gateway_cores(self) -> list[Gateway]:
        """The gateways that are running."""
        return [node for node in self.nodes.values() if isinstance(node, Gateway)]

    @property
    def shard_cores(self) -> list[Shard]:
        """The shards that are running."""
        return [node for node in self.nodes.values() if isinstance(node, Shard)]

    @property
    def linked(self) -> bool:
        """Whether every running process is healthy: all links are open, all replays finished."""
        return all(node.health()["status"] == "ok" for node in self.nodes.values())

    # Turns

    def turn(self, name: str) -> None:
        """Schedule the end of the process's turn, when `flush` is called; once per turn."""
        if self._process is not None and not is_attached(name):
            self._process.shell.schedule(name)
        elif name not in self._turning:
            self._turning.add(name)
            self.at(self.now + self.rng.random() * 0.0005, lambda: self._flush(name))

    def _flush(self, name: str) -> None:
        self._when_awake(name, lambda: self._end_turn(name))

    def _end_turn(self, name: str) -> None:
        self._turning.discard(name)
        node = self.nodes.get(name)
        if node is None:
            return
        if isinstance(node, Shard) and node.quiet:
            idle = not (node.scheduler.busy or node.tables.aggregates.has_due)
            self.check(idle, f"{name} has work that the end of its turn would not look at")
        for peer, data in node.flush(self.now):
            self._send(name, peer, data)
        write = None if node.journal is None else node.journal.take(self.now)
        if write is not None:
            self.disks[name].write(write)
        self._end_of_turn(node)
        if isinstance(node, Gateway):
            self._end_of_gateways_turn(node)
        self._arm(name)

    def _turned(self, gateway: Gateway) -> None:
        """End the turn of the only process."""
        for name in self.names:
            self._end_of_turn(self.nodes[name])
        self.on_turn()
        self._end_of_gateways_turn(gateway)

    def _end_of_turn(self, node: Node) -> None:
        self.logged += [(node.name, *notice) for notice in node.notices]
        node.notices.clear()
        node.forgotten.clear()

    def _end_of_gateways_turn(self, gateway: Gateway) -> None:
        self._check_passwords(gateway)
        self._call_functions(gateway)
        self._perform(gateway)

    def _check_passwords(self, gateway: Gateway) -> None:
        """Check the passwords that wait, as the threads beside an event loop do."""
        for job in gateway.authentication.hashing.due():

            def tell(job: Job = job) -> None:
                if self.nodes.get(gateway.name) is gateway:
                    gateway.now = self.now
                    gateway.authentication.hashing.finished(job, right=job.run())
                    self.turn(gateway.name)

            self.at(self.now + self.timing.delay(), partial(self._when_awake, gateway.name, tell))

    def _call_functions(self, gateway: Gateway) -> None:
        """Call the functions that are due, as the threads beside an event loop do."""
        calls = gateway.consultations.functions
        for call in calls.due():

            def tell(call: FunctionCall = call) -> None:
                if self.nodes.get(gateway.name) is gateway:
                    gateway.now = self.now
                    function = self.functions.get(call.name)
                    if function is None:
                        calls.finished(call, NoAdvice("no_callee", f"no function {call.name}"))
                    else:
                        calls.finished(call, Advice(function(*call.args, **call.kwargs)))
                    self.turn(gateway.name)

            self.at(self.now + self.timing.delay(), partial(self._when_awake, gateway.name, tell))

    def _send(self, source: str, target: str, data: bytes) -> None:
        pipe = self._pipes.get((source, target))
        if pipe is None:
            pipe = Pipe(self.timing, lambda data: self._arrived(target, data))
            self._pipes[source, target] = pipe
        pipe.send(data)

    def _arrived(self, name: str, data: bytes) -> None:
        self._when_awake(name, lambda: self._read(name, data))

    def _read(self, name: str, data: bytes) -> None:
        node = self.nodes.get(name)
        if node is None:
            return
        batch = batch_of(data)
        self.check(encode(batch) == data, f"a frame was changed on its way to {name}", (name,))
        self.trace.received(name, batch)
        node.receive(batch, len(data), self.now, WALL + self.now)
        self.turn(name)

    def _arm(self, name: str) -> None:
        due = max(self.nodes[name].deadline.at, self.now + 0.001)
        if not self.now < self._due.get(name, 0.0) <= due:
            self._due[name] = due
            self.at(due, lambda: self._tick(name, due))

    def _tick(self, name: str, due: float) -> None:
        self._when_awake(name, lambda: self._tick_now(name, due))

    def _tick_now(self, name: str, due: float) -> None:
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
        """Connect a client to a listener (`mqtt`, `rawsocket` or `websocket`) of that gateway.

        received: called with the gateway's bytes. closed: called when the gateway closes or dies.
        """
        name = self.gateway_name(gateway)
        when_awake = partial(self._when_awake, name)
        node = self.gateway(gateway)
        wire = Wire(self.timing, self.turn, node, when_awake, kind, received, closed)
        self._wires.setdefault(name, []).append(wire)
        return wire

    def _perform(self, gateway: Gateway) -> None:
        """Write to and close the clients' connections, as the shell does after a turn."""
        dirty = gateway.dirty
        for connection in dirty:
            wire = connection.transport
            if not isinstance(wire, Wire):
                self.check(not connection.out, "an application misses what came after its turn")
                continue
            if connection.out:
                wire.to_client(b"".join(connection.out))
                connection.out.clear()
            if connection.closing:
                wire.closed_by_gateway()
            elif not connection.paused:
                wire.resume()
        dirty.clear()
        turns = gateway.turns
        due = turns.begin(self.now)
        if due or turns.busy:
            gateway.now = self.now
            for connection in due:
                turns.go_on(connection, self.now)
            turns.do_chores()
            self.turn(gateway.name)
