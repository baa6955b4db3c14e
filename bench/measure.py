"""What a run costs: CPU, memory and latency.

Owns: reading /proc, percentiles. Never: load, servers' starting.
"""

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """A moment of a run. CPU in seconds, summed over all threads since their start."""

    clock: float
    broker: float
    generator: float
    messages: int


class Cost(NamedTuple):
    """What a run measured. Rates in messages/s, CPU in µs per message, latency in ms."""

    rate: float
    broker: float
    generator: float
    p50: float | None = None
    p99: float | None = None


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time (user and system) of all threads, to the nanosecond: first field of schedstat."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def sample(pids: Iterable[int], messages: int) -> Sample:
    """Now."""
    return Sample(time.perf_counter(), cpu_seconds(pids), time.process_time(), messages)


def cost(before: Sample, after: Sample) -> Cost:
    """The difference of two samples, per message."""
    messages = max(after.messages - before.messages, 1)
    return Cost(
        rate=messages / (after.clock - before.clock),
        broker=(after.broker - before.broker) * 1e6 / messages,
        generator=(after.generator - before.generator) * 1e6 / messages,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0..1) of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def memory_kib(pids: Iterable[int]) -> int:
    """Proportional set size of all processes, in KiB: shared pages count once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def owner(pids: Iterable[int], client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The process that holds the server's end of an IPv4 connection, None if none of these."""
    ends = f" {_hex(server)} {_hex(client)} "
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if ends in line:
            link = f"socket:[{line.split()[9]}]"
            for pid in pids:
                if any(_target(entry) == link for entry in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
    return None


def listening(port: int) -> int:
    """How many sockets listen on this IPv4 port (SO_REUSEPORT: one per gateway)."""
    mark = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[1].endswith(mark) and row[3] == "0A" for row in rows)


def _hex(address: tuple[str, int]) -> str:
    packed = bytes(int(part) for part in address[0].split("."))
    return f"{packed[::-1].hex().upper()}:{address[1]:04X}"


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # closed between listing and reading
        return ""
