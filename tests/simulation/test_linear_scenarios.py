"""One key whose changes everybody sees in one order, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import linear_scenarios


class TestLinear(Promises):
    family = linear_scenarios
