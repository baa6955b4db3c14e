"""The publication clock, whose ids grow whatever the time of day does, and the time of day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.shard.clock import (
    AHEAD,
    EPOCH,
    JUMP,
    LATEST,
    PATIENCE,
    TICKS,
    PublicationClock,
    TimeOfDay,
)
from fox_shard.topics.ids import MAX_ID

BEFORE = EPOCH - 1000.0


def pass_to(clock, wall):
    """Let the time of day become that, and store the ceiling that this needs."""
    clock.advance(wall)
    if clock.raise_ceiling():
        clock.ceiling_is_durable()
    clock.advance(wall)


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
        pass_to(clock, wall)
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
    pass_to(clock, EPOCH + 33 * 365.25 * 86400)
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
    pass_to(clock, EPOCH + 1000.0)
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


@given(st.lists(st.floats(0, 4e10, allow_nan=False), max_size=20), st.integers(0, 63))
def test_ids_never_leave_the_range_whatever_the_time_of_day_is(walls, shard):
    clock = PublicationClock(shard)
    for wall in walls:
        pass_to(clock, wall)
        assert 0 < clock.next() <= MAX_ID
    again = PublicationClock(shard)
    again.load(clock.ceiling)
    assert clock.last < again.next() <= MAX_ID


def test_four_years_of_ids_are_left_even_after_the_latest_time_of_day():
    clock = PublicationClock(63)
    pass_to(clock, 1e12)
    assert (MAX_ID - clock.next()) // 64 >= 4 * 365 * 86_400 * TICKS


def test_ids_out_of_range_that_an_earlier_version_issued_are_left_behind():
    clock = PublicationClock(0)
    clock.load(MAX_ID // 64 + 1000)
    assert clock.next() <= MAX_ID


def test_no_id_above_the_stored_ceiling_comes_from_the_time_alone():
    clock = PublicationClock(0)
    pass_to(clock, EPOCH + 5.0)
    stored = clock.ceiling
    clock.advance(EPOCH + 5.0 + 3600.0)
    assert clock.next() <= 64 * (stored + 2)
    assert clock.raise_ceiling()
    assert clock.next() <= 64 * (stored + 2)
    clock.ceiling_is_durable()
    clock.advance(EPOCH + 5.0 + 3600.0)
    assert clock.next() == 64 * (3605 * TICKS + 1)


# The time of day

NOW = EPOCH + 1e8


def told(*walls, time=None):
    """Tell times of day, one a second; return what was said, and what was believed."""
    time = time or TimeOfDay(0.0)
    said = [bool(time.tell(wall, second)) for second, wall in enumerate(walls)]
    return said, len(walls) - 1 + time.offset


def test_a_plausible_time_of_day_is_believed():
    assert told(NOW, NOW + 1) == ([False, False], NOW + 1)


@pytest.mark.parametrize("absurd", [0.0, EPOCH - 10.0, LATEST, 3_187_296_000.0, 1e12, 1e20, -1e20])
def test_an_absurd_time_of_day_is_refused_once_and_the_last_good_one_goes_on(absurd):
    said, believed = told(NOW, absurd, absurd + 1, absurd + 2, NOW + 4)
    assert said == [False, True, False, False, True]
    assert believed == NOW + 4
    assert told(NOW, absurd, absurd + 1)[1] == NOW + 2


@pytest.mark.parametrize("seconds", [-1e7, -1.0, 0.5, 3600.0, JUMP])
def test_a_time_of_day_that_is_set_back_or_a_little_ahead_is_believed_at_once(seconds):
    assert told(NOW, NOW + 1 + seconds) == ([False, False], NOW + 1 + seconds)


def test_a_long_jump_ahead_is_believed_when_it_has_lasted():
    time = TimeOfDay(0.0)
    far = 1e7
    assert time.tell(NOW, 0.0) == ""
    assert "a day ahead" in time.tell(NOW + far + 1, 1.0)
    for second in range(2, int(PATIENCE)):
        assert time.tell(NOW + far + second, second) == ""
        assert time.offset == NOW
    assert "believed again" in time.tell(NOW + far + PATIENCE + 1, PATIENCE + 1)
    assert time.offset == NOW + far


def test_a_clock_that_jumps_about_is_not_believed():
    time = TimeOfDay(0.0)
    time.tell(NOW, 0.0)
    for second in range(1, int(3 * PATIENCE)):
        time.tell(NOW + second * 10 * JUMP, second)
        assert time.offset == NOW


def test_the_first_time_of_day_is_believed_however_long_the_server_was_off():
    time = TimeOfDay(0.0)
    time.begin_at(AHEAD + TICKS, 0.0)
    assert time.offset == EPOCH + 1
    assert time.tell(NOW, 0.0) == ""
    assert time.offset == NOW


def test_a_machine_that_starts_with_an_absurd_clock_begins_with_the_stored_time():
    time = TimeOfDay(50.0)
    assert "absurd" in time.tell(0.0, 50.0)
    time.begin_at(AHEAD + 1000 * TICKS, 50.0)
    assert 50.0 + time.offset == EPOCH + 1000
    # Its clock is set: that is news, but no jump.
    assert "believed again" in time.tell(NOW, 60.0)
    assert 60.0 + time.offset == NOW
