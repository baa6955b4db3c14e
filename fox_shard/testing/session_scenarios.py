"""Scenarios of sessions: the registry, meta events, take-overs, a coordinator that dies.

Owns: what happens in each, and what must be true of sessions. Each takes a seed, and raises
AssertionError with the trace.
"""

from collections import Counter
from functools import partial
from random import Random
from typing import Any

from fox_shard.backplane.placement import ON_JOIN, ON_LEAVE
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.faults import kill, kill_a_shard
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World


def _world(seed: int) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 3, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
    )


class Watcher:
    """A client that is subscribed to the session meta events of its realm."""

    def __init__(self, world: World, gateway: int, realm: str = "realm1") -> None:
        self.client = WampClient(world, gateway, realm)
        world.run_until(lambda: self.client.session > 0)
        requests = [self.client.subscribe(ON_JOIN), self.client.subscribe(ON_LEAVE)]
        world.run_until(lambda: all(self.client.answer(33, one) for one in requests))
        self._topics = {
            message[2]: topic
            for message, topic in zip(self.client.of(33), (ON_JOIN, ON_LEAVE), strict=True)
        }
        if [message[1] for message in self.client.of(33)] != requests:
            self._topics = dict(zip(self._topics, (ON_LEAVE, ON_JOIN), strict=True))

    def told(self, topic: str) -> Counter[int]:
        """Return how often each session was in an event on the topic."""
        return Counter(
            args[0]["session"] if topic == ON_JOIN else args[0]
            for _, subscription, _, _, args in self.client.of(36)
            if self._topics[subscription] == topic
        )

    def check_order(self, world: World) -> None:
        """Check that no session left before it joined. Raises AssertionError."""
        left: set[int] = set()
        for _, subscription, _, _, args in self.client.of(36):
            if self._topics[subscription] == ON_LEAVE:
                left.add(args[0])
            else:
                session = args[0]["session"]
                world.check(session not in left, f"{session} left before it joined", (ON_JOIN,))

    def call(self, world: World, procedure: str, *args: Any) -> list[Any]:  # noqa: ANN401
        """Call a procedure; return the arguments of RESULT, or [the URI of ERROR]."""
        request = self.client.call(procedure, *args)
        world.run_until(
            lambda: bool(self.client.answer(50, request) or self.client.answer(8, request))
        )
        result, error = self.client.answer(50, request), self.client.answer(8, request)
        if error:
            return [error[4]]
        return result[3] if result and len(result) > 3 else []


def registry(seed: int) -> None:
    """The sessions of all gateways are listed, and each is announced exactly once."""
    world = _world(seed)
    run = Run(world)
    rng = run.rng
    watchers = [Watcher(world, gateway) for gateway in range(world.gateways)]
    stranger = Watcher(world, 0, "realm2")
    world.run(1)
    before = [watcher.told(ON_JOIN) for watcher in watchers]
    parts: list[list[Action]] = [[partial(_come_and_perhaps_go, run)] for _ in range(12)]
    run.interleave(parts, 0.02)
    become_quiet(world)
    here = {session_of(one) for one in run.clients if one.connected}
    gone = {session_of(one) for one in run.clients if not one.connected and session_of(one)}
    for watcher, known in zip(watchers, before, strict=True):
        watcher.check_order(world)
        joined = watcher.told(ON_JOIN) - known
        left = watcher.told(ON_LEAVE)
        if joined != Counter(here | gone) or left != Counter(gone):
            what = f"told of {joined} and {left}, not of {here | gone} and {gone}"
            raise AssertionError(world.report(what))
        others = {one.client.session for one in watchers}
        listed = watcher.call(world, "wamp.session.list")[0]
        world.check(sorted(listed) == sorted(here | others), f"listed {listed}")
        counted = watcher.call(world, "wamp.session.count")
        world.check(counted == [len(here | others)], f"counted {counted}")
    told = stranger.told(ON_JOIN) + stranger.told(ON_LEAVE)
    world.check(not told - Counter([stranger.client.session]), f"a stranger was told of {told}")
    listed = stranger.call(world, "wamp.session.list")
    world.check(listed == [[stranger.client.session]], f"a stranger listed {listed}")
    _check_get_and_kill(run, watchers[rng.randrange(len(watchers))])
    run.leave([*(one.client for one in watchers), stranger.client])


