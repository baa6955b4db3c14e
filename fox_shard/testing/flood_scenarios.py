"""Scenarios of clients that send as much as they can to one shard.

Owns: what floods the shard, and how long others may wait meanwhile. Never: floods that are refused
for a limit (see `limit_scenarios`). Each takes a seed, and raises AssertionError with the trace.

The promise: no more waits for the shard than there is credit for, so whoever sends little comes
through after a few batches, however much others have sent before; and those are answered all the
same, in order.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import final

from fox_shard.backplane.frames import Call, Publish
from fox_shard.backplane.terms import KEY, REQUEST
from fox_shard.gateway.clients.turns import TURN
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.world import World

REQUESTS = 800
"""Requests of each client that floods a shard, all at once."""

ROUNDS = 6
"""How often a shard may be sent all that it gives credit for, while a request is on its way to it.

Two rounds take as many hops, some of which take much longer than others.
"""


Client = MqttClient | WampClient

Asked = tuple[Client, Callable[[], bool]]
"""Who has sent something, and what tells whether it is answered."""

Ask = Callable[[], Asked]


@final
class Flood:
    """A client that sends `REQUESTS` requests in one piece."""

    def __init__(self, world: World, gateway: int, name: str, topics: list[str], kind: str) -> None:
        """kind: "mqtt" or "wamp", which publish keys; or "calls"."""
        self._topics = topics
        self._kind = kind
        self.client: Client
        if kind == "mqtt":
            self.client = MqttClient(world, gateway, name)
        else:
            self.client = WampClient(world, gateway)

    @property
    def joined(self) -> bool:
        """Whether the client has its session."""
        client = self.client
        return client.connected if isinstance(client, MqttClient) else client.session > 0

    def begin(self) -> None:
        """Send everything."""
        client = self.client
        with client.wire.together():
            for number in range(REQUESTS):
                # Another one each time, or many publishes would be handled as one.
                topic = self._topics[number % len(self._topics)]
                if isinstance(client, MqttClient):
                    path = topic.replace(".", "/")
                    client.publish(path, b"%d" % number, qos=1, retain=True)
                elif self._kind == "wamp":
                    client.publish(topic, number, acknowledge=True, retain=True)
                else:
                    client.call(topic)

    @property
    def answers(self) -> list[int]:
        """Which requests are answered, in the order of the answers."""
        client = self.client
        if isinstance(client, MqttClient):
            return client.acknowledged
        # PUBLISHED, and the ERRORs of calls.
        return [one[2] if one[0] == 8 else one[1] for one in client.inbox if one[0] in (8, 17)]


def floods(seed: int) -> None:
    """Some clients flood a shard with keys or calls, and others go on."""
    rng = Random(f"world {seed}")
    credit = rng.choice((16, 40))
    world = World(
        seed,
        gateways=rng.choice((1, 2)),
        shards=rng.choice((1, 2)),
        max_delay=rng.choice((0.005, 0.02)),
        work_credit=KEY * credit,
        units=rng.choice((1000, TURN)),
    )
    rng = world.rng
    world.run_until(lambda: world.linked)
    topics = _topics_of_one_shard(world, 13)
    attacks = [
        Flood(world, rng.randrange(world.gateways), f"f{n}", topics[n : n + 3], rng.choice(KINDS))
        for n in range(0, 9, 3)
    ]
    modest = _modest(world, topics[9:])
    world.run_until(lambda: all(one.joined for one in attacks))
    world.run(0.5)
    for attack in attacks:
        world.at(world.now + rng.uniform(0, 0.01), attack.begin)
    # Whoever is told to wait has sent one request too many.
    most = KEY * credit + (len(attacks) + len(modest)) * (KEY + 1)
    _run(world, most, partial(_is_past, world, world.now + rng.uniform(0.01, 0.05)))
    for _ in range(4):
        world.trace.entries.clear()
        client, answered = rng.choice(modest)()
        _run(world, most, answered)
        # The trace has no batches that are handed over within one process.
        passed = 0 if world.is_one_process else _passed(world, attacks, client)
        at_most = ROUNDS * world.gateways * most // REQUEST
        world.check(passed <= at_most, f"{passed} requests came first, not {at_most}")
    _run(world, most, lambda: all(len(one.answers) == REQUESTS for one in attacks))
    for attack in attacks:
        in_order = sorted(attack.answers)
        world.check(attack.answers == in_order, "answers to one client were not in order")
        attack.client.drop()
    become_quiet(world)


def _is_past(world: World, when: float) -> bool:
    return world.now >= when


def _run(world: World, most: int, holds: Callable[[], bool]) -> None:
    """Let time pass until the condition holds; check that so much work, at most, is in flight."""

    def check() -> bool:
        for number in range(world.gateways):
            for link in world.gateway(number).links:
                work = link.work_in_flight
                world.check(work <= most, f"{work} units of work in flight, not {most}")
        return holds()

    world.run_until(check)


def _passed(world: World, attacks: list[Flood], client: Client) -> int:
    """Return how many requests of floods came to their shard before the client's first one."""
    floods_of = {attack.client.wire.session for attack in attacks}
    passed = 0
    for _, process, batch in world.trace.entries:
        if isinstance(batch, str) or not process.startswith("shard"):
            continue
        for frame in batch.frames:
            if isinstance(frame, Publish | Call):
                if frame.session == client.wire.session:
                    return passed
                passed += frame.session in floods_of
    raise AssertionError("the client's request is not in the trace")


KINDS = ("mqtt", "wamp", "calls")


def _topics_of_one_shard(world: World, count: int) -> list[str]:
    """Return so many topics that belong to the same shard."""
    realm = world.gateway(0).realms["realm1"]
    names = [f"t.{number}" for number in range(20 * count)]
    owner = realm.shard_of(names[0])
    return [name for name in names if realm.shard_of(name) == owner][:count]


def _modest(world: World, names: list[str]) -> list[Ask]:
    """Return functions that each send something, and return who did and whether it is answered."""
    rng = world.rng
    mqtt = MqttClient(world, rng.randrange(world.gateways), "modest")
    wamp = WampClient(world, rng.randrange(world.gateways))

    def invoked(message: list[object]) -> None:
        if message[0] == 68:
            callee.send([70, message[1], {}, ["done"]])

    callee = WampClient(world, rng.randrange(world.gateways), on_message=invoked)
    world.run_until(lambda: mqtt.connected and wamp.session > 0 and callee.session > 0)
    topic, key, procedure, heard = names
    callee.register(procedure)
    mqtt.subscribe(heard.replace(".", "/"))
    world.run(0.5)

    def publish_at_qos_1() -> Asked:
        packet = mqtt.publish(topic.replace(".", "/"), b"1", qos=1, retain=rng.random() < 0.5)
        return mqtt, lambda: packet in mqtt.acknowledged

    def publish_a_key() -> Asked:
        request = wamp.publish(key, 1, acknowledge=True, retain=True)
        return wamp, lambda: wamp.answer(17, request) is not None

    def call() -> Asked:
        request = wamp.call(procedure)
        return wamp, lambda: wamp.answer(50, request) is not None

    def publish_at_qos_0() -> Asked:
        count = len(mqtt.messages)
        wamp.publish(heard, 1)
        return wamp, lambda: len(mqtt.messages) > count

    return [publish_at_qos_1, publish_a_key, call, publish_at_qos_0]
