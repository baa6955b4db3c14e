"""The times at which a process waits for the disk, recorded by strace (Debian package strace).

Owns: the command line of strace, reading its output. Never: starting processes, judging numbers.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CALLS = "fsync,fdatasync"

# A line has: thread, time, call(descriptor<path>) = 0 <duration>. A call during which another
# thread makes one has two lines.
_LINE = re.compile(r"(\d+)\s+(\d+\.\d+) f(?:data)?sync\(\d+<(.*)>\) += 0 <(\d+\.\d+)>")
_BEGUN = re.compile(r"(\d+)\s+(\d+\.\d+) f(?:data)?sync\(\d+<(.*)> <unfinished \.\.\.>")
_ENDED = re.compile(r"(\d+)\s+(\d+\.\d+) <\.\.\. f(?:data)?sync resumed>\) += 0 <\d+\.\d+>")


class Sync(NamedTuple):
    """One call of fsync or fdatasync. began, ended: seconds since 1970."""

    path: str
    began: float
    ended: float


def traceable() -> bool:
    """Whether strace is installed."""
    return shutil.which("strace") is not None


def traced(command: list[str], file: Path) -> list[str]:
    """Return a command line that runs `command` and records its syncs in the file.

    The process id is that of the command; strace is another process (-D). Only the recorded calls
    stop the command (--seccomp-bpf).
    """
    options = ["-D", "-f", "--seccomp-bpf", "-qq", "-y", "-ttt", "-T", "-e", "signal=none"]
    return ["strace", *options, "-e", f"trace={CALLS}", "-o", str(file), *command]


def read(file: Path) -> Iterator[Sync]:
    """Yield the syncs recorded so far."""
    begun: dict[str, tuple[float, str]] = {}
    for line in file.read_text().splitlines():
        if found := _LINE.match(line):
            _, began, path, took = found.groups()
            yield Sync(path, float(began), float(began) + float(took))
        elif found := _BEGUN.match(line):
            thread, began, path = found.groups()
            begun[thread] = float(began), path
        elif (found := _ENDED.match(line)) and found[1] in begun:
            when, path = begun.pop(found[1])
            yield Sync(path, when, float(found[2]))
