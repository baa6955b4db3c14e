"""Scenarios of what must survive: retained keys, while processes die and disks fail.

Owns: what happens in each, and what must be true of the keys. Each takes a seed, and raises
AssertionError with the trace.
"""

from collections.abc import Sequence
from functools import partial
from random import Random

from fox_shard.testing.cast import Cast, Deed
from fox_shard.testing.faults import DOWN, a_fault, fail_disk, kill, kill_a_shard, recover
from fox_shard.testing.mqtt_participant import Mqtt
from fox_shard.testing.participant import Participant
from fox_shard.testing.pubsub_scenarios import publishing, write
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.records import Sent
from fox_shard.testing.wamp_participant import Wamp
from fox_shard.testing.world import World

UNAVAILABLE = "fox.error.unavailable_store"


def _world(seed: int) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 2, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        credit=rng.choice((2000, 8 << 20, 8 << 20)),
    )


def _begin(seed: int) -> tuple[Cast, list[Participant], list[list[Deed]]]:
    """Writers, each with keys of its own, some plain traffic, and subscribers to all of it."""
    cast = Cast(_world(seed))
    cast.smooth = False
    writers: list[Participant] = [cast.wamp(), cast.mqtt(), cast.wamp(), cast.mqtt()]
    others: list[Participant] = [cast.wamp(), cast.mqtt()]
    for gateway in range(cast.world.gateways):
        cast.wamp(gateway)
        cast.mqtt(gateway)
    cast.settle()
    for one in cast.people[len(writers) + len(others) :]:
        _subscribe_to_all(one)
    cast.settle()
    parts: list[list[Deed]] = []
    for number, one in enumerate(writers):
        topics = [f"key{number}.{name}" for name in "uvwxyz"]
        parts.append([partial(_write, cast, one, topics) for _ in range(30)])
    parts += [publishing(cast, one, 15) for one in others]
    return cast, writers, parts


def _write(cast: Cast, one: Participant, topics: list[str]) -> None:
    if one.here:
        write(cast, one, topics)


def _subscribe_to_all(one: Participant) -> None:
    if isinstance(one, Wamp):
        one.subscribe("", "prefix", replay=True)
    elif isinstance(one, Mqtt):
        one.subscribe("#", 1)


def keys_survive(seed: int) -> None:
    """Whatever is killed, cut or lost: what was acknowledged is there, and nothing older."""
    cast, writers, parts = _begin(seed)
    rng, world = cast.rng, cast.world
    faults: list[Deed] = [partial(a_fault, cast) for _ in range(rng.choice((1, 2, 4)))]
    faults += [partial(kill_a_shard, world, rng) for _ in range(rng.choice((0, 1, 2)))]
    cast.interleave([*parts, faults], rng.choice((0.001, 0.002, 0.01)))
    recover(world)
    cast.end()
    _check_keys(cast, writers)
    cast.leave()


def everything_dies(seed: int) -> None:
    """All processes at once, as when the machine fails: the keys are there when it is back."""
    cast, writers, parts = _begin(seed)
    world, rng = cast.world, cast.rng
    power_cut: list[Deed] = [partial(_cut_power, world, rng)]
    cast.interleave([*parts, power_cut], rng.choice((0.001, 0.01)))
    recover(world)
    cast.end()
    _check_keys(cast, writers)


def _cut_power(world: World, rng: Random) -> None:
    for name in rng.sample(world.names, len(world.names)):
        kill(world, name, rng)


def a_disk_fails(seed: int) -> None:
    """What needs the store is refused, all else goes on, and it is well when the disk is."""
    cast, writers, parts = _begin(seed)
    world, rng = cast.world, cast.rng
    shard = rng.choice([name for name in world.disks if name.startswith("shard")])
    deeds: list[Deed] = [partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0)))]
    if rng.random() < 0.3:
        deeds.append(partial(kill, world, rng.choice([n for n in world.names if n != shard]), rng))
    cast.interleave([*parts, deeds], rng.choice((0.001, 0.01)))
    world.run(3.0)
    recover(world)
    for one in writers:
        uris = {sent.refused for sent in one.sent if sent.refused}
        world.check(uris <= {UNAVAILABLE}, f"{one.name} was refused with {uris}")
    cast.end()
    _check_keys(cast, writers)
    cast.leave()


def a_disk_fails_and_its_shard_dies(seed: int) -> None:
    """What was acknowledged is there. What was refused may be applied if that was not heard."""
    cast, writers, parts = _begin(seed)
    world, rng = cast.world, cast.rng
    shard = rng.choice([name for name in world.disks if name.startswith("shard")])
    deeds: list[Deed] = [
        partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0))),
        partial(kill, world, shard, rng),
    ]
    cast.interleave([*parts, deeds], rng.choice((0.001, 0.01)))
    world.run(3.0)
    recover(world)
    _check_keys(cast, writers)


def a_machine_without_power(seed: int) -> None:
    """Power fails again while everything starts: nothing that is on the disk gets lost by that."""
    cast, writers, parts = _begin(seed)
    world, rng = cast.world, cast.rng
    cast.interleave(parts, 0.002)
    cast.end()
    for _ in range(rng.choice((1, 3))):
        _cut_power(world, rng)
        world.run(rng.choice((0.02, 0.5, *DOWN)))
    recover(world)
    cast.end()
    _check_keys(cast, writers)


def _check_keys(cast: Cast, writers: Sequence[Participant]) -> None:
    """Fresh subscribers, WAMP and MQTT, at all gateways, are shown the same, right keys."""
    world = cast.world
    for gateway in range(world.gateways):
        for fresh in (cast.wamp(gateway), cast.mqtt(gateway)):
            world.run_until(lambda one=fresh: one.ready)  # type: ignore[misc]
            _subscribe_to_all(fresh)
            world.run(0.5)
            shown = {got.topic: got.number for got in fresh.got if got.retained}
            for writer in writers:
                for topic in sorted({sent.topic for sent in writer.sent}):
                    history = [sent for sent in writer.sent if sent.topic == topic]
                    _check_key(world, fresh, writer, shown.get(topic), history)
    become_quiet(world)


def _check_key(
    world: World, fresh: Participant, writer: Participant, shown: int | None, history: list[Sent]
) -> None:
    """The last that was acknowledged, or something later that was not.

    A writer that is still there has had everything acknowledged or refused, or sent it by a live
    gateway; what was neither acknowledged nor refused may be missing if the store was failing.
    """
    last = max(
        (i for i, sent in enumerate(history) if sent.answers and not sent.refused), default=-1
    )
    possible = [None if sent.empty else sent.number for sent in history[max(last, 0) :]]
    if last < 0:
        possible.append(None)
    written = [(sent.number, sent.empty, bool(sent.answers), sent.refused) for sent in history]
    what = f"{fresh.name} was shown {shown} of {history[0].topic}; written: {written}"
    world.check(
        shown in possible, what, (f'["{writer.name}",', " starts", "killed", "disk", "fails")
    )
