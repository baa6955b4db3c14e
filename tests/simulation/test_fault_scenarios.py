"""Processes that die and links that break, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import fault_scenarios


class TestFaults(Promises):
    family = fault_scenarios