def _come_and_perhaps_go(run: Run) -> None:
    """Add a client, which may leave again soon, with or without a goodbye."""
    rng, world = run.rng, run.world
    one = run.wamp() if rng.random() < 0.5 else run.mqtt()
    if rng.random() < 0.5:
        graceful = rng.random() < 0.5
        stay = rng.choice((0.0, 0.02, 0.2))

        def go() -> None:
            if one.ready:
                one.leave(graceful=graceful)
            else:
                world.at(world.now + 0.01, go)

        world.at(world.now + stay, go)


def session_of(one: object) -> int:
    """Return a client's session id, which an MQTT client does not know itself."""
    if isinstance(one, RecordingWampClient):
        return one.session
    assert isinstance(one, RecordingMqttClient)
    return one.client.wire.session


def _check_get_and_kill(run: Run, watcher: Watcher) -> None:
    world = run.world
    victims = [one for one in run.clients if one.connected]
    if not victims:
        return
    one = run.rng.choice(victims)
    session = session_of(one)
    (details,) = watcher.call(world, "wamp.session.get", session)
    protocol = "wamp" if isinstance(one, RecordingWampClient) else "mqtt"
    found = (details["session"], details["transport"]["protocol"][:4])
    world.check(found == (session, protocol), f"got {details}")
    watcher.call(world, "wamp.session.kill", session)
    if run.rng.random() < 0.3:
        # The order to end the session gets lost, but the caller has been told that it ends.
        assert isinstance(one, RecordingClient)
        world.sever("coordinator", f"gateway-{one.gateway}", notify=run.rng.random() < 0.5)
    world.run_until(
        lambda: one.closed or (isinstance(one, RecordingWampClient) and bool(one.client.of(6)))
    )
    become_quiet(world)
    world.check(watcher.told(ON_LEAVE)[session] == 1, f"{session} left unnoticed")
    answer = watcher.call(world, "wamp.session.get", session)
    world.check(answer == ["wamp.error.no_such_session"], f"{session} is still there: {answer}")


def takeovers(seed: int) -> None:
    """The last of several clients with one client id remains, at any gateway [MQTT-3.1.4-2]."""
    world = _world(seed)
    run = Run(world)
    watcher = Watcher(world, 0)
    world.run(1)
    before = watcher.told(ON_JOIN)
    pause = run.rng.choice((0.0, 0.01, 0.1))
    actions = [
        partial(run.mqtt, client_id=f"client {run.rng.randrange(2)}", will=("a.x", 1))
        for _ in range(8)
    ]
    one_by_one = run.rng.random() < 0.3
    if one_by_one:
        for action in actions:
            action()
            world.run(2 * world.timing.max_delay + 0.01)
    else:
        run.perform(actions, pause)
    become_quiet(world)
    watcher.check_order(world)
    joined, left = watcher.told(ON_JOIN) - before, watcher.told(ON_LEAVE)
    clients_with_wills = [one for one in run.clients if isinstance(one, RecordingMqttClient)]
    names = {one.client_id for one in clients_with_wills}
    survivors = Counter(one.client_id for one in clients_with_wills if one.connected)
    if survivors != Counter(names):
        raise AssertionError(world.report(f"left are {survivors}"))
    if max([*joined.values(), *left.values()]) > 1 or len(joined) != len(left) + len(names):
        raise AssertionError(world.report(f"told {joined}, {left}"))
    for name in names if one_by_one else ():
        here = [one.connected for one in clients_with_wills if one.client_id == name]
        world.check(here[-1], f"{name}: {here}")
    coordinator = world.nodes["coordinator"]
    assert isinstance(coordinator, CoordinatorNode)
    world.check(coordinator.core.session_count() == len(names) + 1, "the count is wrong")


