"""The publication clock, whose ids grow whatever the time of day does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.shard.clock import AHEAD, EPOCH, TICKS, PublicationClock

BEFORE = EPOCH - 1000.0


@pytest.mark.parametrize(
    ("shard", "walls", "id_"),
    [
        (0, [], 64),
        (3, [], 64 + 3),
        (0, [BEFORE], 64),
        (0, [EPOCH + 1.0], (TICKS + 1) * 64),
        (5, [EPOCH + 1.0], (TICKS + 1) * 64 + 5),
        # Time that runs backwards is ignored.
        (0, [EPOCH + 2.0, EPOCH + 1.0], (2 * TICKS + 1) * 64),
        (0, [EPOCH + 1.0, EPOCH + 2.0], (2 * TICKS + 1) * 64),
    ],
)
def test_an_id_consists_of_time_and_shard(shard, walls, id_):
    clock = PublicationClock(shard)
    for wall in walls:
        clock.advance(wall)
    assert clock.next() == id_


@given(st.integers(0, 63), st.lists(st.none() | st.floats(0, 4e9, allow_nan=False), max_size=50))
def test_ids_grow_strictly_and_name_their_shard(shard, steps):
    clock = PublicationClock(shard)
    ids = []
    for wall in steps:
        if wall is None:
            ids.append(clock.next())
        else:
            clock.advance(wall)
    ids.append(clock.next())
    assert ids == sorted(set(ids))
    assert {id_ % 64 for id_ in ids} == {shard}


def test_shards_never_share_an_id():
    clocks = [PublicationClock(shard) for shard in range(64)]
    ids = [clock.next() for _ in range(3) for clock in clocks]
    assert len(set(ids)) == len(ids)


def test_ids_fit_into_the_limit_of_wamp_until_2057():
    """WAMP #ids: at most 2⁵³."""
    clock = PublicationClock(63)
    clock.advance(EPOCH + 33 * 365.25 * 86400)
    assert clock.next() < 2**53


# The ceiling, which is in the store


def test_the_ceiling_is_above_all_issued_ids():
    clock = PublicationClock(0)
    clock.advance(EPOCH + 5.0)
    assert clock.raise_ceiling()
    assert clock.ceiling == 5 * TICKS + AHEAD
    assert clock.next() < clock.ceiling * 64


def test_the_ceiling_is_raised_when_half_of_it_is_left():
    clock = PublicationClock(0)
    assert clock.raise_ceiling()
    assert not clock.raise_ceiling()
    clock.advance(EPOCH + AHEAD / TICKS / 2 - 1.0)
    assert not clock.raise_ceiling()
    clock.advance(EPOCH + AHEAD / TICKS / 2)
    assert clock.raise_ceiling()


@pytest.mark.parametrize("wall", [BEFORE, EPOCH + 1.0, EPOCH + 1e9])
def test_ids_after_a_restart_are_above_earlier_ones_whatever_the_time_is(wall):
    clock = PublicationClock(3)
    clock.advance(EPOCH + 1000.0)
    clock.raise_ceiling()
    issued = [clock.next() for _ in range(100)]
    again = PublicationClock(3)
    again.load(clock.ceiling)
    again.advance(wall)
    assert again.raise_ceiling()
    assert again.next() > max(issued)


def test_last_is_the_id_that_was_issued_last():
    clock = PublicationClock(3)
    clock.advance(EPOCH + 5.0)
    issued = clock.next()
    assert clock.last == issued
