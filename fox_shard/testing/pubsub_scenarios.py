"""Scenarios of publishing and subscribing in a smooth world.

Owns: what happens in each. Never: what must be true (see `checks`). Each takes a seed, and raises
AssertionError with the trace.
"""

from functools import partial
from random import Random

from fox_shard.testing.cast import Cast, Deed
from fox_shard.testing.checks import check_state
from fox_shard.testing.mqtt_participant import Mqtt
from fox_shard.testing.participant import Participant
from fox_shard.testing.records import WILL
from fox_shard.testing.wamp_participant import Wamp
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern

TOPICS = [f"{first}.{second}" for first in ("a", "ab", "b") for second in ("x", "y", "z", "q")]
WAMP_PATTERNS = [("a.x", "exact"), ("b.y", "exact"), ("a", "prefix"), ("a.", "prefix")]
WAMP_PATTERNS += [("", "prefix"), (".y", "wildcard"), ("a.", "wildcard"), ("b.#", "exact")]
MQTT_FILTERS = ["a/x", "ab/y", "a/+", "+/y", "b/#", "#"]


def _world(seed: int, credit: int = 8 << 20) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((3, 4, 5)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        credit=credit,
    )


def publishing(cast: Cast, one: Participant, times: int) -> list[Deed]:
    """One publisher's deeds, alternating over many topics as fast as it can."""
    rng = cast.rng
    deeds: list[Deed] = []
    mixed = rng.random() < 0.7
    for _ in range(times):
        topic = rng.choice(TOPICS)
        if isinstance(one, Wamp):
            safe = mixed and rng.random() < 0.3
            deeds.append(partial(one.publish, topic, safe=safe, exclude_me=rng.random() < 0.8))
        elif isinstance(one, Mqtt):
            deeds.append(partial(one.publish, topic, rng.choice((0, 1, 2)) if mixed else 0))
    return deeds


def subscribe_somewhere(cast: Cast, one: Participant, *, replay: bool = False) -> None:
    """A WAMP session has one subscription for a pattern, which is not asked for twice here."""
    rng = cast.rng
    if isinstance(one, Wamp):
        topic, match = rng.choice(WAMP_PATTERNS)
        pattern = Pattern.wamp(topic, match)
        if all(window.over or window.pattern != pattern for window in one.windows):
            one.subscribe(topic, match, replay=replay)
    elif isinstance(one, Mqtt):
        one.subscribe(rng.choice(MQTT_FILTERS), rng.choice((0, 1, 2)))


def order(seed: int) -> None:
    """Each subscriber gets each publisher's events once, in the order over all topics."""
    cast = Cast(_world(seed, credit=random_credit(seed)))
    publishers = [cast.wamp(), cast.wamp(), cast.mqtt(), cast.mqtt()]
    for gateway in range(cast.world.gateways):
        for one in (cast.wamp(gateway), cast.mqtt(gateway)):
            for _ in range(cast.rng.choice((1, 1, 2, 3))):
                subscribe_somewhere(cast, one)
    cast.settle()
    pause = cast.rng.choice((0.0, 0.0005, 0.004))
    cast.interleave([publishing(cast, one, 25) for one in publishers], pause)
    cast.end()
    cast.leave()


def random_credit(seed: int) -> int:
    """Bytes: sometimes so few that publishers are stopped again and again."""
    return 2000 if Random(f"credit {seed}").random() < 0.2 else 8 << 20


def comings_and_goings(seed: int) -> None:
    """Subscriptions begin, end and overlap while it is published; sessions come and go."""
    cast = Cast(_world(seed))
    rng = cast.rng
    publishers: list[Participant] = [cast.wamp(), cast.mqtt()]
    subscribers: list[Participant] = [cast.wamp(), cast.wamp(), cast.mqtt(), cast.mqtt()]
    cast.settle()
    parts = [publishing(cast, one, 30) for one in publishers]
    parts += [[partial(come_and_go, cast, one) for _ in range(8)] for one in subscribers]
    parts.append([partial(_late, cast) for _ in range(2)])
    cast.interleave(parts, rng.choice((0.002, 0.02)))
    cast.end()
    cast.leave()


