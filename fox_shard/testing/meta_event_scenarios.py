"""Scenarios of the meta events of registrations and subscriptions.

Owns: who registers and subscribes while others listen, which faults happen, and that what listeners
are told adds up. Each takes a seed, and raises AssertionError with the trace.
"""

from functools import partial
from random import Random
from typing import Any, final

from fox_shard.backplane.placement import META_EVENTS
from fox_shard.gateway.core import Gateway
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.faults import fail_disk, kill, lose, relink, sever
from fox_shard.testing.meta_scenarios import PATTERNS, REALM, Member
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.world import World

KINDS = tuple(META_EVENTS)

Truth = dict[str, dict[int, set[int]]]
"""Kind -> id of a registration or subscription -> its sessions."""


@final
class Listener:
    """A client that subscribes to all meta events, and what they add up to.

    known: what there was when it subscribed, and then what it was told.
    """

    def __init__(self, world: World, gateway: int, how: str) -> None:
        """how: `exact`: to each topic; `prefix`, `wildcard`: to all topics of a kind."""
        self._world = world
        self._how = how
        self._topics: dict[int, str] = {}
        self._seen = 0
        self.client = WampClient(world, gateway)
        self.known: Truth = {}

    def listen(self) -> None:
        """Subscribe, and begin with what there is once that stands."""
        world, client = self._world, self.client
        world.run_until(lambda: bool(client.session))
        requests: dict[int, str] = {}
        for kind in KINDS:
            if self._how == "exact":
                for topic in META_EVENTS[kind]:
                    requests[client.subscribe(topic)] = topic
            elif self._how == "prefix":
                requests[client.subscribe(f"wamp.{kind}.", match="prefix")] = ""
            else:
                requests[client.subscribe(f"wamp.{kind}.", match="wildcard")] = ""
        world.run_until(lambda: all(client.answer(33, request) for request in requests))
        for request, topic in requests.items():
            answer = client.answer(33, request)
            assert answer is not None
            self._topics[answer[2]] = topic

    def begin(self) -> None:
        """Forget all events so far, and begin with what there is. Nothing may be going on."""
        self._seen = len(self.client.of(36))
        self.known = truth(self._world)

    def add_up(self) -> None:
        """Apply the events since the last call, each of which must be possible."""
        events = self.client.of(36)
        for message in events[self._seen :]:
            topic = self._topics[message[1]] or message[3]["topic"]
            self._apply(topic, message[4])
        self._seen = len(events)

    def _apply(self, topic: str, args: list[Any]) -> None:
        kind = topic.split(".")[1]
        of = self.known.setdefault(kind, {})
        session, step = args[0], META_EVENTS[kind].index(topic)
        id_ = args[1]["id"] if step == 0 else args[1]
        members = of.get(id_)
        possible = (
            members is None,
            members is not None and session not in members,
            members is not None and session in members,
            members is not None and not members,
        )[step]
        self._world.check(possible, f"{topic} {args} came when there were {members}")
        if step == 0:
            of[id_] = set()
        elif step == 1:
            of[id_].add(session)
        elif step == 2:
            of[id_].remove(session)
        else:
            del of[id_]

    def check(self) -> None:
        """Check that what it was told is what there is."""
        self.add_up()
        right = truth(self._world)
        for kind in KINDS:
            told, true = self.known.get(kind, {}), right[kind]
            self._world.check(told == true, f"{kind}s are {true}, but were told as {told}")


def truth(world: World) -> Truth:
    """Return what there is, as the gateways know it."""
    found: Truth = {kind: {} for kind in KINDS}
    for gateway in world.nodes.values():
        if isinstance(gateway, Gateway):
            for id_, subscribers in gateway.subscriptions[REALM].by_id.items():
                sessions = {session.id for session in subscribers.sessions()}
                if sessions:
                    found["subscription"].setdefault(id_, set()).update(sessions)
            for session in gateway.sessions.values():
                for id_ in session.registrations or ():
                    found["registration"].setdefault(id_, set()).add(session.id)
    return found


def _world(seed: int) -> tuple[World, Random]:
    rng = Random(f"meta events {seed}")
    world = World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 3, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
    )
    world.run_until(lambda: world.linked)
    return world, rng


def _welcome(world: World, members: list[Member]) -> None:
    world.run_until(lambda: all(one.client.session or one.gone for one in members))


