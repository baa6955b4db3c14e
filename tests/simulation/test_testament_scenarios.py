"""Testaments of sessions that end with or without their gateways, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import testament_scenarios


class TestTestaments(Promises):
    family = testament_scenarios
