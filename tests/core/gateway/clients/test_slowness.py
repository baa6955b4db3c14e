"""A reader that makes progress is not slow."""

import pytest

from fox_shard.gateway.clients.slowness import PROGRESS, TIMES, Slowness

LIMIT = 1000


@pytest.fixture
def slowness():
    return Slowness(LIMIT, 5.0, 100, 50.0)


def test_a_client_that_takes_nothing_is_slow_after_the_timeout(slowness):
    assert not slowness.is_slow(LIMIT + 1, 100, 54.9)
    assert slowness.is_slow(LIMIT + 1, 100, 55.0)


def test_next_to_nothing_does_not_help(slowness):
    assert not slowness.is_slow(LIMIT + 1, 100 + PROGRESS - 1, 54.0)
    assert slowness.is_slow(LIMIT + 1, 100 + PROGRESS - 1, 55.0)


def test_a_client_that_takes_enough_is_not_slow_however_much_waits(slowness):
    for step in range(1, 100):
        assert not slowness.is_slow(LIMIT * 3, 100 + step * PROGRESS, 50.0 + 4 * step)
    assert slowness.is_slow(LIMIT * 3, 100 + 99 * PROGRESS, 50.0 + 4 * 99 + 5)


def test_a_client_for_which_little_waits_need_not_take_anything(slowness):
    assert not slowness.is_slow(LIMIT, 100, 60.0)
    assert not slowness.is_slow(LIMIT + 1, 100, 64.9)


def test_far_too_much_ends_the_client_at_once(slowness):
    assert not slowness.is_over(TIMES * LIMIT)
    assert slowness.is_over(TIMES * LIMIT + 1)
