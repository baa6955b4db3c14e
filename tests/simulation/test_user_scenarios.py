"""Users in retained keys, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import user_scenarios


class TestUsers(Promises):
    family = user_scenarios
