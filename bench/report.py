"""Tables of results.

Owns: medians, ratios, layout. Never: measuring.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.idle import Memory
from bench.measure import Cost

_COLUMNS = (("msg/s", 10), ("p50 ms", 8), ("p99 ms", 8), ("CPU µs", 9), ("gen µs", 8))


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        rate=median(cost.rate for cost in costs),
        broker=median(cost.broker for cost in costs),
        generator=median(cost.generator for cost in costs),
        p50=_median_or_none([cost.p50 for cost in costs]),
        p99=_median_or_none([cost.p99 for cost in costs]),
        each=tuple(map(median, zip(*(cost.each for cost in costs), strict=True))),
    )


def head() -> str:
    """Return the table's header line."""
    return f"{'scenario':<26}{'server':<11}" + "".join(f"{name:>{n}}" for name, n in _COLUMNS)


def row(scenario: str, server: str, cost: Cost) -> str:
    """Return a line of the table; CPU is per delivered message."""
    return (
        f"{scenario:<26}{server:<11}{cost.rate:>10,.0f}{_figure(cost.p50, 8)}{_figure(cost.p99, 8)}"
        f"{cost.broker:>9.3f}{cost.generator:>8.3f}"
    )


def split(kinds: Sequence[str], cost: Cost) -> str:
    """Return the CPU per message by kind of process. kinds: that of each process."""
    sums: dict[str, float] = {}
    for kind, used in zip(kinds, cost.each, strict=True):
        sums[kind] = sums.get(kind, 0.0) + used
    return ", ".join(f"{kind} {used:.3f} µs" for kind, used in sums.items())


def ratio(ours: Cost, theirs: Cost) -> float:
    """Return our CPU per message divided by theirs."""
    return ours.broker / theirs.broker


def verdict(ours: Cost, theirs: Cost, target: float | None) -> str:
    """Return the ratio of our cost to theirs in words, with its target if there is one."""
    measured = ratio(ours, theirs)
    if target is None:
        return f"ratio {measured:.2f}"
    reached = "reached" if measured <= target else "MISSED"
    return f"ratio {measured:.2f}, target {target:.2f}: {reached}"


def memory_row(memory: Memory) -> str:
    """Return a line of the memory table."""
    return (
        f"{memory.server:<11}{memory.protocol:<6}{memory.connections:>7} connections"
        f"{memory.kib:>8.2f} KiB each"
    )


def as_json(scenario: str, server: str, costs: Sequence[Cost]) -> dict[str, Any]:
    """Return a result for --json: the median and all rounds."""
    return {
        "scenario": scenario,
        "server": server,
        "median": middle(costs)._asdict(),
        "rounds": [cost._asdict() for cost in costs],
    }


def _median_or_none(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return median(present) if present else None


def _figure(value: float | None, width: int) -> str:
    return f"{value:>{width}.2f}" if value is not None else " " * (width - 1) + "-"
