"""The cost of a run: CPU, memory and latency.

Owns: reading /proc, percentiles. Never: load, starting servers.
"""

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """A moment of a run. broker, generator: CPU seconds of all threads since their start.

    each: those of each of the broker's processes.
    """

    clock: float
    broker: float
    generator: float
    messages: int
    each: tuple[float, ...] = ()


class Cost(NamedTuple):
    """The result of a run: rate in messages/s, CPU in µs per message, latency in ms.

    p50, p99: None if the scenario does not measure latency. each: CPU in µs per message of each of
    the broker's processes.
    """

    rate: float
    broker: float
    generator: float
    p50: float | None = None
    p99: float | None = None
    each: tuple[float, ...] = ()


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of all threads, user and system; schedstat has it in nanoseconds."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def sample(pids: Iterable[int], messages: int) -> Sample:
    """Take a sample now. pids: the broker's processes. messages: received so far."""
    each = tuple(cpu_seconds([pid]) for pid in pids)
    return Sample(time.perf_counter(), sum(each), time.process_time(), messages, each)


def cost(before: Sample, after: Sample) -> Cost:
    """Return the difference of two samples, per message."""
    messages = max(after.messages - before.messages, 1)
    return Cost(
        rate=messages / (after.clock - before.clock),
        broker=(after.broker - before.broker) * 1e6 / messages,
        generator=(after.generator - before.generator) * 1e6 / messages,
        each=tuple(
            (now - then) * 1e6 / messages for then, now in zip(before.each, after.each, strict=True)
        ),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` (0..1) of all values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def memory_kib(pids: Iterable[int]) -> int:
    """Return the proportional set size of all processes in KiB, which counts shared pages once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def owner(pids: Iterable[int], client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the process of `pids` that has the server's end of an IPv4 connection, or None."""
    ends = f" {_hex(server)} {_hex(client)} "
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if ends in line:
            link = f"socket:[{line.split()[9]}]"
            for pid in pids:
                if any(_target(entry) == link for entry in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
    return None


def clients(pid: int, server: tuple[str, int]) -> list[tuple[str, int]]:
    """Return the process's ends of its IPv4 connections to a server: (host, port)."""
    links = {_target(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return [
        (server[0], int(row[1].rpartition(":")[2], 16))
        for row in rows
        if row[2] == _hex(server) and f"socket:[{row[9]}]" in links
    ]


def listening(port: int) -> int:
    """Return the number of sockets that listen on an IPv4 port (SO_REUSEPORT: one per gateway)."""
    mark = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[1].endswith(mark) and row[3] == "0A" for row in rows)


def _hex(address: tuple[str, int]) -> str:
    packed = bytes(int(part) for part in address[0].split("."))
    return f"{packed[::-1].hex().upper()}:{address[1]:04X}"


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # the file was closed after it was listed
        return ""
