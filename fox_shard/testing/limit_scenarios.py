"""Scenarios of greedy clients, which ask for more than the limits allow.

Owns: what they ask for, and what must be true of the answers. Each scenario takes a seed, and
raises AssertionError with the trace.

The promise: nobody else suffers; each request that goes beyond a limit gets its ERROR, and no other
does; nothing that was acknowledged is lost.
"""

from collections import Counter
from functools import partial
from random import Random
from typing import Any, final

from msgspec import json

from fox_shard.config import Gateway, Keys, RealmLimits, share
from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import fail_disk, kill_a_shard, relink
from fox_shard.testing.filler import EXCEEDED, Filler
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.records import Plan
from fox_shard.testing.rpc_checks import QUEUE_FULL
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern

SUBSCRIBED = 33
UNAVAILABLE = "wamp.error.unavailable"
"""The error of registrations and calls whose shard dies."""

GATEWAY = Gateway(max_subscriptions=5, max_registrations=4, max_calls=9)
KEYS = Keys(conditions_per_key=3, waiting_per_key=8, waiting_per_session=6, owned_per_session=5)
QUEUE_LIMIT = 3
REALM = RealmLimits(max_keys=12, max_key_bytes=8400, max_subscriptions=9)

REQUESTS = 60
"""How many requests each greedy client makes."""


@final
class Greedy:
    """A client that asks for many subscriptions, registrations, calls, keys and waiting publishes.

    asked: what each request was for. answers: the error URI of each answer, "" if it was granted.
    """

    def __init__(self, world: World, gateway: int, name: str, rng: Random) -> None:
        self.world = world
        self.name = name
        self.rng = rng
        self.asked: dict[int, tuple[str, str]] = {}
        self.answers: dict[int, list[str]] = {}
        self.client = WampClient(world, gateway, on_message=self._message)

    def _message(self, message: list[Any]) -> None:
        match message:
            case [8, _, request, _, uri, *_]:
                self.answers.setdefault(request, []).append(uri)
            case [17 | 33 | 65, request, *_]:
                self.answers.setdefault(request, []).append("")

    def granted(self, what: str) -> list[str]:
        """Return the names for which requests of that kind were granted."""
        return [
            name
            for request, (kind, name) in self.asked.items()
            if kind == what and self.answers.get(request) == [""]
        ]

    def refused(self, what: str) -> Counter[str]:
        """Count the error URIs with which requests of that kind were refused."""
        return Counter(
            self.answers[request][0]
            for request, (kind, _) in self.asked.items()
            if kind == what and self.answers.get(request, [""])[0]
        )

    def unanswered(self, what: str) -> list[str]:
        """Return the names of the requests of that kind that wait for their answers."""
        return [
            name
            for request, (kind, name) in self.asked.items()
            if kind == what and request not in self.answers
        ]

    def requests(self) -> list[Action]:
        """Return everything that the client will ask for."""
        return [self.ask] * REQUESTS

    def ask(self) -> None:
        """Ask for something that has not been asked for yet."""
        kind = self.rng.choice(("subscribe", "register", "call", "own", "wait", "wait"))
        name = f"{self.name}.{len(self.asked)}"
        client = self.client
        match kind:
            case "subscribe":
                request = client.subscribe(f"greedy.{name}")
            case "register":
                request = client.register(f"greedy.{name}")
            case "call":
                request = client.call("greedy.slow", name)
            case "own":
                options: dict[str, Any] = {"acknowledge": True, "retain": True, "weak": True}
                request = client.publish(f"own.{name}", name, **options)
            case _:
                # One of few keys, under one of more conditions than a key may have.
                when = {"never": self.rng.randrange(6)}
                key = f"awaited.{self.rng.randrange(2)}"
                options = {"acknowledge": True, "when": when, "watch": True}
                request = client.publish(key, name, **options)
        self.asked[request] = kind, name

    def check(self, *, smooth: bool) -> None:
        """Check the answers. smooth: no shard has died."""
        world, about = self.world, (self.name,)
        twice = [self.asked[one] for one, answers in self.answers.items() if len(answers) > 1]
        world.check(not twice, f"{self.name} was answered twice: {twice}", about)
        limits = {"subscribe": GATEWAY.max_subscriptions, "register": GATEWAY.max_registrations}
        for kind in ("subscribe", "register", "own", "wait"):
            asked = sum(1 for what, _ in self.asked.values() if what == kind)
            refused, waiting = self.refused(kind), self.unanswered(kind)
            down = 0 if smooth or kind != "register" else refused.pop(UNAVAILABLE, 0)
            world.check(set(refused) <= {EXCEEDED}, f"{kind} was refused: {refused}", about)
            world.check(kind == "wait" or not waiting, f"{kind} was not answered: {waiting}", about)
            limit = limits.get(kind)
            if limit is not None:
                granted = len(self.granted(kind))
                fair = min(limit, asked - down) if not down else granted
                said = f"{granted} of {asked} were granted, {down} were unavailable"
                world.check(granted == fair <= limit, f"{kind}: {said}", about)
        calls, waiting = self.refused("call"), self.unanswered("call")
        allowed = {EXCEEDED, QUEUE_FULL} if smooth else {EXCEEDED, QUEUE_FULL, UNAVAILABLE}
        world.check(set(calls) <= allowed, f"calls ended with {calls}", about)
        world.check(len(waiting) <= GATEWAY.max_calls, f"{waiting} are too many calls", about)


