"""The recorded history, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import history_scenarios


class TestHistory(Promises):
    family = history_scenarios