def _act(world: World, rng: Random, members: list[Member], device: MqttClient, times: int) -> None:
    """Let members do what they like, without waiting for one another."""
    for _ in range(times):
        one = rng.choice(members)
        if not one.gone:
            uri, match = rng.choice(PATTERNS)
            chosen = rng.choice(
                (
                    partial(one.client.register, uri, match=match, invoke="roundrobin"),
                    partial(one.client.register, uri, match=match, force_reregister=True),
                    partial(one.client.subscribe, uri, match=match),
                    partial(one.client.subscribe, uri, match=match, filter={"n": 1}),
                    partial(_give_up, one.client, rng),
                    partial(_give_up, one.client, rng),
                    partial(device.subscribe, rng.choice(("a/b", "a/+/x", "b"))),
                    partial(device.unsubscribe, rng.choice(("a/b", "a/+/x", "b"))),
                )
            )
            chosen()
            if rng.random() < 0.05 and sum(not member.gone for member in members) > 3:
                one.leave(graceful=rng.random() < 0.5)
        if rng.random() < 0.5:
            world.run(rng.choice((0.001, 0.02, 0.1)))


def _give_up(client: WampClient, rng: Random) -> None:
    """Unregister or unsubscribe something, perhaps once more."""
    code, answers = rng.choice(((66, client.of(65)), (34, client.of(33))))
    if answers:
        client.request(code, rng.choice(answers)[2])


def told(seed: int) -> None:
    """Listeners are told what begins and ends, whenever and however they began to listen."""
    world, rng = _world(seed)
    members = [Member(world, n % world.gateways) for n in range(rng.choice((4, 8)))]
    _welcome(world, members)
    device = MqttClient(world, rng.randrange(world.gateways))
    world.run_until(lambda: device.connected)
    listeners: list[Listener] = []
    for _ in range(3):
        _act(world, rng, members, device, 15)
        become_quiet(world)
        for listener in listeners:
            listener.check()
        how = rng.choice(("exact", "prefix", "wildcard"))
        listener = Listener(world, rng.randrange(world.gateways), how)
        listener.listen()
        become_quiet(world)
        listener.begin()
        listeners.append(listener)
    _act(world, rng, members, device, 20)
    become_quiet(world)
    for listener in listeners:
        listener.check()


def told_at_once(seed: int) -> None:
    """What begins after a listener's SUBSCRIBED is told, though all had to be found out first."""
    world, rng = _world(seed)
    members = [Member(world, n % world.gateways) for n in range(4)]
    _welcome(world, members)
    for one in members:
        one.subscribe("a.b", "exact")
        one.register("a.b", "exact")
    become_quiet(world)
    listener = Listener(world, rng.randrange(world.gateways), "prefix")
    before = truth(world)
    listener.listen()
    late = rng.choice(members)
    late.subscribe("b", "exact")
    late.register("b", "exact")
    become_quiet(world)
    wanted = [
        message[4][:2] for message in listener.client.of(36) if message[4][0] == late.client.session
    ]
    created = [args[1]["id"] for args in wanted if isinstance(args[1], dict)]
    joined = [args[1] for args in wanted if not isinstance(args[1], dict)]
    right = sorted(set(late.subscribed) | set(late.registered))
    new = [id_ for id_ in right if not any(id_ in of for of in before.values())]
    world.check(sorted(created) == sorted(joined) == new, f"{new} came, and {wanted} was told")


def told_after_faults(seed: int) -> None:
    """The same holds if processes are killed, connections break, or disks fail."""
    world, rng = _world(seed)
    members = [Member(world, n % world.gateways) for n in range(8)]
    _welcome(world, members)
    device = MqttClient(world, 0)
    world.run_until(lambda: device.connected)
    _act(world, rng, members, device, 10)
    become_quiet(world)
    # Their gateway lives on.
    listeners = [Listener(world, 0, how) for how in ("exact", "prefix")]
    for listener in listeners:
        listener.listen()
    become_quiet(world)
    for listener in listeners:
        listener.begin()
    for _ in range(3):
        _act(world, rng, members, device, 12)
        _fault(world, rng)
        _act(world, rng, members, device, 12)
        relink(world)
        become_quiet(world)
        for listener in listeners:
            listener.check()
        members += [Member(world, n % world.gateways) for n in range(2)]
        _welcome(world, members)
    become_quiet(world)
    for listener in listeners:
        listener.check()


def _fault(world: World, rng: Random) -> None:  # noqa: C901 - a table
    names = [name for name in world.names if name != "gateway-0"]
    shards = [name for name in names if name.startswith("shard")]
    match rng.choice(("gateway", "shard", "coordinator", "sever", "lose", "disk", "pause", "any")):
        case "gateway":
            kill(world, f"gateway-{rng.randrange(1, world.gateways)}", rng)
        case "shard":
            kill(world, rng.choice(shards), rng)
        case "coordinator":
            kill(world, "coordinator", rng)
        case "sever":
            sever(world, rng)
        case "lose":
            lose(world, rng)
        case "disk":
            fail_disk(world, rng.choice((*shards, "coordinator")), rng.choice((0.1, 1.0)))
        case "pause":
            # For longer than others wait: a gateway ends its sessions then.
            world.pause(rng.choice(names), rng.choice((1.0, 6.0, 14.0)))
            world.run(14.0)
        case _:
            for name in rng.sample(names, 2):
                kill(world, name, rng)
