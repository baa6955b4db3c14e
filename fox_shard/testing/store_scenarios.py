"""Scenarios of durable keys, while processes die and disks fail.

Owns: what happens in each, and what must be true of the keys. Each takes a seed, and raises
AssertionError with the trace.
"""

from collections.abc import Sequence
from functools import partial
from random import Random

from fox_shard.testing.faults import DOWN, fail_disk, kill, kill_a_shard, random_fault, recover
from fox_shard.testing.pubsub_scenarios import publishing, write
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.records import PublicationRecord
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

UNAVAILABLE = "fox.error.unavailable_store"

HESITATES = (0.1, 1.0, 4.0, 6.0)
"""Possible seconds for which a process stands still soon after its start."""


def _world(seed: int) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 2, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        credit=rng.choice((2000, 8 << 20, 8 << 20)),
    )


def _begin(seed: int) -> tuple[Run, list[RecordingClient], list[list[Action]]]:
    """Return a run, the writers of keys, and the actions of all publishers.

    Each writer has keys of its own. Other publishers publish plain events, and subscribers at each
    gateway get everything.
    """
    run = Run(_world(seed))
    run.smooth = False
    writers: list[RecordingClient] = [run.wamp(), run.mqtt(), run.wamp(), run.mqtt()]
    others: list[RecordingClient] = [run.wamp(), run.mqtt()]
    for gateway in range(run.world.gateways):
        run.wamp(gateway)
        run.mqtt(gateway)
    run.settle()
    for one in run.clients[len(writers) + len(others) :]:
        _subscribe_to_all(one)
    run.settle()
    parts: list[list[Action]] = []
    for number, one in enumerate(writers):
        topics = [f"key{number}.{name}" for name in "uvwxyz"]
        parts.append([partial(_write, run, one, topics) for _ in range(30)])
    parts += [publishing(run, one, 15) for one in others]
    return run, writers, parts


def _write(run: Run, one: RecordingClient, topics: list[str]) -> None:
    if one.connected:
        write(run, one, topics)


def _subscribe_to_all(one: RecordingClient) -> None:
    if isinstance(one, RecordingWampClient):
        one.subscribe("", "prefix", replay=True)
    elif isinstance(one, RecordingMqttClient):
        one.subscribe("#", 1)


def keys_survive(seed: int) -> None:
    """Keys have the last acknowledged value or a later one, whatever is killed, cut or lost."""
    run, writers, parts = _begin(seed)
    rng, world = run.rng, run.world
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((1, 2, 4)))]
    faults += [partial(kill_a_shard, world, rng) for _ in range(rng.choice((0, 1, 2)))]
    run.interleave([*parts, faults], rng.choice((0.001, 0.002, 0.01)))
    recover(world)
    run.end()
    _check_keys(run, writers)
    run.leave()


def everything_dies(seed: int) -> None:
    """Keys survive if all processes are killed at once, as when the machine fails."""
    run, writers, parts = _begin(seed)
    world, rng = run.world, run.rng
    power_cut: list[Action] = [partial(_cut_power, world, rng)]
    run.interleave([*parts, power_cut], rng.choice((0.001, 0.01)))
    recover(world)
    run.end()
    _check_keys(run, writers)


def everything_returns(seed: int) -> None:
    """Whoever publishes while all processes start again, in any order, gets every answer."""
    run, writers, parts = _begin(seed)
    world, rng = run.world, run.rng
    longest = rng.choice((0.02, 0.5, 2.0, 7.0))
    run.interleave(
        [*parts, [partial(_restart_all, world, rng, longest)]], rng.choice((0.001, 0.01))
    )
    newcomers: list[RecordingClient] = []
    for _ in range(8):
        world.at(world.now + rng.random() * (longest + 1.0), partial(_come, run, newcomers))
    if rng.random() < 0.3:
        world.at(world.now + rng.random() * (longest + 1.0), partial(random_fault, run))
    world.run(longest + max(HESITATES) + 1.0)
    recover(world)
    run.end()
    _check_keys(run, [*writers, *newcomers])
    run.leave()


