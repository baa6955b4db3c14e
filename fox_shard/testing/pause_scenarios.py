"""Scenarios in which processes stand still for a while, or the whole machine does.

Owns: what happens in each, and what must be true afterwards. Each takes a seed, and raises
AssertionError with the trace.

A process that was not declared gone goes on as if nothing had happened. The sessions of a gateway
that was declared gone have ended, once, for everybody.
"""

from collections import Counter
from functools import partial

from fox_shard.backplane.placement import ON_LEAVE
from fox_shard.testing.fault_scenarios import (
    PAUSES,
    fault_world,
    pauses,
    traffic_and_faults,
)
from fox_shard.testing.faults import RECOVERY, random_fault, recover, sever
from fox_shard.testing.lock_scenarios import lock_run, take_turns
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.run import Run
from fox_shard.testing.session_scenarios import Watcher, session_of

WILLS = "pause.wills"


def processes_pause(seed: int) -> None:
    """Some processes stand still for a while, at once or one after the other."""
    traffic_and_faults(seed, "pauses").leave()


def the_machine_pauses(seed: int) -> None:
    """All processes stand still, go on one after the other, and nobody's session ends."""
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    watcher = Watcher(world, 0)
    clients = _clients(run)
    seconds = rng.choice(PAUSES)
    if rng.random() < 0.5:
        # Who waits for a lost peer must not count the pause.
        for _ in range(3):
            sever(world, rng)
    skew = rng.choice((0.0, 0.01))
    for name in world.names:
        pause = partial(world.pause, name, seconds + rng.random() * 0.01)
        world.at(world.now + rng.random() * skew, pause)
    world.run(seconds + 0.5)
    recover(world)
    world.run(2 * world.terms.peer_timeout)
    gone = [one.name for one in clients if not one.connected]
    world.check(not gone, f"the sessions of {gone} have ended")
    left = watcher.told(ON_LEAVE)
    world.check(not left, f"told that {left} left")
    world.check(not _wills(clients), f"published were the wills of {_wills(clients)}")
    _publish(run, clients)
    run.end()
    run.leave([watcher.client])


def a_gateway_pauses(seed: int) -> None:
    """One gateway stands still: its sessions go on, or end once, with their wills."""
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    watcher = Watcher(world, 0)
    clients = _clients(run)
    at_it = [one for one in clients if one.gateway == 1]
    seconds, busy = rng.choice(PAUSES), rng.random() < 0.3
    world.pause("gateway-1", seconds, busy=busy)
    world.run(rng.random() * 0.1)
    _publish(run, clients)
    world.run(seconds + 0.5)
    recover(world)
    world.run(world.terms.peer_timeout + RECOVERY)
    kept = [one for one in at_it if one.connected]
    if busy or seconds < world.terms.peer_timeout:
        world.check(kept == at_it, "sessions of a gateway that was not missed have ended")
    if not busy and seconds > 2 * world.terms.peer_timeout + 1.5:
        world.check(not kept, "sessions of a gateway that was declared gone go on")
    ended = [one for one in clients if one not in kept and one.gateway == 1]
    world.check(all(one.connected for one in clients if one.gateway != 1), "others were ended too")
    left = watcher.told(ON_LEAVE)
    expected = Counter(session_of(one) for one in ended)
    world.check(left == expected, f"told that {left} left, not {expected}")
    wills = _wills(clients)
    for name, got in wills.items():
        due = Counter(one.name for one in ended if isinstance(one, RecordingMqttClient))
        world.check(got == due, f"{name} got the wills of {got}, not {due}")
    _publish(run, [one for one in clients if one.connected])
    run.end()
    run.leave([watcher.client])


def locks_while_processes_pause(seed: int) -> None:
    """A lock has one holder at a time, and every waiter gets its turn once, whatever pauses."""
    run = lock_run(seed)
    faults = pauses(run)
    if run.rng.random() < 0.3:
        faults.append(partial(random_fault, run))
    take_turns(run, faults, patience=max(PAUSES))


def _clients(run: Run) -> list[RecordingMqttClient | RecordingWampClient]:
    """Add clients at each gateway; those of MQTT have wills, and all see the wills of all."""
    clients: list[RecordingMqttClient | RecordingWampClient] = []
    for gateway in range(run.world.gateways):
        clients += [run.wamp(gateway), run.mqtt(gateway, will=(WILLS, 1)), run.wamp(gateway)]
    run.settle()
    for one in clients:
        if isinstance(one, RecordingWampClient):
            one.subscribe("pause.", "prefix")
        else:
            one.subscribe("pause/#", 1)
    run.settle()
    run.world.run(0.5)
    return clients


def _publish(run: Run, clients: list[RecordingMqttClient | RecordingWampClient]) -> None:
    for one in clients:
        topic = run.rng.choice(("pause.a", "pause.b", "pause.c"))
        if isinstance(one, RecordingWampClient):
            one.publish(topic, acknowledge=True)
        else:
            one.publish(topic, 1)


def _wills(clients: list[RecordingMqttClient | RecordingWampClient]) -> dict[str, Counter[str]]:
    """Return, for each client that is still there, whose wills it got, if it got any."""
    got = {
        one.name: Counter(event.publisher for event in one.received if event.topic == WILLS)
        for one in clients
        if one.connected and isinstance(one, RecordingWampClient)
    }
    return {name: wills for name, wills in got.items() if wills}
