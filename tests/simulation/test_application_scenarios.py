"""An application with the server in its simulated process."""

from promises import Promises

from fox_shard.testing import application_scenarios


class TestApplications(Promises):
    family = application_scenarios
