"""Clients that publish faster than they may, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import rate_scenarios


class TestRates(Promises):
    family = rate_scenarios
