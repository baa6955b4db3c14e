"""How long things took, in bounded memory.

Owns: counts by time, and percentiles of them. Never: a clock.
"""

from collections import Counter
from typing import Final, final

from msgspec import Struct

FINE: Final = 64
"""Microseconds up to which each has a count of its own; longer times are exact to 1 part in 32."""


class Summary(Struct, frozen=True):
    """Percentiles in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float


@final
class Latencies:
    """Counts of times, of which 1 µs to some minutes make about a thousand."""

    __slots__ = ("_counts", "_longest", "count")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._longest = 0.0
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one time. Clocks of two machines may differ, so less than nothing is nothing."""
        self.count += 1
        self._longest = max(self._longest, seconds)
        self._counts[_rounded(max(0, int(1e6 * seconds)))] += 1

    def percentile(self, share: float) -> float:
        """Return the seconds that this share of all times did not exceed; 0 if there are none."""
        wanted = share * self.count
        seen = 0
        for microseconds, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                return min(microseconds / 1e6, self._longest)
        return 0.0

    def summary(self) -> Summary:
        """Return what is printed."""
        p50, p90, p99 = (round(1e3 * self.percentile(share), 3) for share in (0.5, 0.9, 0.99))
        return Summary(p50, p90, p99, round(1e3 * self._longest, 3))


def _rounded(microseconds: int) -> int:
    """Return a time with its first six binary digits, rounded up."""
    spare = microseconds.bit_length() - FINE.bit_length() + 1
    if spare <= 0:
        return microseconds
    return (microseconds >> spare) + 1 << spare
