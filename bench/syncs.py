"""When a process waits for the disk, as strace (Debian package strace) sees it.

Owns: starting a command under strace, reading what that has written. Never: what it means.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CALLS = "fsync,fdatasync"

# thread, time, call(descriptor<path>) = 0 <duration>; or in two parts, where threads take turns.
_LINE = re.compile(r"(\d+)\s+(\d+\.\d+) f(?:data)?sync\(\d+<(.*)>\) += 0 <(\d+\.\d+)>")
_BEGUN = re.compile(r"(\d+)\s+(\d+\.\d+) f(?:data)?sync\(\d+<(.*)> <unfinished \.\.\.>")
_ENDED = re.compile(r"(\d+)\s+(\d+\.\d+) <\.\.\. f(?:data)?sync resumed>\) += 0 <\d+\.\d+>")


class Sync(NamedTuple):
    """The disk has all of a file. began, ended: seconds since 1970."""

    path: str
    began: float
    ended: float


def traceable() -> bool:
    """Is there a strace?"""
    return shutil.which("strace") is not None


def traced(command: list[str], file: Path) -> list[str]:
    """The command, its syncs going to that file; it is the same process, strace is another.

    Only these calls stop the process (--seccomp-bpf).
    """
    options = ["-D", "-f", "--seccomp-bpf", "-qq", "-y", "-ttt", "-T", "-e", "signal=none"]
    return ["strace", *options, "-e", f"trace={CALLS}", "-o", str(file), *command]


def read(file: Path) -> Iterator[Sync]:
    """What has been written so far."""
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
