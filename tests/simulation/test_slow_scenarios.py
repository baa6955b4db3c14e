"""Clients that read too slowly, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import slow_scenarios


class TestSlowConsumers(Promises):
    family = slow_scenarios
