"""Scenarios of publishing and subscribing in a smooth world.

Owns: what happens in each. Never: what must be true (see `checks`). Each takes a seed, and raises
AssertionError with the trace.
"""

from functools import partial
from random import Random

from fox_shard.testing.checks import check_state
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.records import WILL
from fox_shard.testing.run import Action, Run
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


def publishing(run: Run, one: RecordingClient, times: int) -> list[Action]:
    """Return the actions of one publisher: `times` publishes on random topics."""
    rng = run.rng
    actions: list[Action] = []
    mixed = rng.random() < 0.7
    for _ in range(times):
        topic = rng.choice(TOPICS)
        if isinstance(one, RecordingWampClient):
            acknowledge = mixed and rng.random() < 0.3
            actions.append(
                partial(one.publish, topic, acknowledge=acknowledge, exclude_me=rng.random() < 0.8)
            )
        elif isinstance(one, RecordingMqttClient):
            actions.append(partial(one.publish, topic, rng.choice((0, 1, 2)) if mixed else 0))
    return actions


def subscribe_somewhere(run: Run, one: RecordingClient, *, replay: bool = False) -> None:
    """Subscribe to a random pattern, unless a WAMP client is subscribed to it already.

    A WAMP session has only one subscription per pattern. replay: keys first; MQTT has them always.
    """
    rng = run.rng
    if isinstance(one, RecordingWampClient):
        topic, match = rng.choice(WAMP_PATTERNS)
        pattern = Pattern.wamp(topic, match)
        if all(
            subscription.over or subscription.pattern != pattern
            for subscription in one.subscriptions
        ):
            one.subscribe(topic, match, replay=replay)
    elif isinstance(one, RecordingMqttClient):
        one.subscribe(rng.choice(MQTT_FILTERS), rng.choice((0, 1, 2)))


def order(seed: int) -> None:
    """Each subscriber gets each publisher's events once, in order over all topics."""
    run = Run(_world(seed, credit=random_credit(seed)))
    publishers = [run.wamp(), run.wamp(), run.mqtt(), run.mqtt()]
    for gateway in range(run.world.gateways):
        for one in (run.wamp(gateway), run.mqtt(gateway)):
            for _ in range(run.rng.choice((1, 1, 2, 3))):
                subscribe_somewhere(run, one)
    run.settle()
    pause = run.rng.choice((0.0, 0.0005, 0.004))
    run.interleave([publishing(run, one, 25) for one in publishers], pause)
    run.end()
    run.leave()


def random_credit(seed: int) -> int:
    """Return the credit in bytes: sometimes so few that publishers are stopped again and again."""
    return 2000 if Random(f"credit {seed}").random() < 0.2 else 8 << 20


def comings_and_goings(seed: int) -> None:
    """Subscriptions begin, end and overlap, and sessions come and go, during publishing."""
    run = Run(_world(seed))
    rng = run.rng
    publishers: list[RecordingClient] = [run.wamp(), run.mqtt()]
    subscribers: list[RecordingClient] = [run.wamp(), run.wamp(), run.mqtt(), run.mqtt()]
    run.settle()
    parts = [publishing(run, one, 30) for one in publishers]
    parts += [[partial(come_and_go, run, one) for _ in range(8)] for one in subscribers]
    parts.append([partial(_late_client, run) for _ in range(2)])
    run.interleave(parts, rng.choice((0.002, 0.02)))
    run.end()
    run.leave()


def come_and_go(run: Run, one: RecordingClient) -> None:
    """Have a client subscribe, unsubscribe or, rarely, leave."""
    rng = run.rng
    if not one.connected:
        return
    if rng.random() < 0.05:
        one.leave(graceful=rng.random() < 0.5)
        return
    open_ = [subscription for subscription in one.subscriptions if subscription.ended is None]
    confirmed = [subscription for subscription in open_ if subscription.confirmed is not None]
    if confirmed and rng.random() < 0.5:
        one.unsubscribe(rng.choice(confirmed))
        return
    subscribe_somewhere(run, one, replay=rng.random() < 0.5)


def _late_client(run: Run) -> None:
    """Add a client that subscribes and publishes as soon as its session is open."""
    one: RecordingClient = run.wamp() if run.rng.random() < 0.5 else run.mqtt()
    world = run.world

    def begin() -> None:
        if one.ready:
            subscribe_somewhere(run, one)
            for action in publishing(run, one, 3):
                action()
        elif one.connected:
            world.at(world.now + 0.005, begin)

    begin()


def retained(seed: int) -> None:
    """Subscribers with replay get the existing keys, then every change, in order."""
    run = Run(_world(seed))
    rng = run.rng
    writers: list[RecordingClient] = [run.wamp(), run.mqtt()]
    topics = {writers[0].name: ["a.x", "a.y", "b.x"], writers[1].name: ["ab.x", "b.y", "b.q"]}
    subscribers: list[RecordingClient] = [
        run.wamp(gateway) if number % 2 else run.mqtt(gateway)
        for gateway in range(run.world.gateways)
        for number in range(3)
    ]
    run.settle()
    parts: list[list[Action]] = [
        [partial(write, run, one, topics[one.name]) for _ in range(30)] for one in writers
    ]
    # Each client has one subscription, because `check_state` demands that none overlap.
    parts += [[partial(subscribe_somewhere, run, one, replay=True)] for one in subscribers]
    run.interleave(parts, rng.choice((0.0, 0.002, 0.01)))
    run.end()
    check_state(run.world, subscribers, writers)
    run.leave()


def write(run: Run, one: RecordingClient, topics: list[str]) -> None:
    """Set or erase a random key."""
    topic, empty = run.rng.choice(topics), run.rng.random() < 0.2
    if isinstance(one, RecordingWampClient):
        one.publish(topic, retain=True, empty=empty, acknowledge=run.rng.random() < 0.3)
    elif isinstance(one, RecordingMqttClient):
        one.publish(topic, run.rng.choice((0, 1, 2)), retain=True, empty=empty)


def wills(seed: int) -> None:
    """A will follows all events of its client, and is published only without a goodbye."""
    run = Run(_world(seed))
    rng = run.rng
    watchers: list[RecordingClient] = [run.mqtt(), run.wamp(), run.wamp()]
    run.settle()
    for one in watchers:
        _subscribe_to_all(one)
    clients_with_wills = [
        run.mqtt(will=(rng.choice(TOPICS), rng.choice((0, 1, 2)))) for _ in range(4)
    ]
    run.settle()
    parts: list[list[Action]] = []
    for one in clients_with_wills:
        graceful = rng.random() < 0.3
        # Publishes on their way to the gateway are lost with the connection.
        parts.append([*publishing(run, one, 8), partial(one.leave, graceful=graceful)])
    run.interleave(parts)
    run.end()
    for one in clients_with_wills:
        for watcher in watchers:
            _check_will(run, one.name, watcher, came=not one.graceful)
    run.leave()


def _subscribe_to_all(one: RecordingClient) -> None:
    if isinstance(one, RecordingWampClient):
        one.subscribe("", "prefix")
    elif isinstance(one, RecordingMqttClient):
        one.subscribe("#")


def _check_will(run: Run, client: str, watcher: RecordingClient, *, came: bool) -> None:
    wills = [got for got in watcher.received if got.publisher == client and got.number >= WILL]
    if len(wills) != came:
        what = f"{watcher.name} got {len(wills)} wills of {client}, not {came:d}"
        raise AssertionError(run.world.report(what, (f'["{client}",',)))
