"""A random walk: clients of all kinds do whatever clients can do, in any order.

Owns: the possible actions, and how frequent each is. Never: what must be true (see `checks`).
For a bug that one seed finds, a scenario of its own should be written.
"""

from functools import partial
from random import Random

from fox_shard.testing.checks import check_state
from fox_shard.testing.faults import random_fault, recover
from fox_shard.testing.pubsub_scenarios import TOPICS, come_and_go, subscribe_somewhere, write
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.records import Plan
from fox_shard.testing.rpc_checks import CANCELED, NO_SUCH_PROCEDURE, QUEUE_FULL
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

PROCEDURES = (("p.one", "exact"), ("p.two", "exact"), ("p.", "prefix"), ("q..z", "wildcard"))
CALLED = ("p.one", "p.two", "p.other", "q.1.z", "q.2.z", "nobody.here")
EXPECTED = (CANCELED, NO_SUCH_PROCEDURE, QUEUE_FULL)


def _world(seed: int) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((1, 2, 3)),
        shards=rng.choice((1, 2, 4, 5)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        queue_limit=rng.choice((2, 1000)),
        credit=rng.choice((2000, 20_000, 8 << 20)),
    )


def walk(seed: int) -> None:
    """All promises hold for random actions in a smooth world."""
    run, writers, readers = _begin(seed)
    parts = _parts(run, writers)
    run.interleave(parts, run.rng.choice((0.0, 0.002, 0.01)))
    run.finish()
    run.end(expected=EXPECTED)
    check_state(run.world, readers, writers)
    run.leave()


def walk_with_faults(seed: int) -> None:
    """All promises hold for random actions while processes are killed and links break."""
    run, writers, _ = _begin(seed)
    run.smooth = False
    parts = _parts(run, writers)
    faults: list[Action] = [partial(random_fault, run) for _ in range(run.rng.choice((1, 2, 4)))]
    run.interleave([*parts, faults], run.rng.choice((0.002, 0.01)))
    recover(run.world)
    run.finish()
    run.end(expected=EXPECTED)
    run.leave()


def _begin(seed: int) -> tuple[Run, list[RecordingClient], list[RecordingClient]]:
    """Return a run, its writers of keys, and its readers of keys; other clients do all else."""
    run = Run(_world(seed))
    writers: list[RecordingClient] = [run.wamp(), run.mqtt()]
    readers: list[RecordingClient] = [run.wamp(), run.mqtt()]
    for _ in range(3):
        run.wamp()
        run.mqtt(will=(run.rng.choice(TOPICS), 1) if run.rng.random() < 0.5 else None)
    run.settle()
    return run, writers, readers


def _parts(run: Run, writers: list[RecordingClient]) -> list[list[Action]]:
    parts: list[list[Action]] = []
    for number, writer in enumerate(writers):
        topics = [f"key{number}.{name}" for name in "uvw"]
        parts.append([partial(_write, run, writer, topics) for _ in range(10)])
    for one in run.clients[2:4]:
        parts.append([partial(_read, run, one)])
    for one in run.clients[4:]:
        parts.append([partial(_random_action, run, one) for _ in range(12)])
    parts.append([partial(_late_client, run) for _ in range(2)])
    return parts


def _write(run: Run, one: RecordingClient, topics: list[str]) -> None:
    if one.connected:
        write(run, one, topics)


def _read(run: Run, one: RecordingClient) -> None:
    """Subscribe once to the keys of one writer: `check_state` demands no overlap."""
    if one.connected:
        number = run.rng.randrange(2)
        if isinstance(one, RecordingWampClient):
            one.subscribe(f"key{number}.", "prefix", replay=True)
        elif isinstance(one, RecordingMqttClient):
            one.subscribe(f"key{number}/+", run.rng.choice((0, 1, 2)))


def _late_client(run: Run) -> None:
    """Add a client that acts as soon as its session is open."""
    if not run.world.running_gateways:
        return
    gateway = run.rng.choice(run.world.running_gateways)
    one: RecordingClient = run.wamp(gateway) if run.rng.random() < 0.5 else run.mqtt(gateway)
    world = run.world

    def begin() -> None:
        if one.ready:
            subscribe_somewhere(run, one)
            for _ in range(3):
                _random_action(run, one)
        elif one.connected:
            world.at(world.now + 0.005, begin)

    begin()


def _random_action(run: Run, one: RecordingClient) -> None:
    if not (one.connected and one.ready):
        return
    if run.rng.random() < 0.5:
        for _ in range(run.rng.choice((1, 1, 5))):
            _publish(run, one)
    elif isinstance(one, RecordingWampClient) and run.rng.random() < 0.6:
        _random_rpc_action(run, one)
    else:
        come_and_go(run, one)


def _publish(run: Run, one: RecordingClient) -> None:
    rng = run.rng
    topic = rng.choice(TOPICS)
    if isinstance(one, RecordingWampClient):
        one.publish(topic, acknowledge=rng.random() < 0.4, exclude_me=rng.random() < 0.8)
    elif isinstance(one, RecordingMqttClient):
        one.publish(topic, rng.choice((0, 1, 2)))


def _random_rpc_action(run: Run, one: RecordingWampClient) -> None:
    rng = run.rng
    registrations = [
        registration
        for registration in one.registrations
        if registration.confirmed and not registration.ended
    ]
    if registrations and rng.random() < 0.15:
        one.unregister(rng.choice(registrations))
    elif rng.random() < 0.3:
        name, match = rng.choice(PROCEDURES)
        invoke = rng.choice(("roundrobin", "roundrobin", "roundrobin", "single"))
        force = rng.random() < 0.1
        one.register(name, match, invoke=invoke, concurrency=rng.choice((0, 1, 3)), force=force)
    else:
        _call(run, one)


def _call(run: Run, one: RecordingWampClient) -> None:
    rng, world = run.rng, run.world
    plan = Plan(rng.choice(("never", "yield", "yield", "error")), rng.choice((0, 0, 2)), 0.01)
    timeout = rng.choice((0, 0, 0, 50, 1000))
    called = one.call(rng.choice(CALLED), plan, timeout=timeout, progress=rng.random() < 0.7)
    if rng.random() < 0.3:
        mode = rng.choice(("skip", "kill", "killnowait"))

        def cancel() -> None:
            if called.answered is None and one.connected:
                one.cancel(called, mode)

        world.at(world.now + rng.choice((0.0, 0.01, 0.05)), cancel)
