"""A random walk, in the simulated cluster."""

from promises import Promises

from fox_shard.testing import walk


class TestWalk(Promises):
    family = walk
