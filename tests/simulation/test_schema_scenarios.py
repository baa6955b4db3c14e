"""Schemas that several clients set at the same time, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import schema_scenarios


class TestSchemas(Promises):
    family = schema_scenarios
