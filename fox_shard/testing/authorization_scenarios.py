"""Scenarios of authorization: who may see what.

Owns: the rules, who subscribes to what, which faults happen, and what nobody may ever receive. Each
takes a seed, and raises AssertionError with the trace.
"""

from functools import partial
from random import Random
from typing import Any, Final, Literal, final

from fox_shard.config import Action, History, Role, Rule
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.faults import kill, lose, recover, sever
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import to_wamp

TOPICS: Final = ("a", "a.b", "a.b.x", "a.c", "a.c.x", "ab", "b", "b.b", "c.b.x")

PATTERNS: Final[tuple[tuple[str, Literal["exact", "prefix", "wildcard"]], ...]] = (
    ("a.b", "exact"),
    ("a.c.x", "exact"),
    ("a", "prefix"),
    ("a.", "prefix"),
    ("a.c", "prefix"),
    ("b", "prefix"),
    ("a.#", "exact"),
    ("a.*", "exact"),
    (".b", "wildcard"),
    ("..x", "wildcard"),
)
"""URIs and policies, of rules and of subscriptions."""

OPTIONS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"get_retained": True},
    {"state": True, "get_retained": True},
    {"filter": {"v": 1}},
    {"after": 0},
    {"snapshot": True},
)
"""Options of SUBSCRIBE."""

FILTERS: Final = ("#", "a/#", "+/b", "a/+", "a/b", "b")


def _rules(rng: Random) -> tuple[Rule, ...]:
    """Return rules that let all publish everywhere, and see only some topics."""
    allow: tuple[Action, ...] = ("publish", "subscribe") if rng.random() < 0.5 else ("publish",)
    rules = [Rule(uri="", match="prefix", allow=allow)]
    for uri, match in rng.sample(PATTERNS, rng.choice((1, 3, 6))):
        allow = ("publish", "subscribe") if rng.random() < 0.5 else ("publish",)
        rules.append(Rule(uri=uri, match=match, allow=allow))
    return tuple(rules)


def _visible(rules: tuple[Rule, ...], topic: str) -> bool:
    """Whether the rules let sessions see a topic: the slow and obvious way."""
    matching = {Pattern.wamp(rule.uri, rule.match): rule for rule in rules}
    best = max(
        (one for one in matching if one.matches(topic)), key=lambda pattern: pattern.specificity
    )
    return "subscribe" in matching[best].allow


def _fault(world: World, rng: Random) -> None:
    what = rng.choice(
        (partial(kill, world, rng.choice(world.names), rng),) * 2
        + (
            partial(sever, world, rng),
            partial(lose, world, rng),
        )
    )
    what()


@final
class Reader:
    """A WAMP client. asked: the URIs of its subscriptions, by request."""

    def __init__(self, world: World, gateway: int) -> None:
        self.client = WampClient(world, gateway)
        self.asked: dict[int, str] = {}

    def subscribe(self, uri: str, match: str, options: dict[str, Any]) -> None:
        """Subscribe."""
        self.asked[self.client.subscribe(uri, match=match, **options)] = uri


def narrowed(seed: int) -> None:
    """No session ever gets an event, or a key, of a topic that its role may not see.

    At the end, those that subscribed to everything get everything that they may see.
    """
    rng = Random(f"narrowed {seed}")
    rules = _rules(rng)
    visible = {topic for topic in TOPICS if _visible(rules, topic)}
    world = World(
        seed,
        gateways=2,
        shards=rng.choice((1, 2, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        roles=(Role(name="anonymous", rule=rules),),
        history=(History(topic="a.#"),),
    )
    world.run_until(lambda: world.linked)
    world.note(f"the rules are {rules}")
    readers: list[Reader] = []
    devices: list[MqttClient] = []
    value = 0
    for _ in range(rng.choice((60, 150))):
        world.run(rng.random() * 0.1)
        what = rng.random()
        gateway = rng.randrange(2)
        if f"gateway-{gateway}" not in world.nodes:
            continue
        if what < 0.1:
            readers.append(Reader(world, gateway))
        elif what < 0.15:
            devices.append(MqttClient(world, gateway))
        elif what < 0.2:
            _fault(world, rng)
        elif what < 0.5:
            _subscribe(rng, readers, devices)
        else:
            value += 1
            _publish(rng, readers, value)
    recover(world)
    _check_seen(world, readers, devices, visible)
    _check_everything(world, visible)
    _check_seen(world, readers, devices, visible)


def _subscribe(rng: Random, readers: list[Reader], devices: list[MqttClient]) -> None:
    ready = [one for one in readers if one.client.session and not one.client.closed]
    open_devices = [one for one in devices if one.connected and not one.closed]
    if ready and (rng.random() < 0.7 or not open_devices):
        uri, match = rng.choice((*PATTERNS, ("", "prefix"), ("#", "exact")))
        rng.choice(ready).subscribe(uri, match, rng.choice(OPTIONS))
    elif open_devices:
        filters = rng.sample(FILTERS, rng.choice((1, 3)))
        rng.choice(open_devices).subscribe(*filters, qos=rng.choice((0, 1)))


def _publish(rng: Random, readers: list[Reader], value: int) -> None:
    ready = [one for one in readers if one.client.session and not one.client.closed]
    if ready:
        options = {"retain": rng.random() < 0.5, "acknowledge": rng.random() < 0.5}
        rng.choice(ready).client.publish(rng.choice(TOPICS), {"v": value % 2}, **options)


def _check_seen(
    world: World, readers: list[Reader], devices: list[MqttClient], visible: set[str]
) -> None:
    """Check that all topics that have ever reached a client are visible."""
    for reader in readers:
        client = reader.client
        exact = {answer[2]: reader.asked[answer[1]] for answer in client.of(33)}
        for event in client.of(36):
            topic = event[3].get("topic", exact[event[1]])
            world.check(topic in visible, f"a session got {event}, and may see {visible}")
    for device in devices:
        for message in device.messages:
            topic = to_wamp(message.topic)
            world.check(topic in visible, f"a session got {message}, and may see {visible}")


def _check_everything(world: World, visible: set[str]) -> None:
    """Check that new sessions get all that they may see."""
    client, device = WampClient(world, 0), MqttClient(world, 1)
    world.run_until(lambda: bool(client.session) and device.connected)
    client.subscribe("", match="prefix")
    device.subscribe("#")
    world.run(1)
    before = len(device.messages)
    for topic in TOPICS:
        client.publish(topic, {"v": "last"}, exclude_me=False)
    world.run(1)
    got = [event[3]["topic"] for event in client.of(36)]
    world.check(sorted(got) == sorted(visible), f"a session got {got}, and may see {visible}")
    messages = [to_wamp(one.topic) for one in device.messages[before:]]
    world.check(sorted(messages) == sorted(visible), f"a session got {messages}, not {visible}")
