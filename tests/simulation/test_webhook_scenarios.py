"""Webhooks, while processes die and disks fail, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import webhook_scenarios


class TestWebhooks(Promises):
    family = webhook_scenarios
