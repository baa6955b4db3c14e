"""The whole server in one simulated process."""

from promises import Promises

from fox_shard.testing import one_process_scenarios


class TestOneProcess(Promises):
    family = one_process_scenarios
