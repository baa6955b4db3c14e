"""A callee that never answers does not make the calls accumulate of callers that have left."""

import pytest

from fox_shard.config import Gateway as Settings
from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

MOST = 5


@pytest.mark.parametrize("leaves", ["cancels", "leaves", "drops", "its gateway dies"])
@pytest.mark.parametrize("pattern", ["a.b", "a"])
def test_so_many_are_remembered_and_the_others_are_taken_for_answered(leaves, pattern):
    world = World(
        3, shards=2, settings=Settings(max_abandoned_invocations=MOST, interrupt_timeout=600.0)
    )
    world.run_until(lambda: world.linked)
    callee = WampClient(world, 0)
    world.run_until(lambda: callee.session)
    match = "exact" if pattern == "a.b" else "prefix"
    request = callee.register(pattern, match=match)
    world.run_until(lambda: callee.answer(65, request))
    world.run(1)
    for _ in range(4):
        callers = [WampClient(world, 1) for _ in range(MOST)]
        world.run_until(lambda callers=callers: all(caller.session for caller in callers))
        for caller in callers:
            called = caller.call("a.b")
            world.run(0.2)
            if leaves == "cancels":
                caller.send([49, called, {}])
            elif leaves == "leaves":
                caller.leave()
            elif leaves == "drops":
                caller.drop()
        if leaves == "its gateway dies":
            world.kill("gateway-1")
            world.run(1)
            world.start("gateway-1")
            world.run_until(lambda: world.linked, 60)
        world.run(1)
    world.run(20)
    assert len(callee.of(68)) == 4 * MOST
    [session] = [one for one in world.gateway(0).sessions.values() if one.id == callee.session]
    assert len(session.invocations) == MOST
    dealers = [world.nodes[f"shard-{number}"].dealer for number in range(2)]
    assert sum(len(dealer.invocations._invocations) for dealer in dealers) == MOST
    assert [dealer.invocations._callers for dealer in dealers] == [{}, {}]
