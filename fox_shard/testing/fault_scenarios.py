"""Scenarios in which processes are killed, connections break, and batches get lost.

Owns: what happens in each, and what must be true afterwards. Each takes a seed, and raises
AssertionError with the trace.
"""

from functools import partial
from random import Random

from fox_shard.testing.checks import check_events
from fox_shard.testing.faults import DOWN, RECOVERY, kill, kill_a_shard, lose, recover, sever
from fox_shard.testing.pubsub_scenarios import (
    TOPICS,
    come_and_go,
    publishing,
    subscribe_somewhere,
)
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.records import Plan
from fox_shard.testing.rpc_checks import check_invocation_order
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

PROCEDURES = (("one", "exact"), ("two", "exact"), ("three.", "prefix"), ("*.four", "exact"))
PAUSES = (0.5, 3.0, 5.5, 8.0, 12.0, 25.0)
"""Possible seconds of a pause: below `peer_timeout`, about it, and well beyond it."""

CALLED = ("one", "two", "three.x", "three.y", "a.four", "b.four")


def fault_world(seed: int) -> World:
    """Make a world of random size."""
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((2, 3, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
    )


# Faults


def _break_links(run: Run) -> list[Action]:
    rng, world = run.rng, run.world
    return [partial(rng.choice((sever, lose)), world, rng) for _ in range(rng.choice((1, 2, 4)))]


def _break_processes(run: Run, kinds: str) -> list[Action]:
    rng, world = run.rng, run.world
    names = [name for name in world.names if name.startswith(kinds)]
    return [partial(kill, world, rng.choice(names), rng) for _ in range(rng.choice((1, 1, 2)))]


def pauses(run: Run) -> list[Action]:
    """Pause random processes, some of which seem to be at work."""
    rng, world = run.rng, run.world
    return [
        partial(world.pause, rng.choice(world.names), rng.choice(PAUSES), busy=rng.random() < 0.3)
        for _ in range(rng.choice((1, 2, 4)))
    ]


# Traffic during faults


def traffic_and_faults(seed: int, kinds: str) -> Run:
    """Run traffic while something breaks, and check that everything works afterwards.

    kinds: beginning of the names of processes to kill, or `links`, or `pauses`.
    """
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    publishers: list[RecordingClient] = [run.wamp(), run.mqtt(), run.wamp(), run.mqtt()]
    for gateway in range(world.gateways):
        for one in (run.wamp(gateway), run.mqtt(gateway)):
            subscribe_somewhere(run, one)
    movers = [run.wamp(), run.mqtt()]
    callees, callers = [run.wamp(), run.wamp()], [run.wamp(), run.wamp()]
    run.settle()
    for number, callee in enumerate(callees):
        for name, match in PROCEDURES:
            callee.register(f"c{number}.{name}" if name[0] != "*" else f"*.c{number}.four", match)
    run.settle()
    parts = [publishing(run, one, 20) for one in publishers]
    parts += [_calling(run, one, 12) for one in callers]
    parts += [[partial(come_and_go, run, one) for _ in range(10)] for one in movers]
    if kinds == "pauses":
        parts.append(pauses(run))
        if rng.random() < 0.3:
            parts.append(_break_processes(run, rng.choice(("shard", "gateway", "coordinator"))))
    else:
        parts.append(_break_links(run) if kinds == "links" else _break_processes(run, kinds))
    run.interleave(parts, rng.choice((0.002, 0.01, 0.05)))
    if kinds == "pauses":
        world.run(max(PAUSES))
    recover(world)
    _everything_works(run, publishers, callers, callees)
    return run


def _calling(run: Run, one: RecordingWampClient, times: int) -> list[Action]:
    rng = run.rng
    actions: list[Action] = []
    for _ in range(times):
        name = rng.choice(CALLED)
        number = rng.randrange(2)
        name = name.replace(".four", f".c{number}.four") if "four" in name else f"c{number}.{name}"
        plan = Plan(rng.choice(("yield", "error")), rng.choice((0, 2)), rng.choice((0, 0.02)))
        actions.append(partial(one.call, name, plan, progress=True))
    return actions


def _everything_works(
    run: Run,
    publishers: list[RecordingClient],
    callers: list[RecordingWampClient],
    callees: list[RecordingWampClient],
) -> None:
    """Check that events and calls work as in a smooth world.

    Subscriptions and registrations have been restored without the clients' help.
    """
    world = run.world
    since = world.now
    parts = [publishing(run, one, 6) for one in publishers if one.connected]
    parts += [_calling(run, one, 6) for one in callers if one.connected]
    run.interleave(parts, 0.004)
    alive = all(callee.connected for callee in callees)
    run.end()
    check_events(world, run.clients, since=since)
    if alive:
        for caller in callers:
            for called in caller.calls:
                if called.at > since and caller.connected:
                    expected = "result" if called.plan.end == "yield" else "error"
                    world.check(
                        called.final and called.final[0] == expected,
                        f"ended with {called.final}: {called}",
                        (f'["{called.caller}",{called.number},',),
                    )
    # Calls of callers whose gateway was killed may come in any order: nothing waits for them.
    callers = [caller for caller in callers if caller.connected]
    check_invocation_order(world, [callee for callee in callees if callee.connected], callers)


def shard_dies(seed: int) -> None:
    """One or two shards are killed and come back."""
    traffic_and_faults(seed, "shard").leave()


def keys_wait_for_a_shard(seed: int) -> None:
    """What a session publishes to a shard that is down, and then to others, comes in its order.

    So many sessions do that at once that the shard handles it over several turns.
    """
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    for gateway in range(world.gateways):
        run.wamp(gateway).subscribe("", "prefix")
    publishers = [run.wamp(0) for _ in range(30)]
    run.settle()
    name = f"shard-{rng.randrange(world.terms.shards)}"
    world.kill(name)
    world.at(world.now + 0.5, partial(world.start, name))
    # The gateways have noticed that by then.
    world.run(0.2)
    run.perform([partial(_publish_keys, one, rng) for one in publishers], 0.002)
    recover(world)
    run.end()
    run.leave()


def _publish_keys(one: RecordingWampClient, rng: Random) -> None:
    """Publish some keys in one piece: a gateway that stops reading has read all of them."""
    with one.client.wire.together():
        for _ in range(4):
            one.publish(f"{rng.choice(TOPICS)}.{one.name}", acknowledge=True, retain=True)


def gateway_dies(seed: int) -> None:
    """One or two gateways are killed and come back."""
    traffic_and_faults(seed, "gateway").leave()


def coordinator_dies(seed: int) -> None:
    """The coordinator is killed, which loses and delays nothing: no event or call passes it."""
    run = traffic_and_faults(seed, "coordinator")
    check_events(run.world, run.clients)
    run.leave()


def links_break(seed: int) -> None:
    """Connections break, or lose batches, with and without notice to the processes."""
    traffic_and_faults(seed, "links").leave()


def wills_of_a_gateway(seed: int) -> None:
    """The wills of the clients of a killed gateway are published once [MQTT-3.1.2-8]."""
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    watchers: list[RecordingClient] = [run.wamp(0), run.mqtt(0)]
    run.settle()
    for watcher in watchers:
        if isinstance(watcher, RecordingWampClient):
            watcher.subscribe("", "prefix")
        elif isinstance(watcher, RecordingMqttClient):
            watcher.subscribe("#", 1)
    clients_with_wills = [run.mqtt(1, will=(rng.choice(("a.x", "b.y", "c")), 1)) for _ in range(3)]
    run.settle()
    graceful_client = rng.choice(clients_with_wills)
    graceful_client.leave(graceful=True)
    world.run(0.5)
    if rng.random() < 0.3:
        # A restarted shard knows the wills from its store, and from the gateways' replays.
        kill_a_shard(world, rng)
        recover(world)
    world.kill("gateway-1")
    back = rng.choice((0.01, 1.0, 8.0))
    world.at(world.now + back, lambda: world.start("gateway-1"))
    world.run(back + world.terms.peer_timeout + RECOVERY)
    run.end()
    for watcher in watchers:
        wills = sorted(got.publisher for got in watcher.received)
        expected = sorted(one.name for one in clients_with_wills if one is not graceful_client)
        world.check(wills == expected, f"{watcher.name} got the wills of {wills}, not {expected}")
    run.leave()


def shard_returns_without_a_gateway(seed: int) -> None:
    """A shard that starts waits for the replay of a gateway that is down, but not for ever."""
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    publishers: list[RecordingClient] = [run.wamp(0), run.mqtt(0), run.wamp(1), run.mqtt(1)]
    subscribers = [run.wamp(0), run.mqtt(0)]
    for one in subscribers:
        subscribe_somewhere(run, one)
    run.settle()
    shard = rng.choice([name for name in world.names if name.startswith("shard")])
    actions: list[Action] = [partial(world.kill, "gateway-1"), partial(kill, world, shard, rng)]
    rng.shuffle(actions)
    # Clients of the killed gateway publish nothing afterwards.
    parts = [publishing(run, one, 10) for one in publishers]
    run.interleave([*parts, actions], rng.choice((0.002, 0.01)))
    world.run(max(DOWN) + world.terms.peer_timeout + RECOVERY)
    for one in publishers[:2]:
        late = [sent.number for sent in one.sent if sent.acknowledge and not sent.answers]
        world.check(not late, f"{one.name}'s {late} were not acknowledged", (f'"{one.name}"',))
    world.check(world.gateway(0).ordering.idle, "gateway-0 holds back events")
    world.start("gateway-1")
    recover(world)
    run.end()
    run.leave()
