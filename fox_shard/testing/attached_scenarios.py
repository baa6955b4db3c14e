"""Scenarios with gateways beyond the configured ones, which come and go.

Owns: what happens in each, and what must be true afterwards. Each takes a seed, and raises
AssertionError with the trace.

An attached gateway never comes back under its name, so everything of it must end with it. At the
end of each scenario all attached gateways go, and then no shard, nor the coordinator, may have
anything of them, in memory or on its disk.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import final

from fox_shard.backplane.placement import ON_JOIN, ON_LEAVE
from fox_shard.gateway.core import Gateway
from fox_shard.testing.clients import WampClient
from fox_shard.testing.fault_scenarios import fault_world
from fox_shard.testing.faults import kill, lose, relink, sever
from fox_shard.testing.leftovers import mentions
from fox_shard.testing.pubsub_scenarios import publishing, subscribe_somewhere
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.run import Action, Run
from fox_shard.testing.session_scenarios import Watcher, session_of
from fox_shard.testing.world import World

WILLS = "attached.wills"
OWN = "own"

PUBLISHES = 10
"""By each client of an attached gateway."""

STANDSTILLS = (0.5, 2.0, 4.0, 7.0, 15.0)
"""Possible seconds of a standstill: below `attached_timeout`, about twice that, and beyond it."""


# Coming and going


def forgotten_after(world: World) -> float:
    """Return the seconds after which nothing is left of an attached gateway that has gone.

    It is lost and then gone, each after `attached_timeout`; it is looked after once a heartbeat.
    """
    return 2 * world.terms.attached_timeout + 3 * world.terms.heartbeat


@final
class Visitors:
    """The attached gateways of a run, and the clients at each."""

    def __init__(self, run: Run, arrived: Callable[[int], None]) -> None:
        """arrived(gateway): called when a gateway lets clients in."""
        self._run = run
        self._arrived = arrived

    @property
    def here(self) -> list[int]:
        """The numbers of those that run."""
        world = self._run.world
        return [number for number in world.running_gateways if number >= world.gateways]

    def attach(self) -> None:
        """Start one, whose clients come as soon as they are let in."""
        world = self._run.world
        number = world.attach()

        def look() -> None:
            if world.gateway_name(number) not in world.nodes:
                return
            if world.gateway(number).linked:
                self._arrived(number)
            else:
                world.at(world.now + 0.05, look)

        look()

    def kill_one(self) -> None:
        """Kill a random one."""
        if self.here:
            self._run.world.kill(self._run.world.gateway_name(self._run.rng.choice(self.here)))

    def pause_one(self) -> None:
        """Let a random one stand still."""
        rng, world = self._run.rng, self._run.world
        if self.here:
            name = world.gateway_name(rng.choice(self.here))
            world.pause(name, rng.choice(STANDSTILLS), busy=rng.random() < 0.3)

    def kill_all(self) -> None:
        """Kill all that run."""
        for number in self.here:
            self._run.world.kill(self._run.world.gateway_name(number))

    def changes(self, times: int) -> list[Action]:
        """Return what happens to them: so many attach, go, or stand still for a while."""
        rng = self._run.rng
        kinds = (self.attach, self.attach, self.kill_one, self.kill_one, self.pause_one)
        return [rng.choice(kinds) for _ in range(times)]


def _faults(run: Run) -> list[Action]:
    """Return what happens to the others."""
    rng, world = run.rng, run.world
    servers = [name for name in world.names if not name.startswith("gateway")]
    faults: list[Action] = []
    for _ in range(rng.choice((0, 1, 2, 3))):
        if rng.random() < 0.6:
            faults.append(partial(kill, world, rng.choice(servers), rng))
        else:
            faults.append(partial(rng.choice((sever, lose)), world, rng))
    return faults


def _settle_down(run: Run) -> None:
    """Let all come to rest; those that have gone are forgotten then."""
    world = run.world
    world.run(max(STANDSTILLS))
    relink(world)
    world.run(forgotten_after(world))
    become_quiet(world)


def _all_go(run: Run, visitors: Visitors) -> None:
    """Kill all attached gateways, and check that nothing is left of any, and others live on."""
    world = run.world
    visitors.kill_all()
    world.run(forgotten_after(world))
    run.leave()
    # Rows that are obsolete are deleted with the next transaction.
    for shard in range(world.terms.shards):
        _store_something(world, shard)
    become_quiet(world)
    for node in world.nodes.values():
        if isinstance(node, Gateway):
            continue
        for name in world.attached:
            where = mentions(node, name, [world, world.timing])
            world.check(not where, f"{node.name} has of {name}: {where[:5]}", (name,))
        rows = world.disks[node.name].rows
        about = [key for key, value in rows.items() if b"gateway-x" in key + value]
        world.check(not about, f"the disk of {node.name} has {about}")


def _store_something(world: World, shard: int) -> None:
    client = WampClient(world, 0)
    world.run_until(lambda: bool(client.session))
    realm = world.gateway(0).realms["realm1"]
    names = (f"last.{number}" for number in range(1000))
    topic = next(name for name in names if realm.shard_of(name) == shard)
    for args in ([1], []):
        request = client.publish(topic, *args, acknowledge=True, retain=True)
        world.run_until(partial(_is_answered, client, request))
    client.leave()


def _is_answered(client: WampClient, request: int) -> bool:
    return bool(client.answer(17, request))


# The scenarios


def attached_gateways_under_load(seed: int) -> None:
    """Attached gateways come and go, shards and the coordinator die, and no event is lost."""
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    publishers: list[RecordingClient] = [run.wamp(0), run.mqtt(0), run.wamp(1), run.mqtt(1)]
    for gateway in range(world.gateways):
        for one in (run.wamp(gateway), run.mqtt(gateway)):
            subscribe_somewhere(run, one)
    run.settle()
    pause = rng.choice((0.02, 0.1, 0.4))

    def arrived(gateway: int) -> None:
        clients: list[RecordingClient] = [run.wamp(gateway), run.mqtt(gateway)]
        for one in clients:
            _when_ready(world, one, partial(_take_part, run, one, pause))

    visitors = Visitors(run, arrived)
    for _ in range(rng.choice((1, 2))):
        visitors.attach()
    world.run(1)
    parts = [publishing(run, one, 20) for one in publishers]
    run.interleave([*parts, visitors.changes(rng.choice((4, 8))), _faults(run)], pause)
    _settle_down(run)
    ended = [one.name for one in run.clients if one.closed and one.gateway < world.gateways]
    ended = [] if world.killed.get("gateway-0") else ended  # if all the server is one process
    world.check(not ended, f"the sessions of {ended} have ended, but not their gateways")
    # What is attached now works as any gateway.
    since = world.now
    visitors.attach()
    world.run(1)
    run.interleave([publishing(run, one, 5) for one in run.clients if one.connected], 0.004)
    world.run(1 + 4 * pause * PUBLISHES)
    late = [sent.number for one in run.clients for sent in one.sent if sent.at > since]
    world.check(late, "nobody was left")
    run.end()
    _all_go(run, visitors)


def _when_ready(world: World, one: RecordingClient, then: Action) -> None:
    """Do something as soon as the client's session is open, if it comes to that."""
    if one.ready:
        then()
    elif one.connected:
        world.at(world.now + 0.02, partial(_when_ready, world, one, then))


