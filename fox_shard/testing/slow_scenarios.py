"""Scenarios of clients that read too slowly, where that costs them events.

Owns: what happens in each, and what must be true of the events. Each takes a seed, and raises
AssertionError with the trace.

The promise: a slow client misses only events that may be dropped, each of which is counted; what it
gets comes in order; and it misses nothing in state streams, after a cursor or at quality of service
1. Sockets have no buffers here, so the scenario itself says when a client is behind.
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final, final

from fox_shard.config import Gateway, History
from fox_shard.gateway.core import Gateway as GatewayCore
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World
from fox_shard.topics.topic import to_mqtt

TIMES = 40
"""How many events each publisher publishes."""

OPTIONS: Final[dict[str, dict[str, Any]]] = {"state": {"retained": True}, "after": {"after": 0}}
"""Kind of a client that is promised to miss nothing → options of its subscription."""

HISTORY = (History(topic="s.", match="prefix"),)


@final
class Slow:
    """A client that is now and then behind. kind: what it subscribes to.

    got: returns the values that it has got.
    """

    def __init__(self, world: World, rng: Random, kind: str) -> None:
        self.world = world
        self.kind = kind
        self.gateway = rng.randrange(world.gateways)
        self.got: Callable[[], list[Any]]
        if kind.startswith("qos"):
            mqtt = self.client = MqttClient(world, self.gateway)
            self.wire = mqtt.wire
            self.got = lambda: [int(payload) for payload in mqtt.payloads]
            world.run_until(lambda: mqtt.connected)
            mqtt.subscribe("s/#", qos=int(kind[-1]))
        else:
            wamp = WampClient(world, self.gateway)
            self.wire = wamp.wire
            self.got = lambda: list(wamp.events)
            world.run_until(lambda: bool(wamp.session))
            options = OPTIONS.get(kind, {})
            wamp.subscribe("s.", match="prefix", **options)

    def fall_behind(self) -> None:
        """Let too much wait for the client."""
        self.world.gateway(self.gateway).fell_behind(self.wire.connection)

    def catch_up(self) -> None:
        """Let nothing wait for the client."""
        self.world.gateway(self.gateway).caught_up(self.wire.connection)


def slow_consumers(seed: int) -> None:
    """Clients fall behind and catch up while events come."""
    rng = Random(f"world {seed}")
    world = World(
        seed,
        gateways=rng.choice((1, 2)),
        shards=rng.choice((1, 2, 3)),
        max_delay=rng.choice((0.005, 0.02)),
        settings=Gateway(slow_consumer="drop"),
        history=HISTORY,
    )
    run = Run(world)
    world.run_until(lambda: world.linked)
    kinds = ("plain", "plain", "state", "after", "qos0", "qos1")
    slow = [Slow(world, rng, kind) for kind in kinds]
    wamp, mqtt = WampClient(world, 0), MqttClient(world, world.gateways - 1)
    world.run_until(lambda: bool(wamp.session) and mqtt.connected)
    world.run(1)
    retained: list[int] = []
    parts: list[list[Action]] = [
        [partial(_publish, wamp, value, rng, retained) for value in range(TIMES)],
        [
            partial(mqtt.publish, to_mqtt(_topic_of(value)), b"%d" % value, 1)
            for value in range(TIMES, 2 * TIMES)
        ],
    ]
    for one in slow:
        steps: list[Action] = [one.fall_behind, one.catch_up] * rng.randrange(1, 8)
        parts.append(steps)
    run.interleave(parts, rng.choice((0.0, 0.002, 0.01)))
    world.run(1)
    _check(world, slow, retained)
    become_quiet(world)
    for client in (*(one.wire for one in slow), wamp.wire, mqtt.wire):
        client.close()
    run.leave()
    for number in range(world.gateways):
        queueing = world.gateway(number).realms["realm1"].queueing
        world.check(not queueing, f"gateway-{number} still asks {queueing} about events")


def _publish(client: WampClient, value: int, rng: Random, retained: list[int]) -> None:
    options: dict[str, Any] = {"acknowledge": rng.random() < 0.5}
    if rng.random() < 0.5:
        options["retain"] = True
        retained.append(value)
    client.publish(_topic_of(value), value, **options)


def _topic_of(value: int) -> str:
    return f"s.w{value % 3}" if value < TIMES else f"s.m{value % 2}"


def _publisher_of(value: int) -> str:
    return "wamp" if value < TIMES else "mqtt"


def _check(world: World, slow: Sequence[Slow], retained: list[int]) -> None:
    everything = {*range(2 * TIMES)}
    missed = 0
    for one in slow:
        got = one.got()
        # State streams and followers have an order for each topic only, the others for a publisher.
        key = _topic_of if one.kind in OPTIONS else _publisher_of
        for source in {key(value) for value in got}:
            mine = [value for value in got if key(value) == source]
            world.check(mine == sorted({*mine}), f"{one.kind} got {mine}")
        due = {
            "state": {*retained},
            "after": everything,
            "qos1": {*range(TIMES, 2 * TIMES)},
        }.get(one.kind, set())
        lost = due.difference(got)
        world.check(not lost, f"{one.kind} missed {lost}")
        if one.kind != "state":
            missed += len(everything) - len(got)
    gateways = [node for node in world.nodes.values() if isinstance(node, GatewayCore)]
    counted = sum(one.limit_counts.totals().get("slow_consumer", 0) for one in gateways)
    world.check(counted == missed, f"{missed} events are missing, {counted} were dropped")
