"""What a process has counted since its start.

Owns: the sums of its reports, and the gauges of the last one. Never: what is counted; reports on
their way to the coordinator.
"""

from collections import Counter
from typing import Final, final

from fox_shard.backplane.frames import Report

FRESH: Final = 0.5
"""Seconds for which a report is good for everybody who asks."""


@final
class Totals:
    """Sums of counters, and gauges, by name; those of a realm have its name before theirs."""

    __slots__ = ("_at", "_counters", "_gauges")

    def __init__(self, now: float) -> None:
        self._counters: Counter[str] = Counter()
        self._gauges: dict[str, int] = {}
        self._at = now

    def add(self, report: Report, now: float) -> None:
        """Add the counters of a report, and take its gauges."""
        self._counters.update(report.counters)
        for realm, counters in report.realms.items():
            self._counters.update({f"{realm}.{name}": count for name, count in counters.items()})
        self._gauges = report.gauges
        self._at = now

    def are_old(self, now: float) -> bool:
        """Whether there should be a report before anybody is told the totals."""
        return now - self._at >= FRESH

    def state(self, now: float) -> dict[str, object]:
        """Return {"counters", "gauges", "age": seconds since the last report}."""
        age = round(max(0.0, now - self._at), 3)
        return {"counters": dict(self._counters), "gauges": self._gauges, "age": age}