class Device:
    """An MQTT client that publishes `online`, retained, and has a will that says `offline`.

    eager: it publishes without waiting for CONNACK [MQTT-3.1.4-5].
    """

    def __init__(self, run: Run, client_id: str, number: int, *, eager: bool) -> None:
        self.client_id = client_id
        self.topic = f"presence/{client_id}"
        self._payload = b"online %d" % number
        self._qos = run.rng.choice((0, 1, 2))
        will = mqtt.Will(self.topic, b"offline %d" % number, 1, retain=True)
        gateway = run.rng.randrange(run.world.gateways)
        on_packet = None if eager else self._on_packet
        self.client = MqttClient(run.world, gateway, client_id, on_packet, will=will)
        if eager:
            self._publish()

    @property
    def online(self) -> tuple[str, bytes]:
        """The topic and payload that its presence has, unless it has been taken over."""
        return self.topic, self._payload

    def _on_packet(self, packet: mqtt.Packet) -> None:
        if isinstance(packet, mqtt.Connack):
            self._publish()

    def _publish(self) -> None:
        self.client.publish(self.topic, self._payload, self._qos, retain=True)


def presence_of_taken_over_clients(seed: int) -> None:
    """What the old session's end causes comes before whatever the new session does.

    CONNACK waits for it [MQTT-3.1.4-2], even if the old gateway cannot reach a shard for a while.
    """
    world = _world(seed)
    run = Run(world)
    rng = run.rng
    watcher = MqttClient(world, rng.randrange(world.gateways))
    request = watcher.subscribe("presence/#", qos=1)
    world.run_until(lambda: request in watcher.subscribed)
    devices: list[Device] = []

    def connect(client_id: str) -> None:
        devices.append(Device(run, client_id, len(devices), eager=rng.random() < 0.5))

    actions: list[Action] = [partial(connect, f"d{rng.randrange(3)}") for _ in range(12)]
    pairs = [pair for pair in world.pairs() if pair[0][:7] == "gateway" and pair[1][:5] == "shard"]
    faults: list[Action] = [
        partial(world.sever, *rng.choice(pairs), notify=rng.random() < 0.5)
        for _ in range(rng.choice((0, 2)))
    ]
    run.interleave([actions, faults], rng.choice((0.0, 0.01, 0.1, 0.3)))
    world.run(10)
    become_quiet(world)
    here = [device for device in devices if not device.client.closed]
    expected = dict(device.online for device in here)
    names = {device.client_id for device in devices}
    world.check(len(here) == len(names) == len(expected), f"{len(here)} are left of {names}")
    late = MqttClient(world, rng.randrange(world.gateways))
    late.subscribe("presence/#")
    world.run(1)
    for one in (watcher, late):
        seen = {message.topic: message.payload for message in one.messages}
        world.check(seen == expected, f"presence is {seen}, not {expected}", ("presence",))


def coordinator_remembers(seed: int) -> None:
    """Sessions are announced just once, also if the coordinator dies again and again."""
    world = _world(seed)
    run = Run(world)
    rng = run.rng
    watcher = Watcher(world, 0)
    world.run(1)
    before = watcher.told(ON_JOIN)
    parts: list[list[Action]] = [[partial(_come_and_perhaps_go, run)] for _ in range(20)]
    parts.append([partial(_restart_coordinator, world, rng) for _ in range(rng.choice((1, 3)))])
    if rng.random() < 0.5:
        parts.append([partial(kill_a_shard, world, rng)])
    run.interleave(parts, rng.choice((0.01, 0.1)))
    world.run(10)
    world.run_until(lambda: world.linked)
    become_quiet(world)
    watcher.check_order(world)
    joined, left = watcher.told(ON_JOIN) - before, watcher.told(ON_LEAVE)
    here = Counter(session_of(one) for one in run.clients if one.connected)
    gone = Counter(session_of(one) for one in run.clients if not one.connected)
    world.check(joined == here + gone, f"told that {joined} came, not {here + gone}")
    world.check(left == gone, f"told that {left} went, not {gone}")
    listed = watcher.call(world, "wamp.session.list")[0]
    world.check(sorted(listed) == sorted([*here, watcher.client.session]), f"listed {listed}")
    run.leave([watcher.client])


def _restart_coordinator(world: World, rng: Random) -> None:
    kill(world, "coordinator", rng)
