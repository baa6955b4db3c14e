"""How many cores the processes of this machine, or of this container, may use.

Owns: what the kernel says. Never: who uses them.
"""

import os
from pathlib import Path
from typing import Final

QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""Has the limit of a container: microseconds of processor time in a period, or "max"."""


def usable_cores(quota: Path = QUOTA) -> float:
    """Return the cores that this process may run on, or its container's limit if that is less."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        limit, period = quota.read_text().split()
        return cores if limit == "max" else min(cores, int(limit) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return cores  # no limit is told in this way, as with version 1 of control groups
