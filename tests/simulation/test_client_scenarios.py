"""Programs with the client for asyncio, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import client_scenarios


class TestClients(Promises):
    family = client_scenarios
