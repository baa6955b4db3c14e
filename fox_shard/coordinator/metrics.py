"""Metrics: the reports of all processes become one value per name and interval.

Owns: the sums, and which gauges are current. Never: sending (see `statsd`), a clock.

Names are paths with dots: `<realm>.publishes`, `<realm>.wamp.messages_in`, `shard-0.queue_depth`.
If several processes report the same name, the metric is the sum of their values.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, final

from fox_shard.backplane.frames import Report

Value = tuple[str, int, Literal["c", "g"]]
"""Name, value, and whether it is a counter's increase since the last flush or a gauge."""

UPTIME = "coordinator.uptime"


@final
class Metrics:
    """Counters since the last flush, and the current gauges of each process."""

    __slots__ = ("_counters", "_gauges", "_reported", "_since")

    def __init__(self) -> None:
        self._counters: Counter[str] = Counter()
        self._gauges: dict[str, dict[str, int]] = {}
        # Gauges in the last flush. StatsD keeps the last value of a gauge, so a gauge that no
        # process reports any more is sent once more, as 0.
        self._reported: frozenset[str] = frozenset()
        self._since: float | None = None

    def report(self, process: str, report: Report, now: float) -> None:
        """Add the counters of a process since its last report, and replace its gauges."""
        self._start(now)
        self._counters.update(report.counters)
        self._gauges[process] = report.gauges

    def peer_gone(self, process: str, now: float) -> None:
        """Drop the gauges of a process that died, but keep what it has counted."""
        self._start(now)
        self._gauges.pop(process, None)

    def flush(self, sessions: Iterable[tuple[str, str, int]], now: float) -> list[Value]:
        """Return the metrics to send, counters first, each sorted by name; counters restart at 0.

        sessions: (realm, `wamp` or `mqtt`, number); these become the gauges `<realm>.sessions` and
        `<realm>.wamp.sessions` or `<realm>.mqtt.sessions`.
        """
        started = self._start(now)
        counters = sorted(self._counters.items())
        self._counters.clear()
        gauges = self._gauges_now(sessions)
        gauges[UPTIME] = int(now - started)
        dropped = dict.fromkeys(self._reported.difference(gauges), 0)
        self._reported = frozenset(gauges)
        values: list[Value] = [(name, value, "c") for name, value in counters]
        values += [(name, value, "g") for name, value in sorted({**gauges, **dropped}.items())]
        return values

    def _gauges_now(self, sessions: Iterable[tuple[str, str, int]]) -> dict[str, int]:
        gauges: Counter[str] = Counter()
        for reported in self._gauges.values():
            gauges.update(reported)
        for realm, gate, number in sessions:
            gauges[f"{realm}.sessions"] += number
            gauges[f"{realm}.{gate}.sessions"] += number
        return dict(gauges)

    def _start(self, now: float) -> float:
        """Return the time of the first call of any method, from which uptime counts."""
        if self._since is None:
            self._since = now
        return self._since
