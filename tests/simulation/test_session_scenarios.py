"""Sessions, and the processes that know of them, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import session_scenarios


class TestSessions(Promises):
    family = session_scenarios
