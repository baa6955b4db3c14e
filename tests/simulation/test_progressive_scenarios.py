"""Calls in several parts, and rerouted calls, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import progressive_scenarios


class TestProgressiveCalls(Promises):
    family = progressive_scenarios
