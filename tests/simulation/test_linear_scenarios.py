"""One key, of which all see one order, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import linear_scenarios


class TestLinear(Promises):
    family = linear_scenarios
