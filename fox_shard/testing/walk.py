"""A random walk: clients of all kinds do whatever clients can do, in any order.

Owns: which deeds there are, and how often each is done. Never: what must be true (see `checks`).
What one seed finds out, a scenario of its own should show afterwards.
"""

from functools import partial
from random import Random

from fox_shard.testing.cast import Cast, Deed
from fox_shard.testing.checks import check_state
from fox_shard.testing.faults import a_fault, recover
from fox_shard.testing.mqtt_participant import Mqtt
from fox_shard.testing.participant import Participant
from fox_shard.testing.pubsub_scenarios import TOPICS, come_and_go, subscribe_somewhere, write
from fox_shard.testing.records import Plan
from fox_shard.testing.rpc_checks import CANCELED, NO_SUCH_PROCEDURE, QUEUE_FULL
from fox_shard.testing.wamp_participant import Wamp
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
    cast, writers, readers = _begin(seed)
    parts = _parts(cast, writers)
    cast.interleave(parts, cast.rng.choice((0.0, 0.002, 0.01)))
    cast.finish()
    cast.end(expected=EXPECTED)
    check_state(cast.world, readers, writers)
    cast.leave()


def walk_and_stumble(seed: int) -> None:
    """While processes are killed and links break."""
    cast, writers, _ = _begin(seed)
    cast.smooth = False
    parts = _parts(cast, writers)
    faults: list[Deed] = [partial(a_fault, cast) for _ in range(cast.rng.choice((1, 2, 4)))]
    cast.interleave([*parts, faults], cast.rng.choice((0.002, 0.01)))
    recover(cast.world)
    cast.finish()
    cast.end(expected=EXPECTED)
    cast.leave()


def _begin(seed: int) -> tuple[Cast, list[Participant], list[Participant]]:
    """Some who write keys, some who read them, and some others for all else."""
    cast = Cast(_world(seed))
    writers: list[Participant] = [cast.wamp(), cast.mqtt()]
    readers: list[Participant] = [cast.wamp(), cast.mqtt()]
    for _ in range(3):
        cast.wamp()
        cast.mqtt(will=(cast.rng.choice(TOPICS), 1) if cast.rng.random() < 0.5 else None)
    cast.settle()
    return cast, writers, readers


def _parts(cast: Cast, writers: list[Participant]) -> list[list[Deed]]:
    parts: list[list[Deed]] = []
    for number, writer in enumerate(writers):
        topics = [f"key{number}.{name}" for name in "uvw"]
        parts.append([partial(_write, cast, writer, topics) for _ in range(10)])
    for one in cast.people[2:4]:
        parts.append([partial(_read, cast, one)])
    for one in cast.people[4:]:
        parts.append([partial(_deed, cast, one) for _ in range(12)])
    parts.append([partial(_newcomer, cast) for _ in range(2)])
    return parts


def _write(cast: Cast, one: Participant, topics: list[str]) -> None:
    if one.here:
        write(cast, one, topics)


def _read(cast: Cast, one: Participant) -> None:
    """One subscription each, so that nothing overlaps."""
    if one.here:
        number = cast.rng.randrange(2)
        if isinstance(one, Wamp):
            one.subscribe(f"key{number}.", "prefix", replay=True)
        elif isinstance(one, Mqtt):
            one.subscribe(f"key{number}/+", cast.rng.choice((0, 1, 2)))


def _newcomer(cast: Cast) -> None:
    """Somebody comes, and begins at once."""
    if not cast.world.gateways_here:
        return
    gateway = cast.rng.choice(cast.world.gateways_here)
    one: Participant = cast.wamp(gateway) if cast.rng.random() < 0.5 else cast.mqtt(gateway)
    world = cast.world

    def begin() -> None:
        if one.ready:
            subscribe_somewhere(cast, one)
            for _ in range(3):
                _deed(cast, one)
        elif one.here:
            world.at(world.now + 0.005, begin)

    begin()


def _deed(cast: Cast, one: Participant) -> None:
    if not (one.here and one.ready):
        return
    if cast.rng.random() < 0.5:
        for _ in range(cast.rng.choice((1, 1, 5))):
            _publish(cast, one)
    elif isinstance(one, Wamp) and cast.rng.random() < 0.6:
        _deed_of_rpc(cast, one)
    else:
        come_and_go(cast, one)


def _publish(cast: Cast, one: Participant) -> None:
    rng = cast.rng
    topic = rng.choice(TOPICS)
    if isinstance(one, Wamp):
        one.publish(topic, safe=rng.random() < 0.4, exclude_me=rng.random() < 0.8)
    elif isinstance(one, Mqtt):
        one.publish(topic, rng.choice((0, 1, 2)))


def _deed_of_rpc(cast: Cast, one: Wamp) -> None:
    rng = cast.rng
    offers = [offer for offer in one.offers if offer.confirmed and not offer.ended]
    if offers and rng.random() < 0.15:
        one.unregister(rng.choice(offers))
    elif rng.random() < 0.3:
        name, match = rng.choice(PROCEDURES)
        invoke = rng.choice(("roundrobin", "roundrobin", "roundrobin", "single"))
        force = rng.random() < 0.1
        one.register(name, match, invoke=invoke, concurrency=rng.choice((0, 1, 3)), force=force)
    else:
        _call(cast, one)


def _call(cast: Cast, one: Wamp) -> None:
    rng, world = cast.rng, cast.world
    plan = Plan(rng.choice(("never", "yield", "yield", "error")), rng.choice((0, 0, 2)), 0.01)
    timeout = rng.choice((0, 0, 0, 50, 1000))
    called = one.call(rng.choice(CALLED), plan, timeout=timeout, progress=rng.random() < 0.7)
    if rng.random() < 0.3:
        mode = rng.choice(("skip", "kill", "killnowait"))

        def cancel() -> None:
            if called.answered is None and one.here:
                one.cancel(called, mode)

        world.at(world.now + rng.choice((0.0, 0.01, 0.05)), cancel)
