"""Subscribers that get the keys first and then their changes, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import view_scenarios


class TestViews(Promises):
    family = view_scenarios
