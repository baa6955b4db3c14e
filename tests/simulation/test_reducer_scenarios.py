"""Reducers, while processes die and disks fail, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import reducer_scenarios


class TestReducers(Promises):
    family = reducer_scenarios
