"""Histograms: each time is in the first bucket whose bound it does not exceed."""

import pytest

from fox_shard.histogram import BOUNDS, Histogram, add_up, no_times


@pytest.mark.parametrize(
    ("seconds", "bucket", "microseconds"),
    [
        (0.0, 0, 0),
        (-3.0, 0, 0),
        (0.0001, 0, 100),
        (0.00011, 1, 110),
        (0.001, 3, 1000),
        (10.0, len(BOUNDS) - 1, 10_000_000),
        (10.5, len(BOUNDS), 10_500_000),
    ],
)
def test_a_time_is_counted_in_one_bucket(seconds, bucket, microseconds):
    histogram = Histogram()
    histogram.add(seconds)
    taken = histogram.take()
    assert taken[0] == microseconds
    assert [index for index, count in enumerate(taken[1:]) if count] == [bucket]
    assert sum(taken[1:]) == 1


def test_what_was_taken_is_counted_once():
    histogram = Histogram()
    histogram.add(0.2)
    total = no_times()
    for _ in range(2):
        add_up(total, histogram.take())
    assert total[0] == 200_000
    assert sum(total[1:]) == 1
