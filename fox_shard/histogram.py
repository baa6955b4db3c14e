"""Histograms of times, which cost next to nothing to add to.

Owns: the buckets, which are the same everywhere. Never: a clock, who reads them.
"""

from bisect import bisect_left
from typing import Final, final

BOUNDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Seconds: the upper bounds of the buckets, but for the last one, which has none."""

Buckets = list[int]
"""The sum of the times in microseconds, and then how many of them each bucket has."""


def no_times() -> Buckets:
    """Return buckets without any time."""
    return [0] * (len(BOUNDS) + 2)


@final
class Histogram:
    """How many times were in each bucket since they were last taken."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets = no_times()

    def add(self, seconds: float) -> None:
        """Count one time. A negative one, which a clock that was set causes, counts as 0."""
        buckets = self._buckets
        if seconds > 0.0:
            buckets[0] += int(seconds * 1e6)
            buckets[bisect_left(BOUNDS, seconds) + 1] += 1
        else:
            buckets[1] += 1

    def take(self) -> Buckets:
        """Return the buckets, and begin again with empty ones."""
        taken, self._buckets = self._buckets, no_times()
        return taken


def add_up(total: Buckets, more: Buckets) -> None:
    """Add the second ones to the first."""
    for index, value in enumerate(more):
        total[index] += value
