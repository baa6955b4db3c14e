"""Checks of the processes when nothing happens any more.

Owns: the invariants of links, order, deliveries, calls and state. Never: clients' behaviour.
"""

from collections.abc import Iterator

from fox_shard.backplane.frames import Register, Subscribe
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.gateway.core import Gateway
from fox_shard.shard import rows
from fox_shard.shard.core import Shard
from fox_shard.shard.keys.quota import size_of
from fox_shard.shard.links.peer import Kind
from fox_shard.testing.world import World
from fox_shard.topics.ids import MAX_ID
from fox_shard.topics.pattern import Pattern

EVERYTHING = Pattern.mqtt("#")

QUIET = 2.5
"""Seconds after which all frames have arrived and have been confirmed."""


def become_quiet(world: World) -> None:
    """Let `QUIET` seconds pass, and check the invariants. Raises AssertionError with the trace."""
    world.run(QUIET)
    for problem in problems(world):
        raise AssertionError(world.report(f"when it was quiet, {problem}"))


def problems(world: World) -> Iterator[str]:
    """Yield a sentence for each violated invariant."""
    if not world.linked:
        yield f"not all was linked: {[node.health() for node in world.nodes.values()]}"
    shards, gateways = world.shard_cores, world.gateway_cores
    for shard in shards:
        yield from _of_shard(shard)
        yield from _of_store(shard, world.disks[shard.name].rows)
    for gateway in gateways:
        yield from _of_gateway(gateway)
        for shard in shards:
            yield from _of_both(gateway, shard)
    for node in world.nodes.values():
        if isinstance(node, CoordinatorNode):
            yield from _of_coordinator(node, sum(len(gateway.sessions) for gateway in gateways))


def _of_coordinator(coordinator: CoordinatorNode, sessions: int) -> Iterator[str]:
    if coordinator.core.session_count() != sessions:
        yield f"the coordinator knew {coordinator.core.session_count()} of {sessions} sessions"
    if not coordinator.journal.idle:
        yield f"{coordinator.name} has changes that are not on its disk"


def _of_shard(shard: Shard) -> Iterator[str]:
    for name, peer in shard.peers.items():
        if not peer.link.idle:
            yield f"{shard.name} had frames under way to {name}"
        if not peer.deliveries.idle:
            yield f"{shard.name} waited for what {name} caused"
        if peer.waiting or peer.fence_queries or not peer.caught_up:
            yield f"{shard.name} was not in step with {name}"
    if not (shard.outbox.idle and shard.inbox.idle):
        yield f"{shard.name} had frames for other shards, or of theirs that were not durable"
    patterns = {
        (realm, procedure.pattern.text)
        for realm, procedures in shard.dealer.realms.items()
        for procedure in procedures.by_text.values()
        if not procedure.callees
    }
    if patterns:
        yield f"{shard.name} kept procedures without callees: {patterns}"
    if not shard.reducers.idle:
        yield f"{shard.name} was reducing"
    yield from _of_quotas(shard)


def _of_quotas(shard: Shard) -> Iterator[str]:
    """Yield sentences about differences between what there is and what counts for limits."""
    for realm in shard.retained_keys.realms:
        keys = [event.publish for event in realm.keys.durable(EVERYTHING)]
        there = len(keys), sum(map(size_of, keys))
        counted = realm.keys.quota.count, realm.keys.quota.size
        if counted != there:
            yield f"{shard.name} counted {counted} keys and bytes in {realm.name}, not {there}"
    waiting = (
        shard.dealer.invocations.kept.queued_bytes + shard.stored_publishes.conditional.waiting.size
    )
    if shard.queue_quotas.size != waiting:
        yield f"{shard.name} counted {shard.queue_quotas.size} bytes that waited, not {waiting}"


def _of_store(shard: Shard, stored: dict[bytes, bytes]) -> Iterator[str]:
    """Yield sentences about differences between a shard's memory and its disk."""
    if not shard.journal.idle or shard.journal.waiting:
        yield f"{shard.name} has changes that are not on its disk"
    held = {
        rows.key(realm.name, event.publish.topic): rows.encode(event)
        for realm in shard.retained_keys.realms
        for event in realm.keys.durable(EVERYTHING)
        if realm.stored
    }
    on_disk = {key: value for key, value in stored.items() if key.startswith(rows.KEY)}
    if held != on_disk:
        yield f"{shard.name} and its disk disagree about {sorted(set(held) ^ set(on_disk))}"
    recorded = {
        rows.recorded(realm.name, publication)
        for realm in shard.retained_keys.realms
        for publication, event in shard.retained_keys.histories[realm.name].steps(
            EVERYTHING, 0, MAX_ID
        )
        if realm.stored and event is not None
    }
    # The rows of trimmed events are deleted with the next transaction, so there may be more rows.
    if not recorded <= {key for key in stored if key.startswith(rows.RECORDED)}:
        yield f"{shard.name} has recorded what is not on its disk"
    queued = {
        rows.queued(reducer.id, one.arrival)
        for reducer in shard.reducers.catalog
        for queue in reducer.queues.values()
        for one in queue.events
        if shard.reducers.catalog.is_stored(reducer.realm)
    }
    if queued - stored.keys():
        yield f"{shard.name} has queued for reducers what is not on its disk"
    for realm in shard.retained_keys.realms:
        if not realm.keys.is_committed:
            yield f"{shard.name} has keys of {realm.name} that have not been settled"


