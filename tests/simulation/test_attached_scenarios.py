"""Attached gateways, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import attached_scenarios


class TestAttachedGateways(Promises):
    family = attached_scenarios
