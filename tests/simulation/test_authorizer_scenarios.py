"""Authorizers in the simulated cluster."""

from promises import Promises

from fox_shard.testing import authorizer_scenarios


class TestAuthorizers(Promises):
    family = authorizer_scenarios
