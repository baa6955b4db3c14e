"""Frames that a gateway holds back, and releases over several turns."""

from itertools import count

import pytest

from fox_shard.backplane.placement import Placement
from fox_shard.config import Gateway
from fox_shard.gateway.sessions import budget
from fox_shard.testing.clients import WampClient
from fox_shard.testing.scenarios import SCENARIOS
from fox_shard.testing.world import World


@pytest.mark.parametrize("scenario", ["order", "calls_in_order", "keys_survive"])
def test_held_frames_are_released_over_several_turns(scenario, monkeypatch):
    monkeypatch.setattr(budget, "FRAME", 15)  # of 30 units: two frames in a turn
    for seed in range(20):
        SCENARIOS[scenario](seed)


@pytest.mark.parametrize(
    "scenario", ["calls_in_order", "links_break", "shard_dies", "walk_with_faults"]
)
def test_nothing_waits_for_ever_if_hardly_anything_may_be_held_back(scenario, monkeypatch):
    monkeypatch.setitem(World.__init__.__kwdefaults__, "settings", Gateway(held_limit=2000))
    for seed in range(10):
        SCENARIOS[scenario](seed)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_held_back_behind_a_forwarded_call_to_the_same_gateway_is_released(seed):
    """The call's shard answers when its home knows that the callee's gateway has the invocation."""
    placement = Placement(3)
    home = placement.shard_of("realm1", "^called.")
    called = (f"called.{n}" for n in count())
    procedure = next(one for one in called if placement.shard_of("realm1", one) != home)
    others = {home, placement.shard_of("realm1", procedure)}
    topics = (f"told.{n}" for n in count())
    topic = next(one for one in topics if placement.shard_of("realm1", one) not in others)

    world = World(seed, gateways=2, shards=3, settings=Gateway(held_limit=1 << 16))
    world.run_until(lambda: world.linked)
    sender, receiver = WampClient(world, 0), WampClient(world, 1)
    world.run_until(lambda: sender.session and receiver.session)
    receiver.register("called.", match="prefix")
    receiver.subscribe("told.", match="prefix")
    world.run(1)
    world.pause(f"shard-{home}", 2.0)
    sender.call(procedure)
    for number in range(100):
        sender.publish(topic, f"{number} {'x' * 1000}")
    world.run(1)
    held = world.gateway(1)
    assert held.ordering.held_bytes > held.settings.held_limit
    world.run(3)
    assert [int(event.partition(" ")[0]) for event in receiver.events] == [*range(100)]
    assert held.ordering.idle
