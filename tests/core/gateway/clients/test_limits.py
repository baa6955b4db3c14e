"""The limits of one session."""

import pytest

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.limits import LONG, NAMES, Limits


@pytest.mark.parametrize(
    ("size", "many"), [(1, 100), (LONG - 1, 100), (LONG, 50), (9 * LONG, 10), (1 << 24, 1)]
)
def test_there_may_be_fewer_long_ones(size, many):
    assert Limits.of(100, size) == many


def test_refusals_are_counted():
    counts = LimitCounts(NAMES)
    limits = Limits(Settings(), counts)
    assert "7 unanswered calls" in limits.refuse("max_calls", "unanswered calls", 7).message
    limits.refuse("max_calls", "unanswered calls", 7)
    assert counts.totals() == {"max_calls": 2}
