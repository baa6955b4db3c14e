"""Locks of programs with the client for asyncio, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import client_lock_scenarios


class TestLocksOfClients(Promises):
    family = client_lock_scenarios
