"""Tables and their aggregates, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import table_scenarios


class TestTables(Promises):
    family = table_scenarios
