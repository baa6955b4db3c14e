"""Calls, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import rpc_scenarios


class TestRpc(Promises):
    family = rpc_scenarios
