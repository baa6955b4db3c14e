"""Stored keys, while processes die and disks fail, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import store_scenarios


class TestStore(Promises):
    family = store_scenarios
