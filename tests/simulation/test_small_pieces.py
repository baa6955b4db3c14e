"""What the shards send is handled a frame or two at a time, while all else goes on."""

import pytest

from fox_shard.gateway import arrivals
from fox_shard.testing import world
from fox_shard.testing.scenarios import SCENARIOS


@pytest.mark.parametrize(
    "scenario",
    ["order", "calls_in_order", "keys_survive", "links_break", "shard_dies", "walk_with_faults"],
)
def test_batches_are_handled_in_small_pieces(scenario, monkeypatch):
    monkeypatch.setattr(world, "UNITS", (4, 30))
    monkeypatch.setattr(arrivals, "FIRST_PIECE", 1)
    monkeypatch.setattr(arrivals, "MOST_FRAMES", 2)
    monkeypatch.setattr(arrivals, "DIVIDED_ABOVE", 0)
    monkeypatch.setattr(arrivals, "ANSWERS", 1)
    for seed in range(12):
        SCENARIOS[scenario](seed)