def greedy_clients(seed: int) -> None:
    """Greedy clients run into all limits, while others go on; a shard may die, too."""
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    modest = _modest(run)
    names = [f"g{number}" for number in range(3)]
    greedy = [Greedy(world, rng.randrange(world.gateways), name, rng) for name in names]
    callee = WampClient(world, rng.randrange(world.gateways))
    world.run_until(lambda: all(one.session for one in [callee, *(g.client for g in greedy)]))
    callee.register("greedy.slow", concurrency=2)
    world.run(0.5)
    parts = [*modest, *(one.requests() for one in greedy)]
    if rng.random() < 0.3:
        run.smooth = False
        parts.append([partial(kill_a_shard, world, rng)])
    run.interleave(parts, rng.choice((0.0, 0.001, 0.01)))
    if not run.smooth:
        relink(world)
    world.run(2)
    for one in greedy:
        one.check(smooth=run.smooth)
    _check_shards(world, greedy)
    _check_granted(world, greedy)
    _check_modest(run)
    for one in greedy:
        (one.client.drop if rng.random() < 0.5 else one.client.leave)()
    callee.drop()
    run.end()
    _check_nothing_is_kept(world)
    run.leave()


def full_realms(seed: int) -> None:
    """Clients fill a realm with keys and subscriptions, while shards die and disks fail."""
    rng = Random(f"world {seed}")
    run = Run(
        World(
            seed,
            gateways=rng.choice((1, 2)),
            shards=rng.choice((1, 2, 3)),
            max_delay=rng.choice((0.005, 0.02)),
            unstored=rng.choice(((), (), ("realm1",))),
            realm_limits=REALM,
        )
    )
    world, rng = run.world, run.rng
    fillers = [Filler(world, rng.randrange(world.gateways), f"f{n}", rng) for n in range(3)]
    clients = [WampClient(world, 0, "realm2"), *(one.client for one in fillers)]
    world.run_until(lambda: all(one.session for one in clients))
    parts: list[list[Action]] = [[one.ask] * REQUESTS for one in fillers]
    parts += [[partial(_check_room, world)] * REQUESTS, *_faults(run)]
    run.interleave(parts, rng.choice((0.001, 0.01, 0.03)))
    if not run.smooth:
        relink(world)
    world.run(4)
    _check_values(run, fillers)
    _check_fills(world, clients[0], 60)
    # What has been erased leaves all the room, and no more than that.
    for one in fillers:
        one.erase_all()
    world.run(2)
    _check_values(run, fillers)
    most = world.terms.shards * share(REALM.max_keys, world.terms.shards)
    _check_fills(world, clients[1], most)
    for client in clients:
        client.drop()
    run.end()
    run.leave()


def _faults(run: Run) -> list[list[Action]]:
    """Return the faults of a run with full realms, often none."""
    world, rng = run.world, run.rng
    shards = [name for name in world.names if name.startswith("shard")]
    if rng.random() < 0.3:
        return []
    run.smooth = False
    kills: list[Action] = [partial(kill_a_shard, world, rng)] * rng.choice((0, 1, 3))
    if world.realms[0].store == "memory":
        kills = []  # What was in memory is lost with its shard.
    fails: list[Action] = [partial(fail_disk, world, rng.choice(shards), rng.choice((0.05, 2.5)))]
    return [kills, fails * rng.choice((0, 1))]


def _check_room(world: World) -> None:
    """Check that no process has more of the realm than its share, if it runs."""
    for shard in world.shard_cores:
        quota = shard.retained_keys.realms["realm1"].keys.quota
        keys = share(REALM.max_keys, world.terms.shards)
        size = share(REALM.max_key_bytes, world.terms.shards)
        world.check(quota.count <= keys, f"{shard.name} has {quota.count} keys of {keys}")
        world.check(quota.size <= size, f"{shard.name} has {quota.size} bytes of {size}")
    for number in world.running_gateways:
        realm = world.gateway(number).subscriptions["realm1"]
        most = share(REALM.max_subscriptions, world.gateways)
        world.check(realm.count <= most, f"gateway-{number} has {realm.count} subscriptions")


def _check_values(run: Run, fillers: list[Filler]) -> None:
    """Check that the keys are those that the answers say."""
    world = run.world
    _check_room(world)
    values = [one.values(failing=not run.smooth) for one in fillers]
    expected = {topic: value for one in values for topic, value in one.items()}
    found = {
        topic: json.decode(key.publish.args)[0]
        for shard in world.shard_cores
        for realm in (shard.retained_keys.realms["realm1"],)
        for topic in realm.keys.topics(Pattern.wamp("key", "prefix"))
        if (key := realm.keys.get(topic)) is not None
    }
    world.check(found == expected, f"there is {found}, and there was granted {expected}")