def come_and_go(cast: Cast, one: Participant) -> None:
    """Subscribe, unsubscribe or, rarely, leave."""
    rng = cast.rng
    if not one.here:
        return
    if rng.random() < 0.05:
        one.leave(graceful=rng.random() < 0.5)
        return
    open_ = [window for window in one.windows if window.ended is None]
    confirmed = [window for window in open_ if window.confirmed is not None]
    if confirmed and rng.random() < 0.5:
        one.unsubscribe(rng.choice(confirmed))
        return
    subscribe_somewhere(cast, one, replay=rng.random() < 0.5)


def _late(cast: Cast) -> None:
    """Someone comes, subscribes at once, and publishes."""
    one: Participant = cast.wamp() if cast.rng.random() < 0.5 else cast.mqtt()
    world = cast.world

    def begin() -> None:
        if one.ready:
            subscribe_somewhere(cast, one)
            for deed in publishing(cast, one, 3):
                deed()
        elif one.here:
            world.at(world.now + 0.005, begin)

    begin()


def retained(seed: int) -> None:
    """Whoever subscribes with replay sees the keys there are, then every change, in order."""
    cast = Cast(_world(seed))
    rng = cast.rng
    writers: list[Participant] = [cast.wamp(), cast.mqtt()]
    topics = {writers[0].name: ["a.x", "a.y", "b.x"], writers[1].name: ["ab.x", "b.y", "b.q"]}
    subscribers: list[Participant] = [
        cast.wamp(gateway) if number % 2 else cast.mqtt(gateway)
        for gateway in range(cast.world.gateways)
        for number in range(3)
    ]
    cast.settle()
    parts: list[list[Deed]] = [
        [partial(write, cast, one, topics[one.name]) for _ in range(30)] for one in writers
    ]
    # One subscription each, so that nothing overlaps.
    parts += [[partial(subscribe_somewhere, cast, one, replay=True)] for one in subscribers]
    cast.interleave(parts, rng.choice((0.0, 0.002, 0.01)))
    cast.end()
    check_state(cast.world, subscribers, writers)
    cast.leave()


def write(cast: Cast, one: Participant, topics: list[str]) -> None:
    """Set or erase a key."""
    topic, empty = cast.rng.choice(topics), cast.rng.random() < 0.2
    if isinstance(one, Wamp):
        one.publish(topic, retain=True, empty=empty, safe=cast.rng.random() < 0.3)
    elif isinstance(one, Mqtt):
        one.publish(topic, cast.rng.choice((0, 1, 2)), retain=True, empty=empty)


def wills(seed: int) -> None:
    """A will comes behind all that its client published, and only if it did not say goodbye."""
    cast = Cast(_world(seed))
    rng = cast.rng
    watchers: list[Participant] = [cast.mqtt(), cast.wamp(), cast.wamp()]
    cast.settle()
    for one in watchers:
        _subscribe_to_all(one)
    mortals = [cast.mqtt(will=(rng.choice(TOPICS), rng.choice((0, 1, 2)))) for _ in range(4)]
    cast.settle()
    parts: list[list[Deed]] = []
    for one in mortals:
        graceful = rng.random() < 0.3
        # What is on the way to the gateway is lost with the connection.
        parts.append([*publishing(cast, one, 8), partial(one.leave, graceful=graceful)])
    cast.interleave(parts)
    cast.end()
    for one in mortals:
        for watcher in watchers:
            _check_will(cast, one.name, watcher, came=not one.graceful)
    cast.leave()


def _subscribe_to_all(one: Participant) -> None:
    if isinstance(one, Wamp):
        one.subscribe("", "prefix")
    elif isinstance(one, Mqtt):
        one.subscribe("#")


def _check_will(cast: Cast, mortal: str, watcher: Participant, *, came: bool) -> None:
    wills = [got for got in watcher.got if got.publisher == mortal and got.number >= WILL]
    if len(wills) != came:
        what = f"{watcher.name} got {len(wills)} wills of {mortal}, not {came:d}"
        raise AssertionError(cast.world.report(what, (f'["{mortal}",',)))
