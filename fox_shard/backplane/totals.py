"""What a process has counted since its start.

Owns: the sums of its reports, and the gauges of the last one. Never: what is counted; reports on
their way to the coordinator, which adds up those of all processes (see `coordinator.totals`).
"""

from collections import Counter
from typing import Final, final

from fox_shard.backplane.frames import Report
from fox_shard.histogram import Buckets, add_up, no_times

FRESH: Final = 0.5
"""Seconds for which a report is good for everybody who asks."""


@final
class Totals:
    """Sums of counters and histograms, and gauges, by name."""

    __slots__ = ("_at", "_counters", "_gauges", "_histograms", "_realms")

    def __init__(self, now: float) -> None:
        self._counters: Counter[str] = Counter()
        self._realms: dict[str, Counter[str]] = {}
        self._histograms: dict[str, Buckets] = {}
        self._gauges: dict[str, int] = {}
        self._at = now

    def add(self, report: Report, now: float) -> None:
        """Add what a report has counted, and take its gauges."""
        self._counters.update(report.counters)
        for realm, counters in report.realms.items():
            self._realms.setdefault(realm, Counter()).update(counters)
        for name, buckets in report.histograms.items():
            add_up(self._histograms.setdefault(name, no_times()), buckets)
        self._gauges = report.gauges
        self._at = now

    def are_old(self, now: float) -> bool:
        """Whether there should be a report before anybody is told the totals."""
        return now - self._at >= FRESH

    def state(self, now: float) -> dict[str, object]:
        """Return all as JSON has it.

        realms: counters of each realm. histograms: see `histogram`. age: seconds since the last
        report.
        """
        return {
            "counters": dict(self._counters),
            "realms": {realm: dict(counters) for realm, counters in self._realms.items()},
            "histograms": {name: [*buckets] for name, buckets in self._histograms.items()},
            "gauges": self._gauges,
            "age": round(max(0.0, now - self._at), 3),
        }
