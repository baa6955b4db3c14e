"""Processes that stand still, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import pause_scenarios


class TestPauses(Promises):
    family = pause_scenarios
