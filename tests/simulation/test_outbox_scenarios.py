"""Frames from shard to shard, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import outbox_scenarios


class TestOutbox(Promises):
    family = outbox_scenarios
