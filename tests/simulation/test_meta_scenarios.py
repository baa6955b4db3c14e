"""The registration and the subscription meta API in the simulated cluster."""

from promises import Promises

from fox_shard.testing import meta_scenarios


class TestMeta(Promises):
    family = meta_scenarios
