"""The meta events of registrations and subscriptions in the simulated cluster."""

from promises import Promises

from fox_shard.testing import meta_event_scenarios


class TestMeta(Promises):
    family = meta_event_scenarios
