"""Scenarios of reducers, while processes die, connections break and disks fail.

Owns: what happens in each, and what must be true of the reduced keys. Each takes a seed, and raises
AssertionError with the trace.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

from fox_shard.config import Reducer, Reducers
from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import (
    fail_disk,
    kill,
    kill_a_shard,
    lose,
    random_fault,
    relink,
    sever,
)
from fox_shard.testing.publishers import publishing
from fox_shard.testing.quiet import become_quiet, reducers_are_idle
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.records import PublicationRecord
from fox_shard.testing.reducing_client import SKIPPED, ReducingClient
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

TOPICS = tuple(f"fold.{name}" for name in "uvwxyz")
EVENT = 36
TIMEOUT = 2.0
QUEUE_FULL = "fox.error.queue_full"
UNAVAILABLE = "fox.error.unavailable_store"


def _world(seed: int, queue_limit: int = 1000, reducers: tuple[Reducer, ...] = ()) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 2, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        reducer=Reducers(
            queue_limit=queue_limit,
            timeout=TIMEOUT,
            wait_for_return=20.0,
            concurrency=rng.choice((1, 3, 100)),
        ),
        reducers=reducers,
    )


class _Fold:
    """A run with publishers of numbered events and instances of one reducer."""

    def __init__(
        self,
        seed: int,
        *,
        queue_limit: int = 1000,
        hangs: float = 0.0,
        durable: str = "",
        mission: str = "",
        built_in: bool = False,
    ) -> None:
        """built_in: the shards fold; nothing is skipped, and there are no instances."""
        self._mission = mission
        # Whether refused events may be folded all the same: a shard that dies with a failing disk
        # forgets that it has refused them, and their gateways send them again.
        self.forgets_refusals = False
        self._skipped = 0 if built_in else SKIPPED
        append = Reducer(pattern="fold.#", function="append", limit=10_000, destination=mission)
        self.run = Run(_world(seed, queue_limit, (append,) if built_in else ()))
        self.run.smooth = False
        rng = self.run.rng
        self.publishers: list[RecordingClient] = [
            self.run.wamp(),
            self.run.mqtt(),
            self.run.wamp(),
            self.run.mqtt(),
        ]
        for gateway in range(self.run.world.gateways):
            listener = self.run.wamp(gateway)
            self.run.settle()
            listener.subscribe("fold.#")
        names = {"durable": durable, "mission": mission}
        options: dict[str, Any] = {name: value for name, value in names.items() if value}
        # Values of the keys, as state streams show them.
        self._streams: list[tuple[WampClient, dict[str, Any]]] = []
        for gateway in range(self.run.world.gateways):
            self._watch(gateway)
        concurrency = rng.choice((0, 0, 1, 2))
        if concurrency:
            options["concurrency"] = concurrency
        self.instances = [
            ReducingClient(
                self.run.world,
                f"r{number}",
                "fold.#",
                {"invoke": "roundrobin", **options},
                delay=rng.choice((0.0, 0.01, 0.1)),
                hangs=hangs,
            )
            for number in range(0 if built_in else rng.choice((1, 2, 3)))
        ]
        self.run.settle()
        self.run.world.run_until(lambda: all(one.registered for one in self.instances))

    def _watch(self, gateway: int) -> None:
        pattern, shown = self._mission or "fold.#", dict[str, Any]()

        def note(message: list[Any]) -> None:
            if message[0] == EVENT:
                shown[message[3].get("topic", pattern)] = message[4][0]

        client = WampClient(self.run.world, gateway, on_message=note)
        self.run.world.run_until(lambda: client.session > 0)
        client.subscribe(pattern, retained=True)
        self._streams.append((client, shown))

    def publishing(self, times: int) -> list[list[Action]]:
        """Return the actions of all publishers."""
        return publishing(self.publishers, TOPICS, times, self.run.rng)

    def drops(self) -> list[Action]:
        """Return actions in which instances lose their connections."""
        rng = self.run.rng
        return [partial(rng.choice(self.instances).drop) for _ in range(rng.choice((0, 1, 3)))]

    def finish(self) -> None:
        """Wait until all is folded, and check the keys."""
        world = self.run.world
        relink(world)
        world.run_until(lambda: all(one.registered for one in self.instances))
        world.run_until(lambda: reducers_are_idle(world), 200)
        become_quiet(world)
        self._check()
        for one in self.instances:
            one.leave()
        become_quiet(world)
        self.run.leave()

    # Checks

    def _check(self) -> None:
        keys = self._keys()
        for publisher in self.publishers:
            for topic in TOPICS:
                sent = [one for one in publisher.sent if one.topic == topic]
                folded = keys.get(self._mission or topic, [])
                if self._mission:
                    # Events of one session on topics of several shards may come in any order.
                    here = {one.number for one in sent}
                    folded = [one for one in folded if one[1] in here or one[0] != publisher.name]
                if self.forgets_refusals:
                    again = {number for name, number in folded if name == publisher.name}
                    sent = [one for one in sent if not (one.refused and one.number in again)]
                    here = {one.number for one in sent}
                    folded = [one for one in folded if one[0] != publisher.name or one[1] in here]
                _check_folded(self.run.world, publisher.name, sent, folded, self._skipped)
        for client, shown in self._streams:
            what = f"a state stream has shown {shown}, and the keys are {keys}"
            self.run.world.check(client.closed or shown == keys, what, ("starts", "killed"))
            client.drop()
        _check_shown(self.run.world, [one for client in self.instances for one in client.shown])

    def _keys(self) -> dict[str, list[list[Any]]]:
        world = self.run.world
        reader = WampClient(world, world.rng.choice(world.running_gateways))
        world.run_until(lambda: reader.session > 0)
        reader.subscribe(self._mission or "fold.#", get_retained=True)
        world.run(0.5)
        mission = self._mission
        shown = {message[3].get("topic", mission): message[4][0] for message in reader.of(EVENT)}
        reader.leave()
        world.run(0.5)
        return shown


def _check_folded(
    world: World,
    name: str,
    sent: Sequence[PublicationRecord],
    folded: Sequence[list[Any]],
    skipped: int,
) -> None:
    """Check that the key has the publisher's events in order: all that are due, each once.

    skipped: numbers divisible by this are not folded; 0: all are.
    """
    numbers = [number for publisher, number in folded if publisher == name]
    about = (f'["{name}",', "starts", "killed", "disk", "severed")
    what = f"of {name} {numbers} were folded"
    world.check(numbers == sorted(set(numbers)), f"{what}: not each once, in order", about)
    never = {one.number for one in sent if one.refused or (skipped and not one.number % skipped)}
    due = {one.number for one in sent if one.answers} - never
    missing = due - set(numbers)
    world.check(not missing, f"{what}: {sorted(missing)} were acknowledged and are missing", about)
    world.check(not never & set(numbers), f"{what}: {never & set(numbers)} must not be", about)
    stray = set(numbers) - {one.number for one in sent}
    world.check(not stray, f"{what}: {stray} were published elsewhere", about)


def _check_shown(world: World, shown: Sequence[Any]) -> None:
    """Check that an event is always shown with the same value of its key."""
    values: dict[int, list[Any]] = defaultdict(list)
    for one in sorted(shown, key=lambda one: one.at):
        values[one.publication].append(one)
    for publication, times in values.items():
        different = [one for one in times if one.retained != times[0].retained]
        what = f"{publication} was shown with {times[0].retained} and with {different}"
        world.check(not different, what, (str(publication), "starts", "killed", "disk"))


# Scenarios


def reducers_fold(seed: int) -> None:
    """Reduced keys are the folds of their events, whatever is killed, cut or lost."""
    fold = _Fold(seed, durable="totals")
    run = fold.run
    faults: list[Action] = [partial(random_fault, run) for _ in range(run.rng.choice((1, 2, 4)))]
    faults += [partial(kill_a_shard, run.world, run.rng) for _ in range(run.rng.choice((0, 1, 2)))]
    run.interleave([*fold.publishing(30), faults, fold.drops()], run.rng.choice((0.001, 0.01)))
    fold.finish()


def reducers_without_a_name(seed: int) -> None:
    """Reducers that are not durable miss nothing either, as long as they are there."""
    fold = _Fold(seed)
    run = fold.run
    rng, world = run.rng, run.world
    faults: list[Action] = [partial(kill_a_shard, world, rng) for _ in range(rng.choice((0, 1, 2)))]
    faults += [partial(rng.choice((sever, lose)), world, rng) for _ in range(rng.choice((0, 8)))]
    run.interleave([*fold.publishing(30), faults], rng.choice((0.001, 0.01)))
    fold.finish()


def reducers_that_hang(seed: int) -> None:
    """Events that are not answered are asked about again, and hold up their topics only."""
    fold = _Fold(seed, durable="totals", hangs=0.05)
    run = fold.run
    run.interleave([*fold.publishing(15), fold.drops()], run.rng.choice((0.001, 0.01)))
    fold.finish()


def reducers_on_a_failing_disk(seed: int) -> None:
    """Events that could not be stored are refused and not folded, and no fold is lost."""
    fold = _Fold(seed, durable="totals")
    run = fold.run
    world, rng = run.world, run.rng
    shard = rng.choice([name for name in world.disks if name.startswith("shard")])
    faults: list[Action] = [
        partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0)))
        for _ in range(rng.choice((1, 2)))
    ]
    others = [name for name in world.names if name != shard]
    faults += [partial(kill, world, rng.choice(others), rng) for _ in range(rng.choice((0, 1)))]
    run.interleave([*fold.publishing(30), faults, fold.drops()], rng.choice((0.001, 0.01)))
    world.run(3.0)
    _check_refusals(fold, {UNAVAILABLE})
    fold.finish()


def reducers_with_full_queues(seed: int) -> None:
    """A full queue refuses events, and what is refused is not folded."""
    fold = _Fold(seed, durable="totals", queue_limit=5)
    run = fold.run
    faults: list[Action] = [partial(kill_a_shard, run.world, run.rng)]
    run.interleave([*fold.publishing(30), faults], 0.001)
    _check_refusals(fold, {QUEUE_FULL})
    fold.finish()


def reducers_with_a_mission(seed: int) -> None:
    """All events of all topics are folded into one key, across the shards."""
    fold = _Fold(seed, durable="totals", mission="sum.of.all", queue_limit=1000)
    run = fold.run
    faults: list[Action] = [partial(random_fault, run) for _ in range(run.rng.choice((1, 2, 4)))]
    faults += [partial(kill_a_shard, run.world, run.rng) for _ in range(run.rng.choice((0, 1, 2)))]
    run.interleave([*fold.publishing(15), faults, fold.drops()], run.rng.choice((0.001, 0.01)))
    fold.finish()


def built_in_reducers(seed: int) -> None:
    """What the shards fold themselves is complete and in order, too."""
    mission = Random(f"mission {seed}").choice(("", "sum.of.all"))
    fold = _Fold(seed, mission=mission, built_in=True)
    run = fold.run
    world, rng = run.world, run.rng
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((1, 2, 4)))]
    faults += [partial(kill_a_shard, world, rng) for _ in range(rng.choice((0, 1, 2)))]
    if rng.random() < 0.5:
        shard = rng.choice([name for name in world.disks if name.startswith("shard")])
        faults = [partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0)))]
    run.interleave([*fold.publishing(30), faults], rng.choice((0.001, 0.01)))
    world.run(3.0)
    fold.finish()


def a_mission_on_a_failing_disk(seed: int) -> None:
    """What is refused is not folded into another shard's key, and no fold is lost."""
    limit = Random(f"limit {seed}").choice((5, 1000))
    fold = _Fold(seed, durable="totals", mission="sum.of.all", queue_limit=limit)
    run = fold.run
    world, rng = run.world, run.rng
    faults: list[Action] = [
        partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0)))
        for shard in world.disks
        if shard.startswith("shard") and rng.random() < 0.6
    ]
    if rng.random() < 1 / 3:
        fold.forgets_refusals = True
        faults.append(partial(kill_a_shard, world, rng))
    run.interleave([*fold.publishing(15), faults], rng.choice((0.001, 0.01)))
    world.run(3.0)
    fold.finish()


def _check_refusals(fold: _Fold, expected: set[str]) -> None:
    for one in fold.publishers:
        uris = {sent.refused for sent in one.sent if sent.refused}
        fold.run.world.check(uris <= expected, f"{one.name} was refused with {uris}")
