"""How often each limit has refused something, for the metrics and `fox health`.

Owns: the counts. Never: the limits.
"""

from collections.abc import Iterable
from typing import Final, final

REFUSED: Final = "refused."
"""The beginning of the names of these counters in reports."""


@final
class LimitCounts:
    """Counts by the names of limits, which are fixed, so that no client can add one."""

    __slots__ = ("_reported", "_totals")

    def __init__(self, names: Iterable[str]) -> None:
        self._totals = dict.fromkeys(names, 0)
        self._reported = dict(self._totals)

    def add(self, name: str, count: int = 1) -> None:
        """Count what a limit has refused. name: one of those given at the beginning; "": none."""
        if name:
            self._totals[name] += count

    def take(self) -> dict[str, int]:
        """Return what was added since the last call, as `refused.<name>`.

        Zeros are there, too, because Prometheus sees an increase only of what has been there.
        """
        before, self._reported = self._reported, dict(self._totals)
        return {f"{REFUSED}{name}": total - before[name] for name, total in self._totals.items()}

    def totals(self) -> dict[str, int]:
        """Return what was added since the beginning, by name, without zeros."""
        return {name: total for name, total in self._totals.items() if total}
