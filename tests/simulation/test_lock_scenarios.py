"""Locks, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import lock_scenarios


class TestLocks(Promises):
    family = lock_scenarios