def _restart_all(world: World, rng: Random, longest: float) -> None:
    """Kill all processes at once; they start at different times, and some then stand still."""
    for name in world.names:
        world.kill(name)
        back = world.now + rng.random() * longest
        world.at(back, partial(world.start, name))
        if rng.random() < 0.3:
            pause = partial(world.pause, name, rng.choice(HESITATES), busy=rng.random() < 0.3)
            world.at(back + rng.random() * 0.2, pause)


def _come(run: Run, newcomers: list[RecordingClient]) -> None:
    """Add a writer of keys at a gateway that runs, if one does, which begins at once."""
    world, rng = run.world, run.rng
    if not world.running_gateways:
        return
    make = rng.choice((run.wamp, run.mqtt))
    one: RecordingClient = make(rng.choice(world.running_gateways))
    topics = [f"new{len(newcomers)}.{name}" for name in "uvwxyz"]
    newcomers.append(one)
    for _ in range(30):
        world.at(world.now + rng.random() * 2.0, partial(_write_if_ready, run, one, topics))


def _write_if_ready(run: Run, one: RecordingClient, topics: list[str]) -> None:
    if one.ready:
        _write(run, one, topics)


def _cut_power(world: World, rng: Random) -> None:
    for name in rng.sample(world.names, len(world.names)):
        kill(world, name, rng)


def a_disk_fails(seed: int) -> None:
    """Publishes that need a failing disk are refused, and everything else goes on."""
    run, writers, parts = _begin(seed)
    world, rng = run.world, run.rng
    shard = rng.choice([name for name in world.disks if name.startswith("shard")])
    actions: list[Action] = [partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0)))]
    if rng.random() < 0.3:
        actions.append(
            partial(kill, world, rng.choice([n for n in world.names if n != shard]), rng)
        )
    run.interleave([*parts, actions], rng.choice((0.001, 0.01)))
    world.run(3.0)
    recover(world)
    for one in writers:
        uris = {sent.refused for sent in one.sent if sent.refused}
        world.check(uris <= {UNAVAILABLE}, f"{one.name} was refused with {uris}")
    run.end()
    _check_keys(run, writers)
    run.leave()


def a_disk_fails_and_its_shard_dies(seed: int) -> None:
    """Acknowledged values survive, and a refused one may too, if the refusal did not arrive."""
    run, writers, parts = _begin(seed)
    world, rng = run.world, run.rng
    shard = rng.choice([name for name in world.disks if name.startswith("shard")])
    actions: list[Action] = [
        partial(fail_disk, world, shard, rng.choice((0.01, 0.1, 3.0))),
        partial(kill, world, shard, rng),
    ]
    run.interleave([*parts, actions], rng.choice((0.001, 0.01)))
    world.run(3.0)
    recover(world)
    _check_keys(run, writers)


def a_machine_without_power(seed: int) -> None:
    """Keys on the disk survive if the power fails again while all processes start."""
    run, writers, parts = _begin(seed)
    world, rng = run.world, run.rng
    run.interleave(parts, 0.002)
    run.end()
    for _ in range(rng.choice((1, 3))):
        _cut_power(world, rng)
        world.run(rng.choice((0.02, 0.5, *DOWN)))
    recover(world)
    run.end()
    _check_keys(run, writers)


def _check_keys(run: Run, writers: Sequence[RecordingClient]) -> None:
    """Check the keys that new WAMP and MQTT subscribers at all gateways are shown."""
    world = run.world
    for gateway in range(world.gateways):
        for fresh in (run.wamp(gateway), run.mqtt(gateway)):
            world.run_until(lambda one=fresh: one.ready)  # type: ignore[misc]
            _subscribe_to_all(fresh)
            world.run(0.5)
            shown = {got.topic: got.number for got in fresh.received if got.retained}
            for writer in writers:
                for topic in sorted({sent.topic for sent in writer.sent}):
                    history = [sent for sent in writer.sent if sent.topic == topic]
                    _check_key(world, fresh, writer, shown.get(topic), history)
    become_quiet(world)


def _check_key(
    world: World,
    fresh: RecordingClient,
    writer: RecordingClient,
    shown: int | None,
    history: list[PublicationRecord],
) -> None:
    """Check that a key has the last acknowledged value, or a later one that was not acknowledged.

    shown: the number in the key's value; None: there is no key. history: all publications on it.
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