def _take_part(run: Run, one: RecordingClient, pause: float) -> None:
    """Subscribe, and publish from then on."""
    subscribe_somewhere(run, one)
    at = run.world.now
    for action in publishing(run, one, PUBLISHES):
        at += run.rng.random() * 4 * pause
        run.world.at(at, partial(_if_connected, one, action))


def _if_connected(one: RecordingClient, action: Action) -> None:
    if one.connected:
        action()


def presence_at_attached_gateways(seed: int) -> None:
    """The sessions of attached gateways end with them: wills, weak keys and `on_leave`, once."""
    run = Run(fault_world(seed))
    run.smooth = False
    world, rng = run.world, run.rng
    watcher = Watcher(world, 0)
    witness = run.wamp(1)
    run.settle()
    witness.subscribe(WILLS, "exact")
    run.settle()
    owners: list[WampClient] = []
    visitors = Visitors(run, partial(_be_present, run, owners))
    for _ in range(rng.choice((1, 2, 3))):
        visitors.attach()
    world.run(1)
    changes = visitors.changes(rng.choice((3, 6)))
    run.interleave([changes, _faults(run)], rng.choice((0.1, 0.5, 2.0)))
    _settle_down(run)
    _check_presence(run, watcher, witness, owners)
    visitors.kill_all()
    world.run(forgotten_after(world))
    become_quiet(world)
    _check_presence(run, watcher, witness, owners)
    run.end()
    watcher.client.drop()
    _all_go(run, visitors)


def _be_present(run: Run, owners: list[WampClient], gateway: int) -> None:
    """Add clients at the gateway: one with a will, one with a weak key, and another one."""
    run.wamp(gateway)
    run.mqtt(gateway, will=(WILLS, 1))
    owner = WampClient(run.world, gateway)
    owners.append(owner)
    own = partial(_own, owner, f"{OWN}.{len(owners)}", len(owners))
    run.world.at(run.world.now + 0.3, own)


def _own(client: WampClient, topic: str, value: int) -> None:
    if client.session and not client.closed:
        client.publish(topic, value, acknowledge=True, retain=True, weak=True)


def _is_stored(one: RecordingMqttClient) -> bool:
    """Whether the client's will must be in its shard's store: all was well for a while."""
    world = one.world
    faults = [time for name in world.names for time in world.killed.get(name, [])]
    return one.client.closed_at > one.since + 1.0 and not faults


