"""The table of docs/bench.md: the last comparison with the peers, and what became worse since.

Owns: the table's form, reading what was written last. Never: measuring.
"""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.measure import Cost
from bench.servers import FoxServe, ThinnestRelay

_BEGIN, _END = "<!-- table: begin -->", "<!-- table: end -->"
_HEAD = "| scenario | server | CPU µs | p50 ms | peer | its CPU µs | its p50 ms | ratio | target |"
_RULE = "|---|---|--:|--:|---|--:|--:|--:|--:|"
_WORSE = 1.15
"""A ratio that has grown by more than this is a regression: two runs of one build differ by up to
a tenth."""


class Comparison(NamedTuple):
    """A row: the cost of a server of ours beside a peer's.

    target: the highest ratio wanted, or None.
    """

    scenario: str
    server: str
    peer: str
    ours: Cost
    theirs: Cost
    target: float | None

    @property
    def ratio(self) -> float:
        """Our CPU per message divided by the peer's."""
        return self.ours.broker / self.theirs.broker


def regressions(file: Path, rows: Sequence[Comparison]) -> list[str]:
    """Return a sentence for each row whose ratio has grown since `file` was written."""
    last = _ratios(file.read_text())
    return [
        f"{row.scenario}, {row.server} beside {row.peer}: ratio {row.ratio:.2f}, was {before:.2f}"
        for row in rows
        if (before := last.get((row.scenario, row.server, row.peer)))
        and row.ratio > _WORSE * before
    ]


def write(file: Path, rows: Sequence[Comparison], about: Mapping[str, str]) -> None:
    """Write the table into `file`, in place of the one that is there.

    Rows that were not measured now go: a table is of one run. about: what was measured where, e.g.
    versions and date. Raises ValueError if the file has no place for the table.
    """
    text = file.read_text()
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"{file} has no lines {_BEGIN} and {_END}")
    lines = [f"* {name}: {value}" for name, value in about.items()]
    for kind in (_is_of_the_cluster, _is_of_one_process, _is_of_the_floor):
        lines += ["", _HEAD, _RULE, *(_line(row) for row in rows if kind(row))]
    start, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    file.write_text(text[:start] + "\n" + "\n".join(lines) + "\n" + text[end:])


def machine() -> dict[str, str]:
    """Return what the figures depend on: processor, kernel, Python."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    processor = found[1] if found else platform.machine()
    return {
        "processor": f"{processor}, {len(os.sched_getaffinity(0))} cores",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def _is_of_the_floor(row: Comparison) -> bool:
    return row.peer == ThinnestRelay.name


def _is_of_one_process(row: Comparison) -> bool:
    return row.server == FoxServe.name


def _is_of_the_cluster(row: Comparison) -> bool:
    return not _is_of_the_floor(row) and not _is_of_one_process(row)


def _line(row: Comparison) -> str:
    target = "" if row.target is None else f"{row.target:.2f}"
    ratio = f"{row.ratio:.2f}" + (" (missed)" if row.target and row.ratio > row.target else "")
    cells = [
        row.scenario,
        row.server,
        f"{row.ours.broker:.2f}",
        _milliseconds(row.ours),
        row.peer,
        f"{row.theirs.broker:.2f}",
        _milliseconds(row.theirs),
        ratio,
        target,
    ]
    return "| " + " | ".join(cells) + " |"


def _milliseconds(cost: Cost) -> str:
    return "" if cost.p50 is None else f"{cost.p50:.2f}"


def _ratios(text: str) -> dict[tuple[str, str, str], float]:
    """Return the ratios of the table in `text` by scenario, server and peer."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(_HEAD.strip("|").split("|")) and cells[5][:1].isdigit():
            found[cells[0], cells[1], cells[4]] = float(cells[7].split()[0])
    return found
