"""A random walk: clients of all kinds do whatever clients can do, in any order.

Owns: which deeds there are, and how often each is done. Never: what must be true (see `checks`).
What one seed finds out, a scenario of its own should show afterwards.
"""

from functools import partial
from random import Random

from fox_shard.testing.checks import check_state
from fox_shard.testing.faults import a_fault, recover
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
    """In a smooth world."""
    run, writers, readers = _begin(seed)
    parts = _parts(run, writers)
    run.interleave(parts, run.rng.choice((0.0, 0.002, 0.01)))
    run.finish()
    run.end(expected=EXPECTED)
    check_state(run.world, readers, writers)
    run.leave()


def walk_and_stumble(seed: int) -> None:
    """While processes are killed and links break."""
    run, writers, _ = _begin(seed)
    run.smooth = False
    parts = _parts(run, writers)
    faults: list[Action] = [partial(a_fault, run) for _ in range(run.rng.choice((1, 2, 4)))]
    run.interleave([*parts, faults], run.rng.choice((0.002, 0.01)))
    recover(run.world)
    run.finish()
    run.end(expected=EXPECTED)
    run.leave()


def _begin(seed: int) -> tuple[Run, list[RecordingClient], list[RecordingClient]]:
    """Some who write keys, some who read them, and some others for all else."""
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
        parts.append([partial(_deed, run, one) for _ in range(12)])
    parts.append([partial(_newcomer, run) for _ in range(2)])
    return parts


def _write(run: Run, one: RecordingClient, topics: list[str]) -> None:
    if one.here:
        write(run, one, topics)


def _read(run: Run, one: RecordingClient) -> None:
    """One subscription each, so that nothing overlaps."""
    if one.here:
        number = run.rng.randrange(2)
        if isinstance(one, RecordingWampClient):
            one.subscribe(f"key{number}.", "prefix", replay=True)
        elif isinstance(one, RecordingMqttClient):
            one.subscribe(f"key{number}/+", run.rng.choice((0, 1, 2)))


def _newcomer(run: Run) -> None:
    """Somebody comes, and begins at once."""
    if not run.world.gateways_here:
        return
    gateway = run.rng.choice(run.world.gateways_here)
    one: RecordingClient = run.wamp(gateway) if run.rng.random() < 0.5 else run.mqtt(gateway)
    world = run.world

    def begin() -> None:
        if one.ready:
            subscribe_somewhere(run, one)
            for _ in range(3):
                _deed(run, one)
        elif one.here:
            world.at(world.now + 0.005, begin)

    begin()


def _deed(run: Run, one: RecordingClient) -> None:
    if not (one.here and one.ready):
        return
    if run.rng.random() < 0.5:
        for _ in range(run.rng.choice((1, 1, 5))):
            _publish(run, one)
    elif isinstance(one, RecordingWampClient) and run.rng.random() < 0.6:
        _deed_of_rpc(run, one)
    else:
        come_and_go(run, one)


def _publish(run: Run, one: RecordingClient) -> None:
    rng = run.rng
    topic = rng.choice(TOPICS)
    if isinstance(one, RecordingWampClient):
        one.publish(topic, safe=rng.random() < 0.4, exclude_me=rng.random() < 0.8)
    elif isinstance(one, RecordingMqttClient):
        one.publish(topic, rng.choice((0, 1, 2)))


def _deed_of_rpc(run: Run, one: RecordingWampClient) -> None:
    rng = run.rng
    offers = [offer for offer in one.offers if offer.confirmed and not offer.ended]
    if offers and rng.random() < 0.15:
        one.unregister(rng.choice(offers))
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
            if called.answered is None and one.here:
                one.cancel(called, mode)

        world.at(world.now + rng.choice((0.0, 0.01, 0.05)), cancel)
