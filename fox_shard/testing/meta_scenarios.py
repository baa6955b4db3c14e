"""Scenarios of the registration and the subscription meta API.

Owns: who registers and subscribes to what, which faults happen, and what the procedures must answer
at the end. Each takes a seed, and raises AssertionError with the trace.
"""

from collections import defaultdict
from functools import partial
from random import Random
from typing import Any, final

from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.faults import kill, kill_a_shard, relink, sever
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.world import World
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern

REALM = "realm1"


PATTERNS = (
    ("a.b", "exact"),
    ("a.c", "exact"),
    ("b", "exact"),
    ("a.", "prefix"),
    ("a", "prefix"),
    ("a..x", "wildcard"),
    (".b", "wildcard"),
)

NAMES = ("a.b", "a.c", "a.c.x", "a.y", "b", "c.b", "c")


@final
class Member:
    """A WAMP client that registers and subscribes, and what it has been told.

    registered, subscribed: ids, with their patterns.
    """

    def __init__(self, world: World, gateway: int) -> None:
        self.gateway = gateway
        self.client = WampClient(world, gateway)
        self.registered: dict[int, str] = {}
        self.subscribed: dict[int, str] = {}
        self._left = False
        self._world = world

    @property
    def gone(self) -> bool:
        """Whether the session has ended."""
        return self._left or self.client.closed

    def leave(self, *, graceful: bool) -> None:
        """End the session."""
        self._left = True
        if graceful:
            self.client.leave()
        else:
            self.client.drop()

    def _ask(self, codes: tuple[int, ...], request: int) -> list[Any]:
        """Return the answer, or [] if the connection ends first."""
        self._world.run_until(
            lambda: self.client.closed or any(self.client.answer(code, request) for code in codes)
        )
        return next((one for code in codes if (one := self.client.answer(code, request))), [])

    def register(self, uri: str, match: str) -> None:
        """Register as one of several callees."""
        request = self.client.register(uri, match=match, invoke="roundrobin")
        answer = self._ask((65, 8), request)
        if answer and answer[0] == 65:
            self.registered[answer[2]] = Pattern.wamp(uri, match).text

    def subscribe(self, uri: str, match: str) -> None:
        """Subscribe to all events."""
        answer = self._ask((33, 8), self.client.subscribe(uri, match=match))
        if answer and answer[0] == 33:
            self.subscribed[answer[2]] = Pattern.wamp(uri, match).text

    def give_up(self, rng: Random) -> None:
        """Unregister or unsubscribe something."""
        code, of = rng.choice(((66, self.registered), (34, self.subscribed)))
        if of:
            id_ = rng.choice(sorted(of))
            if self._ask((code + 1, 8), self.client.request(code, id_)):
                del of[id_]

    def call(self, procedure: str, *args: Any) -> Any:  # noqa: ANN401 (any result)
        """Return the result of a call, or the URI of its error."""
        answer = self._ask((50, 8), self.client.call(procedure, *args))
        return answer[3][0] if answer and answer[0] == 50 else answer[4]


def _world(seed: int) -> tuple[World, Random]:
    rng = Random(f"meta {seed}")
    world = World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 3, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
    )
    world.run_until(lambda: world.linked)
    return world, rng


def _await_welcome(world: World, members: list[Member]) -> None:
    world.run_until(lambda: all(one.client.session or one.gone for one in members))


def _act(world: World, rng: Random, members: list[Member], *, times: int) -> None:
    for _ in range(times):
        one = rng.choice(members)
        if one.gone:
            continue
        uri, match = rng.choice(PATTERNS)
        rng.choice(
            (
                partial(one.register, uri, match),
                partial(one.subscribe, uri, match),
                partial(one.give_up, rng),
            )
        )()
        if rng.random() < 0.1 and sum(not member.gone for member in members) > 3:
            one.leave(graceful=rng.random() < 0.5)


def known(seed: int) -> None:
    """Whatever sessions register and subscribe to, the procedures know it at every gateway."""
    world, rng = _world(seed)
    members = [Member(world, n % world.gateways) for n in range(rng.choice((4, 8)))]
    _await_welcome(world, members)
    device = MqttClient(world, rng.randrange(world.gateways))
    world.run_until(lambda: device.connected)
    request = device.subscribe("a/b", "a/+/x")
    world.run_until(lambda: request in device.subscribed)
    _act(world, rng, members, times=40)
    become_quiet(world)
    _check(world, members, device)


