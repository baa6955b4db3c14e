"""Greedy clients, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import limit_scenarios


class TestLimits(Promises):
    family = limit_scenarios