def _of_gateway(gateway: Gateway) -> Iterator[str]:
    for link in (*gateway.links, gateway.coordinator):
        if not link.idle:
            yield f"{gateway.name} had frames under way to {link.peer}"
    if gateway.arrivals.queue or not gateway.ordering.idle:
        yield f"{gateway.name} had not handled all frames, or still asked for what to wait"
    if not gateway.reductions.idle:
        yield f"{gateway.name} waited for reducers"
    if not gateway.registry.idle:
        yield f"{gateway.name} waited for the ends of sessions"
    if not gateway.turns.idle:
        yield f"{gateway.name} had not handled all that clients had sent"
    yield from _of_sessions(gateway)


def _of_sessions(gateway: Gateway) -> Iterator[str]:
    for session in gateway.sessions.values():
        if session.connection.paused:
            yield f"{gateway.name} did not read session {session.id}"
    for name, realm in gateway.subscriptions.items():
        sessions = [one for one in gateway.sessions.values() if one.realm.name == name]
        there = sum(len(one.subscriptions or {}) for one in sessions)
        if (realm.count, realm.incomplete) != (there, 0):
            yield f"{gateway.name} counted {realm.count} + {realm.incomplete} subscriptions"


def _of_both(gateway: Gateway, shard: Shard) -> Iterator[str]:
    number = shard.number
    peer = shard.peers[gateway.name]
    wanted = {
        (frame.realm, frame.pattern, frame.selector.id if frame.selector else 0)
        for subscriptions in gateway.subscriptions.values()
        for frame in subscriptions.replay(number)
        if isinstance(frame, Subscribe)
    }
    wanted |= gateway.user_keys.subscriptions()
    subscribed = set(shard.subscriptions.of(peer))
    if wanted != subscribed:
        difference = wanted ^ subscribed
        yield f"{gateway.name} and {shard.name} disagreed about subscriptions: {difference}"
    offered = {
        (frame.realm, frame.pattern, frame.session)
        for frame in gateway.registrations.replay(number)
        if isinstance(frame, Register)
    }
    known = {
        (realm, procedure.pattern.text, callee.session)
        for realm, procedures in shard.dealer.realms.items()
        for procedure in procedures.by_text.values()
        for callee in procedure.callees
        if callee.peer is peer
    }
    if offered != known:
        yield f"{gateway.name} and {shard.name} disagreed about callees: {offered ^ known}"


def check_no_calls_left(world: World) -> None:
    """Check that all calls have ended, at their callees too. Raises AssertionError."""
    for shard in world.shard_cores:
        world.check(shard.dealer.idle, f"{shard.name} has calls that nobody waits for")
    for gateway in world.gateway_cores:
        idle = gateway.calls.idle and gateway.registrations.idle and gateway.inquiries.idle
        world.check(idle, f"{gateway.name} still has something of calls")
        for session in gateway.sessions.values():
            what = f"{session.calls} calls, {session.invocations} invocations"
            none = not (session.calls or session.invocations)
            world.check(none, f"{gateway.name}: session {session.id} has {what}")


def check_nothing_left(world: World) -> None:
    """Check that no process keeps anything of the clients, which have all left.

    Raises AssertionError with the trace.
    """
    for shard in world.shard_cores:
        left = [
            name
            for name, peer in shard.peers.items()
            if peer.kind is Kind.GATEWAY and shard.subscriptions.of(peer)
        ]
        left += [
            f"{realm} procedures"
            for realm, procedures in shard.dealer.realms.items()
            if procedures.by_text or procedures.announced()
        ]
        world.check(not left, f"{shard.name} kept {left}")
    for gateway in world.gateway_cores:
        world.check(not gateway.sessions, f"{gateway.name} kept {list(gateway.sessions)}")


def reducers_are_idle(world: World) -> bool:
    """Whether no event waits for a reducer at any shard that is running."""
    return all(
        shard.reducers.idle and not any(one.arrivals for one in shard.reducers.catalog)
        for shard in world.shard_cores
    )
