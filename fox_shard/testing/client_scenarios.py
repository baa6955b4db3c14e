"""Scenarios of programs with the client for asyncio, whose connections, gateways and shards die.

Owns: what happens in each, and what must be true of what programs publish, follow, watch and call.
Each takes a seed, and raises AssertionError with the trace.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, Final, TypeAlias, final

from fox_shard.client.event import Event
from fox_shard.client.failures import ConnectionLost, Refused
from fox_shard.config import History as Rule
from fox_shard.testing.application import Application
from fox_shard.testing.faults import random_fault, relink
from fox_shard.testing.history_scenarios import Reader
from fox_shard.testing.programs import PATIENCE, Program
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

STORE: Final = "fox.error.unavailable_store"
UNAVAILABLE: Final = "wamp.error.unavailable"

RULES: Final = (Rule(topic="ruled.#"),)

STANDSTILLS: Final = (0.5, 2.0, 6.0, 12.0)
"""Possible seconds of a pause: below the patience of clients and links, and beyond both."""

SETTLING: Final = 20.0
"""Seconds after which all programs are back, whatever their back-off was."""


Host: TypeAlias = Program | Application
"""In which process something runs."""


def client_world(seed: int, **more: Any) -> World:  # noqa: ANN401 - arguments of World
    """Return a world of a few processes."""
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 3)),
        max_delay=rng.choice((0.005, 0.02)),
        **more,
    )


def faults_for(run: Run, programs: Sequence[Program], *, pauses: bool = True) -> list[Action]:
    """Return what happens to processes, to programs and to the connections between these.

    pauses: processes may stand still, and connections fall silent, without anybody being told.
    """
    rng, world = run.rng, run.world
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((0, 0, 1, 3)))]
    for program in programs:
        for _ in range(rng.choice((0, 0, 1, 2))):
            if not pauses or rng.random() < 0.5:
                faults.append(program.drop)
            elif rng.random() < 0.5:
                faults.append(partial(program.isolate, rng.random() * 2 * PATIENCE))
            else:
                faults.append(partial(program.pause, rng.choice(STANDSTILLS)))
    if pauses and rng.random() < 0.3:
        faults.append(partial(world.pause, rng.choice(world.names), rng.choice(STANDSTILLS)))
    rng.shuffle(faults)
    return faults


def join(run: Run, programs: Sequence[Program]) -> None:
    """Let all programs join; a program whose first connection fails would end."""
    for program in programs:
        program.run(program.realm.start())
    run.world.run_until(lambda: all(one.realm.session for one in programs))


def settle(run: Run, programs: Sequence[Program]) -> None:
    """Let all processes link, and all programs come back and end what they do."""
    world = run.world
    world.run(max(STANDSTILLS))
    relink(world)
    world.run(SETTLING)
    away = [one.name for one in programs if not one.realm.session]
    world.check(not away, f"{away} are not back")


def end(run: Run, programs: Sequence[Program]) -> None:
    """End the programs, and check that no process keeps anything that hangs."""
    for program in programs:
        program.end()
    become_quiet(run.world)


# Publishing, following, watching


@final
class Talker:
    """A program that publishes 1, 2, 3, … on topics that are recorded, and on others.

    answers: publication id by number. keys: those of retained publishes.
    """

    def __init__(self, program: Host) -> None:
        self.program = program
        self.sent: dict[int, str] = {}
        self.answers: dict[int, int] = {}
        self.recorded: set[int] = set()

    def publish(self) -> None:
        """Begin to publish the next number, on one of a few topics."""
        rng, number = self.program.rng, len(self.sent) + 1
        kind = rng.choice(("ruled", "traced", "plain", "plain"))
        self.sent[number] = topic = f"{kind}.{self.program.name}.{rng.choice('xy')}"
        self.program.run(self._publish(number, kind, topic))

    async def _publish(self, number: int, kind: str, topic: str) -> None:
        program, rng = self.program, self.program.rng
        # One program may follow in the same session.
        options: dict[str, Any] = {"exclude_me": False}
        if kind == "traced":
            options["trace"] = True
        if rng.random() < 0.3:
            options["retain"] = True
        acknowledge = rng.random() < 0.7
        args = [program.name, number]
        try:
            id_ = await program.realm.publish(topic, args, acknowledge=acknowledge, **options)
        except ConnectionLost:
            return  # It may have happened or not.
        except Refused as refused:
            program.world.check(refused.uri == STORE, f"{program.name} got {refused}")
            return
        if id_ is not None:
            self.answers[number] = id_
            if kind != "plain":
                self.recorded.add(number)


@final
class Follower:
    """A program that follows everything from the beginning of the history."""

    def __init__(self, program: Host) -> None:
        self.program = program
        self.seen: list[int] = []
        program.run(self._follow())

    async def _follow(self) -> None:
        async for event in self.program.realm.events("#", after=0):
            self.seen.append(event.publication)
            if self.program.rng.random() < 0.2:
                await asyncio.sleep(self.program.rng.random() * 0.05)


@final
class Watcher:
    """A program that keeps a copy of all keys. known: publication id and value by topic."""

    def __init__(self, program: Host) -> None:
        self.program = program
        self.known: dict[str, tuple[int, Any]] = {}
        program.run(self._watch())

    async def _watch(self) -> None:
        async for event in self.program.realm.watch("#"):
            self._note(event)

    def _note(self, event: Event) -> None:
        before = self.known.get(event.topic, (0, None))[0]
        world = self.program.world
        back = f"{self.program.name} saw {event.publication} of {event.topic} behind {before}"
        world.check(event.publication >= before, back, (event.topic,))
        if event.removed:
            self.known.pop(event.topic, None)
        else:
            self.known[event.topic] = (event.publication, event.value)


def programs_publish_and_follow(seed: int) -> None:
    """No acknowledged publish is lost, and who follows or watches misses nothing."""
    run = Run(client_world(seed, history=RULES))
    world, rng = run.world, run.rng
    programs = [Program(world, name) for name in ("t0", "t1", "t2", "f0", "f1", "k0", "k1")]
    talkers = [Talker(program) for program in programs[:3]]
    followers = [Follower(program) for program in programs[3:5]]
    watchers = [Watcher(program) for program in programs[5:]]
    join(run, programs)
    parts: list[list[Action]] = [[one.publish for _ in range(20)] for one in talkers]
    run.interleave([*parts, faults_for(run, programs)], rng.choice((0.004, 0.05, 0.4)))
    settle(run, programs)
    stuck = [one.program.name for one in talkers if one.program.running]
    world.check(not stuck, f"publishes of {stuck} have no end")
    history = read_history(world)
    for talker in talkers:
        check_talker(talker, history)
    for follower in followers:
        check_follower(follower, history)
    check_watchers(world, watchers)
    end(run, programs)


def read_history(world: World) -> dict[int, tuple[str, str, int]]:
    reader = Reader(world, 0)
    reader.stopped = True  # after the first reading
    world.run_until(lambda: bool(reader.readings))
    reader.client.drop()
    return {id_: reader.seen[id_] for id_ in reader.whole or []}


def check_talker(one: Talker, history: dict[int, tuple[str, str, int]]) -> None:
    name, world = one.program.name, one.program.world
    for number in one.recorded:
        found = history.get(one.answers[number])
        right = found == (one.sent[number], name, number)
        world.check(right, f"{name}'s {number} was acknowledged, but there is {found}", (name,))
    times = Counter(number for _, who, number in history.values() if who == name)
    twice = {number for number, count in times.items() if count > 1}
    world.check(not twice, f"{name}'s {twice} are recorded twice", (name,))


def check_follower(one: Follower, history: dict[int, tuple[str, str, int]]) -> None:
    name, world = one.program.name, one.program.world
    seen = [id_ for id_ in one.seen if id_ in history]
    about = (name, "killed", *(f"id={id_}" for id_ in set(history) - set(seen)))
    missing = sorted(set(history) - set(seen))
    world.check(not missing, f"{name} has not seen {missing}", about)
    again = {id_ for id_, times in Counter(one.seen).items() if times > 1}
    world.check(not again, f"{name} has seen {again} twice")
    for topic in {topic for topic, _, _ in history.values()}:
        order = [id_ for id_ in seen if history[id_][0] == topic]
        world.check(all(a < b for a, b in pairwise(order)), f"{name} saw {topic} as {order}")


def check_watchers(world: World, watchers: list[Watcher]) -> None:
    there: dict[str, tuple[int, Any]] = {}
    reader = Program(world, "reader")

    async def read() -> None:
        async for key in reader.realm.keys("#"):
            there[key.topic] = (key.publication, key.value)

    reader.run(read())
    world.run_until(lambda: not reader.running)
    reader.end()
    for one in watchers:
        knows = f"{one.program.name} knows {one.known}, but there is {there}"
        world.check(one.known == there, knows, (one.program.name, "killed"))


# Calls

EXPECTED: Final = frozenset(
    {
        "wamp.error.no_such_procedure",
        "wamp.error.canceled",
        "wamp.error.timeout",
        UNAVAILABLE,
        "wamp.error.no_available_callee",
        "wamp.error.callee_lost",
    }
)
"""What may become of a call whose callee, or its gateway or shard, has died."""


TIMEOUTS: Final = (0, 0, 0, 50, 5000)
"""Milliseconds; 0: none."""


@final
class Server:
    """A program with a procedure of its own, and with a part in one of all."""

    def __init__(self, program: Host) -> None:
        self.program = program
        # How often each call has been carried out.
        self.done: Counter[tuple[str, int]] = Counter()
        program.run(self._register())

    async def _register(self) -> None:
        await self._register_one(f"own.{self.program.name}")
        await self._register_one("shared", invoke="roundrobin")

    async def _register_one(self, procedure: str, **options: Any) -> None:  # noqa: ANN401
        """Register, and try again while that is refused because a shard is down."""
        while True:
            try:
                await self.program.realm.register(procedure, self._serve, **options)
            except Refused as refused:
                self.program.world.check(refused.uri == UNAVAILABLE, f"register: {refused}")
                await asyncio.sleep(0.2)
            else:
                return

    async def _serve(self, caller: str, number: int) -> list[Any]:
        self.done[caller, number] += 1
        if self.program.rng.random() < 0.5:
            await asyncio.sleep(self.program.rng.random() * 0.1)
        return [caller, number, self.program.name]


@final
class Caller:
    """A program that calls. ended: results or failures by number."""

    def __init__(self, program: Host) -> None:
        self.program = program
        self.called: dict[int, str] = {}
        self.ended: dict[int, object] = {}

    def call(self, procedure: str, timeouts: Sequence[int] = TIMEOUTS) -> None:
        """Begin a call, with one of the timeouts."""
        number = len(self.called) + 1
        self.called[number] = procedure
        options = {"timeout": self.program.rng.choice(timeouts)}
        self.program.run(self._call(number, procedure, options))

    async def _call(self, number: int, procedure: str, options: dict[str, Any]) -> None:
        name = self.program.name
        try:
            result = await self.program.realm.call(procedure, [name, number], **options)
        except (ConnectionLost, Refused) as error:
            expected = isinstance(error, ConnectionLost) or error.uri in EXPECTED
            self.program.world.check(expected, f"{name}'s {number} got {error!r}", (name,))
            self.ended[number] = error
        else:
            self.ended[number] = result.value


def programs_call(seed: int) -> None:
    """Each call ends, with one answer, and procedures come back."""
    run = Run(client_world(seed))
    world, rng = run.world, run.rng
    programs = [Program(world, name) for name in ("s0", "s1", "s2", "c0", "c1")]
    servers = [Server(program) for program in programs[:3]]
    callers = [Caller(program) for program in programs[3:]]
    procedures = ["shared", *(f"own.{one.program.name}" for one in servers)]
    join(run, programs)
    parts: list[list[Action]] = [
        [partial(one.call, rng.choice(procedures)) for _ in range(25)] for one in callers
    ]
    run.interleave([*parts, faults_for(run, programs)], rng.choice((0.004, 0.05, 0.4)))
    settle(run, programs)
    for caller in callers:
        check_calls(caller, servers)
    check_procedures(callers[0], procedures)
    end(run, programs)


def check_procedures(caller: Caller, procedures: list[str]) -> None:
    """Call each procedure once more, and check that its program answers."""
    world = caller.program.world
    since = len(caller.called)
    for procedure in procedures:
        caller.call(procedure, [0])
    latest = set(range(since + 1, len(caller.called) + 1))
    world.run_until(lambda: latest <= set(caller.ended), 10)
    for number, procedure in enumerate(procedures, since + 1):
        ended, name = caller.ended[number], procedure.removeprefix("own.")
        well = isinstance(ended, list) and (procedure == "shared" or ended[2] == name)
        world.check(well, f"{procedure} answers {ended!r}", (procedure,))


def check_calls(caller: Caller, servers: list[Server]) -> None:
    name, world = caller.program.name, caller.program.world
    left = set(caller.called) - set(caller.ended)
    world.check(not left, f"{name}'s {left} have no end", (name,))
    for number, procedure in caller.called.items():
        ended = caller.ended[number]
        times = sum(server.done[name, number] for server in servers)
        if isinstance(ended, list):
            who = [one for one in servers if one.program.name == ended[2]]
            done = any(one.done[name, number] for one in who)
            right = ended[:2] == [name, number] and done
            world.check(right, f"{name}'s {number} at {procedure} got {ended}", (name,))
        most = 1 if procedure != "shared" else len(servers)
        world.check(times <= most, f"{name}'s {number} was carried out {times} times", (name,))
