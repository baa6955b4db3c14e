"""A callee that yields without end does not fill the memory of a gateway whose shard is stopped."""

from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

CREDIT = 100_000
LARGE = "x" * 5_000
MANY = 400


def bytes_for(link):
    """Return the bytes that wait for a shard, or are on their way there."""
    waiting = sum(len(getattr(frame, "args", b"")) for frame in link.outbox)
    return link.in_flight + waiting


def test_progress_waits_in_the_callees_socket_while_the_shard_is_stopped():
    world = World(1, gateways=1, shards=1, credit=CREDIT)
    world.run_until(lambda: world.linked)
    callee, caller = WampClient(world, 0), WampClient(world, 0)
    world.run_until(lambda: callee.session and caller.session)
    registered = callee.register("p.q")
    world.run_until(lambda: callee.answer(65, registered))
    call = caller.call("p.q", receive_progress=True)
    world.run_until(lambda: callee.of(68))
    [[_, invocation, *_]] = callee.of(68)
    world.pause("shard-0", 2.0)
    link, most = world.gateway(0).links[0], 0
    for number in range(MANY):
        callee.send([70, invocation, {"progress": True}, [number, LARGE]])
        world.run(0.002)
        most = max(most, bytes_for(link))
    assert CREDIT < most < 2 * CREDIT
    callee.send([70, invocation, {}, ["done"]])
    world.run_until(lambda: len(caller.of(50)) == MANY + 1)
    # Nothing is lost, and the order is kept.
    assert [message[3][0] for message in caller.of(50)] == [*range(MANY), "done"]
    assert {message[1] for message in caller.of(50)} == {call}