def _check_presence(
    run: Run, watcher: Watcher, witness: RecordingWampClient, owners: list[WampClient]
) -> None:
    world = run.world
    came = [one for one in run.clients if one.gateway >= world.gateways and session_of(one)]
    ended = {session_of(one) for one in came if one.closed}
    ended |= {one.session for one in owners if one.closed}
    # The coordinator may never hear of a session whose gateway dies at once, or while it is down.
    known = Counter({one: n for one, n in watcher.told(ON_JOIN).items() if one in ended})
    left = Counter({one: n for one, n in watcher.told(ON_LEAVE).items() if one in ended})
    world.check(left == known, f"told that {left} left, not {known}", (ON_LEAVE,))
    open_ = {session_of(one) for one in came} | {one.session for one in owners}
    wrong = [one for one in watcher.told(ON_LEAVE) if one in open_ - ended]
    world.check(not wrong, f"told that {wrong} left, who are there", (ON_LEAVE,))
    mqtt = {one.name: one for one in came if one.closed and isinstance(one, RecordingMqttClient)}
    wills = Counter(event.publisher for event in witness.received if event.topic == WILLS)
    twice = [name for name, times in wills.items() if times > 1 or name not in mqtt]
    world.check(not twice, f"got the wills of {twice} twice, or too early", (WILLS,))
    missing = [name for name, one in mqtt.items() if name not in wills and _is_stored(one)]
    world.check(not missing, f"did not get the wills of {missing}", (WILLS,))
    reader = WampClient(world, 0)
    world.run_until(lambda: bool(reader.session))
    reader.subscribe(f"{OWN}.", match="prefix", get_retained=True)
    world.run(0.5)
    keys = sorted(message[4][0] for message in reader.of(36))
    alive = [n for n, one in enumerate(owners, 1) if not one.closed and one.of(17)]
    world.check(keys == alive, f"there are the keys of {keys}, not of {alive}", (OWN,))
    reader.drop()
    become_quiet(world)


def _crowded(world: World, rng: Random) -> tuple[Run, list[RecordingClient], Visitors]:
    """Return a run with subscribers everywhere, also at attached gateways, and two publishers."""
    run = Run(world)
    run.smooth = False
    publishers: list[RecordingClient] = [run.wamp(0), run.mqtt(1)]
    for gateway in range(world.gateways):
        for one in (run.wamp(gateway), run.mqtt(gateway)):
            subscribe_somewhere(run, one)
    run.settle()

    def arrived(gateway: int) -> None:
        subscriber = run.wamp(gateway)
        _when_ready(world, subscriber, partial(subscriber.subscribe, "", "prefix"))

    visitors = Visitors(run, arrived)
    for _ in range(rng.choice((1, 3))):
        visitors.attach()
    world.run(1)
    return run, publishers, visitors


def _check_waits(world: World, publishers: list[RecordingClient], limit: float) -> None:
    """Check that no acknowledgement took that long."""
    for publisher in publishers:
        for sent in publisher.sent:
            took = (sent.answers[0] if sent.answers else world.now) - sent.at
            waited = f"{publisher.name}'s {sent.number} waited for {took:.1f} s"
            world.check(not sent.acknowledge or took < limit, waited)


def a_slow_attached_gateway(seed: int) -> None:
    """An attached gateway that stands still holds others back for a bounded time, and no longer."""
    rng = Random(f"slow {seed}")
    world = World(seed, gateways=2, shards=rng.choice((1, 3)), credit=rng.choice((20_000, 8 << 20)))
    run, publishers, visitors = _crowded(world, rng)
    for number in visitors.here:
        name = world.gateway_name(number)
        world.pause(name, rng.choice(STANDSTILLS), busy=rng.random() < 0.5)
    run.interleave([publishing(run, one, 60) for one in publishers], 0.1)
    world.run(max(STANDSTILLS))
    limit = 2 * world.terms.attached_timeout + 2 * world.terms.heartbeat
    _check_waits(world, publishers, limit)
    _settle_down(run)
    run.end()
    _all_go(run, visitors)


def killed_attached_gateways(seed: int) -> None:
    """Attached gateways that are killed hold others back for a moment, and no longer."""
    rng = Random(f"killed {seed}")
    world = World(seed, gateways=2, shards=rng.choice((1, 3)))
    run, publishers, visitors = _crowded(world, rng)
    kills: list[Action] = [visitors.kill_one for _ in visitors.here]
    run.interleave([*(publishing(run, one, 60) for one in publishers), kills], 0.1)
    world.run(3 * world.terms.heartbeat)
    # The connections break at once.
    _check_waits(world, publishers, world.terms.heartbeat)
    _settle_down(run)
    run.end()
    _all_go(run, visitors)
