"""The cluster in one thread: every scenario under some dozens of seeds.

A failure names its seed and shows the trace; `make simulate SEEDS=1000` runs many more.
"""

import pytest

from fox_shard.gateway import order
from fox_shard.testing.scenarios import SCENARIOS

CHUNK = 10
CHUNKS = 4
"""Seeds of a scenario: so many times `CHUNK`."""

LONGER = {"order": 8, "calls_in_order": 8, "links_break": 8, "walk": 10, "walk_and_stumble": 10}
"""Chunks of those that have most to find."""


@pytest.mark.parametrize(
    ("name", "first"),
    [
        pytest.param(name, chunk * CHUNK, id=f"{name}-{chunk * CHUNK}")
        for name in SCENARIOS
        for chunk in range(LONGER.get(name, CHUNKS))
    ],
)
def test_what_is_promised_holds_under_any_seed(name, first):
    for seed in range(first, first + CHUNK):
        SCENARIOS[name](seed)


@pytest.mark.parametrize("scenario", ["order", "calls_in_order", "keys_survive"])
def test_what_is_held_back_is_released_over_several_turns(scenario, monkeypatch):
    monkeypatch.setattr(order, "RELEASED_A_TURN", 2)
    for seed in range(20):
        SCENARIOS[scenario](seed)
