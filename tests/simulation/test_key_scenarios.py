"""Conditions, expiry and weak keys, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import key_scenarios


class TestKeys(Promises):
    family = key_scenarios
