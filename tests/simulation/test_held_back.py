"""Frames that a gateway holds back, and releases over several turns."""

import pytest

from fox_shard.gateway.sessions import budget
from fox_shard.testing.scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", ["order", "calls_in_order", "keys_survive"])
def test_held_frames_are_released_over_several_turns(scenario, monkeypatch):
    monkeypatch.setattr(budget, "FRAME", 15)  # of 30 units: two frames in a turn
    for seed in range(20):
        SCENARIOS[scenario](seed)
