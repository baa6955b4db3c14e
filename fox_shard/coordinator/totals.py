"""What all processes have reported since the coordinator's start.

Owns: the sums, and which realms have sums of their own. Never: who reads them (see `web.metrics`),
a clock. What was counted since StatsD got something last is in `metrics`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, final

from msgspec import Struct, field

from fox_shard.backplane.attached import PREFIX, is_attached
from fox_shard.backplane.frames import Report
from fox_shard.histogram import Buckets, add_up, no_times

OTHER: Final = "other"
"""In place of the names of realms that have no sums of their own."""

ALSO_OF_GATEWAYS: Final = ("publishes", "deliveries", "dropped_events", "calls")
"""What is counted by realm, and is summed up for each gateway, too."""


def owner_of(process: str) -> str:
    """Return under which name a process's metrics go: attached gateways, which are many, share one.

    process: its own name.
    """
    return PREFIX if is_attached(process) else process


class ProcessTotals(Struct):
    """The sums of one process; gauges are those of its last report."""

    counters: dict[str, int] = field(default_factory=dict)
    gauges: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, Buckets] = field(default_factory=dict)


class Sums(Struct):
    """All sums at one time.

    sessions: (realm, protocol, number). uptime: seconds. links: whether the coordinator is linked
    with each process that it waits for.
    """

    uptime: float
    processes: dict[str, ProcessTotals]
    realms: dict[str, dict[str, int]]
    sessions: list[tuple[str, str, int]]
    links: dict[str, bool] = field(default_factory=dict)


@final
class Totals:
    """Sums by process and by realm, which only grow, and the gauges of processes."""

    __slots__ = ("_gauges", "_most", "_processes", "_realms", "_started")

    def __init__(self, realms: Sequence[str], most: int, now: float) -> None:
        """most: realms with sums of their own: the configured ones first, then who comes first."""
        self._started = now
        self._most = most
        self._processes: dict[str, ProcessTotals] = {}
        self._realms: dict[str, dict[str, int]] = {realm: {} for realm in realms[:most]}
        # By the processes' own names.
        self._gauges: dict[str, dict[str, int]] = {}

    def report(self, process: str, report: Report) -> None:
        """Add what a process has counted since its last report, and replace its gauges."""
        totals = self._processes.setdefault(owner_of(process), ProcessTotals())
        _add(totals.counters, report.counters)
        for realm, counters in report.realms.items():
            _add(self._realms.setdefault(self._label(realm), {}), counters)
            _add(totals.counters, {name: counters.get(name, 0) for name in ALSO_OF_GATEWAYS})
        for name, buckets in report.histograms.items():
            add_up(totals.histograms.setdefault(name, no_times()), buckets)
        self._gauges[process] = report.gauges

    def peer_gone(self, process: str) -> None:
        """Drop the gauges of a process that died, but keep what it has counted."""
        self._gauges.pop(process, None)

    def sums(self, sessions: Iterable[tuple[str, str, int]], now: float) -> Sums:
        """Return all sums. sessions: the numbers of them by realm and protocol, at present."""
        for totals in self._processes.values():
            totals.gauges = {}
        for process, gauges in self._gauges.items():
            _add(self._processes[owner_of(process)].gauges, gauges)
        by_label: dict[tuple[str, str], int] = {}
        for realm, protocol, number in sessions:
            at = (self._label(realm), protocol)
            by_label[at] = by_label.get(at, 0) + number
        return Sums(
            now - self._started,
            self._processes,
            self._realms,
            [(realm, protocol, number) for (realm, protocol), number in by_label.items()],
        )

    def _label(self, realm: str) -> str:
        if realm in self._realms or len(self._realms) - (OTHER in self._realms) < self._most:
            return realm
        return OTHER


def _add(sums: dict[str, int], more: dict[str, int]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, 0) + value
