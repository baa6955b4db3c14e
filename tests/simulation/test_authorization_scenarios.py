"""Authorization in the simulated cluster."""

from promises import Promises

from fox_shard.testing import authorization_scenarios


class TestAuthorization(Promises):
    family = authorization_scenarios
