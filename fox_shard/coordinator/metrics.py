"""Metrics for StatsD: the reports of all processes become one value per name and interval.

Owns: the sums since the last flush, and which gauges are current. Never: sending (see `statsd`), a
clock. What was counted since the start is in `totals`.

A metric has an owner, a realm or a process, and a name: `publishes`, `wamp.messages_in`,
`queue_depth`. If several processes report the same one, the metric is the sum of their values.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, final

from fox_shard.backplane.frames import Report
from fox_shard.backplane.limit_counts import REFUSED
from fox_shard.coordinator.totals import owner_of
from fox_shard.histogram import Buckets, add_up, no_times

Name = tuple[str, str]
"""Owner and name."""

Value = tuple[str, str, int, Literal["c", "g"]]
"""Owner, name, value, and whether it is a counter's increase since the last flush or a gauge."""

COORDINATOR: Final = "coordinator"

COMMITS: Final = "commit_seconds"
"""The histogram of which StatsD gets the number and the average."""


@final
class Metrics:
    """Counters since the last flush, and the current gauges of each process."""

    __slots__ = ("_commits", "_counters", "_gauges", "_reported", "_since")

    def __init__(self) -> None:
        self._counters: Counter[Name] = Counter()
        self._commits: dict[str, Buckets] = {}
        self._gauges: dict[str, dict[str, int]] = {}
        # Gauges in the last flush. StatsD keeps the last value of a gauge, so a gauge that no
        # process reports any more is sent once more, as 0.
        self._reported: frozenset[Name] = frozenset()
        self._since: float | None = None

    def report(self, process: str, report: Report, now: float) -> None:
        """Add the counters of a process since its last report, and replace its gauges."""
        self._start(now)
        owner = owner_of(process)
        for name, count in report.counters.items():
            # There are many limits, and hardly one of them refuses anything.
            if count or not name.startswith(REFUSED):
                self._counters[owner, name] += count
        for realm, counters in report.realms.items():
            self._counters.update({(realm, name): count for name, count in counters.items()})
        if COMMITS in report.histograms:
            add_up(self._commits.setdefault(owner, no_times()), report.histograms[COMMITS])
        self._gauges[process] = report.gauges

    def peer_gone(self, process: str, now: float) -> None:
        """Drop the gauges of a process that died, but keep what it has counted."""
        self._start(now)
        self._gauges.pop(process, None)

    def flush(self, sessions: Iterable[tuple[str, str, int]], now: float) -> list[Value]:
        """Return the metrics to send, counters first, each sorted by name; counters restart at 0.

        sessions: (realm, `wamp` or `mqtt`, number); these become the gauges `sessions` and
        `wamp.sessions` or `mqtt.sessions` of the realm.
        """
        started = self._start(now)
        gauges = self._gauges_now(sessions)
        gauges[COORDINATOR, "uptime"] = int(now - started)
        self._take_commits(gauges)
        counters = sorted(self._counters.items())
        self._counters.clear()
        dropped = dict.fromkeys(self._reported.difference(gauges), 0)
        self._reported = frozenset(gauges)
        values: list[Value] = [(*name, value, "c") for name, value in counters]
        values += [(*name, value, "g") for name, value in sorted({**gauges, **dropped}.items())]
        return values

    def _take_commits(self, gauges: Counter[Name]) -> None:
        for owner, (microseconds, *counts) in self._commits.items():
            commits = sum(counts)
            self._counters[owner, "commits"] += commits
            gauges[owner, "commit_microseconds"] = round(microseconds / max(1, commits))
        self._commits.clear()

    def _gauges_now(self, sessions: Iterable[tuple[str, str, int]]) -> Counter[Name]:
        gauges: Counter[Name] = Counter()
        for process, reported in self._gauges.items():
            owner = owner_of(process)
            for name, value in reported.items():
                gauges[owner, name] += value
        for realm, protocol, number in sessions:
            gauges[realm, "sessions"] += number
            gauges[realm, f"{protocol}.sessions"] += number
        return gauges

    def _start(self, now: float) -> float:
        """Return the time of the first call of any method, from which uptime counts."""
        if self._since is None:
            self._since = now
        return self._since
