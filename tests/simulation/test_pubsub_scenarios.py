"""Publish and subscribe, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import pubsub_scenarios


class TestPubSub(Promises):
    family = pubsub_scenarios