def known_after_faults(seed: int) -> None:
    """The same holds after shards and gateways were killed and connections broken."""
    world, rng = _world(seed)
    members = [Member(world, n % world.gateways) for n in range(8)]
    _await_welcome(world, members)
    device = MqttClient(world, 0)
    world.run_until(lambda: device.connected)
    request = device.subscribe("a/b", "a/+/x")
    world.run_until(lambda: request in device.subscribed)
    for _ in range(3):
        _act(world, rng, members, times=12)
        fault = rng.choice(("shard", "gateway", "link"))
        if fault == "shard":
            kill_a_shard(world, rng)
        elif fault == "link":
            sever(world, rng)
        else:
            # The device's gateway lives on.
            kill(world, f"gateway-{rng.randrange(1, world.gateways)}", rng)
        relink(world)
        become_quiet(world)
        members += [Member(world, n % world.gateways) for n in range(2)]
        _await_welcome(world, members)
    become_quiet(world)
    _check(world, members, device)


def _check(world: World, members: list[Member], device: MqttClient) -> None:
    """Check all answers, at a session of each gateway."""
    alive = [one for one in members if not one.gone]
    callees: dict[str, list[int]] = defaultdict(list)
    subscribers: dict[str, list[int]] = defaultdict(list)
    for one in alive:
        for id_, text in one.registered.items():
            world.check(id_ == pattern_id(REALM, "registration", text), f"{id_} is not {text}")
            callees[text].append(one.client.session)
        for text in one.subscribed.values():
            subscribers[text].append(one.client.session)
    for filter_ in ("a/b", "a/+/x"):
        subscribers[Pattern.mqtt(filter_).text].append(device.wire.session)
    for asking in {one.gateway: one for one in alive}.values():
        _check_kind(world, asking, "registration", "callees", callees)
        _check_kind(world, asking, "subscription", "subscribers", subscribers)
        for name in NAMES:
            _check_matches(world, asking, name, list(callees), list(subscribers))


def _check_kind(
    world: World, asking: Member, what: str, sessions: str, expected: dict[str, list[int]]
) -> None:
    """Check what is told of each registration or subscription. expected: pattern -> sessions."""

    def same(procedure: str, right: object, *args: object) -> None:
        name = f"wamp.{what}.{procedure}"
        told = asking.call(name, *args)
        world.check(told == right, f"{name}{args} is {told}, not {right}")

    lists: dict[str, list[int]] = {"exact": [], "prefix": [], "wildcard": []}
    for text, ids in expected.items():
        pattern, id_ = Pattern.parse(text), pattern_id(REALM, what, text)
        uri, match = pattern.shown
        lists[match].append(id_)
        told = asking.call(f"wamp.{what}.get", id_)
        world.check(
            isinstance(told, dict)
            and (told["id"], told["uri"], told["match"]) == (id_, uri, match),
            f"{what} {text} is {told}",
        )
        same("lookup", id_, uri, {"match": match})
        same(f"list_{sessions}", sorted(ids), id_)
        same(f"count_{sessions}", len(ids), id_)
    told = asking.call(f"wamp.{what}.list")
    same_ids = all(sorted(told[match]) == sorted(ids) for match, ids in lists.items())
    world.check(same_ids and len(told) == 3, f"{what}s are {told}, not {lists}")
    for uri, match in PATTERNS:
        text = Pattern.wamp(uri, match).text
        if text not in expected:
            same("lookup", None, uri, {"match": match})
            same("get", f"wamp.error.no_such_{what}", pattern_id(REALM, what, text))


def _check_matches(
    world: World, asking: Member, name: str, registered: list[str], subscribed: list[str]
) -> None:
    matching = [one for one in map(Pattern.parse, registered) if one.matches(name)]
    best = max(matching, key=lambda one: one.specificity, default=None)
    right = None if best is None else pattern_id(REALM, "registration", best.text)
    told = asking.call("wamp.registration.match", name)
    world.check(told == right, f"{name} is matched by the registration {told}, not {right}")
    ids = sorted(
        pattern_id(REALM, "subscription", text)
        for text in subscribed
        if Pattern.parse(text).matches(name)
    )
    told = asking.call("wamp.subscription.match", name)
    world.check(told == (ids or None), f"{name} is matched by the subscriptions {told}, not {ids}")