def _check_fills(world: World, client: WampClient, most: int) -> None:
    """Check that the client's realm, which is empty, takes just so many keys of sixty."""
    requests = [client.publish(f"again.{n}", n, acknowledge=True, retain=True) for n in range(60)]
    world.run(2)
    refused = {answer[4] for one in requests if (answer := client.answer(8, one))}
    granted = sum(1 for one in requests if client.answer(17, one))
    world.check(refused <= {EXCEEDED}, f"publishes were refused: {refused}")
    world.check(granted == most, f"an empty realm took {granted} keys, not {most}")
    _check_room(world)


def _world(seed: int) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((1, 2)),
        shards=rng.choice((1, 2, 3)),
        max_delay=rng.choice((0.005, 0.02)),
        queue_limit=QUEUE_LIMIT,
        limits=KEYS,
        settings=GATEWAY,
    )


def _check_modest(run: Run) -> None:
    """Check that all calls of others were answered with results."""
    if run.smooth:
        ends = [called.final for client in run.wamp_clients for called in client.calls]
        failed = [end for end in ends if end is None or end[0] != "result"]
        run.world.check(not failed, f"calls of others ended with {failed}")


def _modest(run: Run) -> list[list[Action]]:
    """Add clients that stay within all limits, and return what they will do."""
    rng, clients, mqtt = run.rng, [run.wamp(), run.wamp()], run.mqtt()
    run.settle()
    parts: list[list[Action]] = [
        [partial(mqtt.publish, "modest/m", qos=rng.randrange(3)) for _ in range(20)]
    ]
    for number, client in enumerate(clients):
        client.subscribe("modest", "prefix")
        client.register(f"modest.{number}")
    run.settle()
    for number, client in enumerate(clients):
        part: list[Action] = []
        for _ in range(25):
            topic, acknowledge = f"modest.{rng.randrange(4)}", rng.random() < 0.5
            part.append(partial(client.publish, topic, acknowledge=acknowledge))
        for _ in range(rng.randrange(GATEWAY.max_calls)):
            place = rng.randrange(len(part))
            part.insert(place, partial(client.call, f"modest.{1 - number}", Plan("yield")))
        parts.append(part)
    return parts


def _check_shards(world: World, greedy: list[Greedy]) -> None:
    """Check that the shards hold what was granted, and no more than the limits allow."""
    shards = world.shard_cores
    waiting = sum(len(shard.stored_publishes.conditional.waiting) for shard in shards)
    known = sum(len(one.unanswered("wait")) for one in greedy)
    world.check(waiting == known, f"{waiting} publishes wait, and {known} were not answered")
    for key in ("awaited.0", "awaited.1"):
        at_key = sum(
            shard.stored_publishes.conditional.waiting.conditions_at(("realm1", key))
            for shard in shards
        )
        world.check(at_key <= KEYS.conditions_per_key, f"{at_key} conditions at {key}")
    for one in greedy:
        owned = len(one.granted("own"))
        limit = KEYS.owned_per_session * len(shards)
        world.check(owned <= limit, f"{one.name} owns {owned} keys")
        asked = sum(1 for kind, _ in one.asked.values() if kind == "own")
        at_least = min(asked, KEYS.owned_per_session)
        world.check(owned >= at_least, f"{one.name} owns {owned} keys, of {asked}", (one.name,))


def _check_granted(world: World, greedy: list[Greedy]) -> None:
    """Check that subscriptions, keys and registrations that were granted are there."""
    witness = WampClient(world, 0)
    world.run_until(lambda: bool(witness.session))
    request = witness.subscribe("own.", match="prefix", get_retained=True)
    for one in greedy:
        for kind, name in one.asked.values():
            if kind == "subscribe":
                witness.publish(f"greedy.{name}", name)
    world.run(1)
    world.check(witness.answer(SUBSCRIBED, request), "the witness is not subscribed")
    for one in greedy:
        kept = [name for name in witness.events if name.startswith(f"{one.name}.")]
        granted = one.granted("own")
        world.check(sorted(kept) == sorted(granted), f"keys {kept}, granted {granted}", (one.name,))
        seen, granted = one.client.events, one.granted("subscribe")
        world.check(sorted(seen) == sorted(granted), f"saw {seen}, of {granted}", (one.name,))
        names = {f"greedy.{name}" for name in one.granted("register")}
        registered = {
            procedure
            for shard in world.shard_cores
            for realm in shard.dealer.realms.values()
            for procedure in realm.exact
            if procedure.startswith(f"greedy.{one.name}.")
        }
        world.check(registered == names, f"registered {registered}, granted {names}", (one.name,))
    witness.drop()


def _check_nothing_is_kept(world: World) -> None:
    """Check that nothing is left of the greedy clients, so that others have all room again."""
    become_quiet(world)
    for shard in world.shard_cores:
        world.check(shard.retained_keys.owners.idle, f"{shard.name} knows of owners")
        world.check(not shard.retained_keys.keys_held, f"{shard.name} has keys")
        waiting = len(shard.stored_publishes.conditional.waiting)
        world.check(not waiting, f"{waiting} publishes still wait at {shard.name}")
