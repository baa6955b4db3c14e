"""Clients that flood a shard, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import flood_scenarios


class TestFloods(Promises):
    family = flood_scenarios
