"""The names of attached gateways, as their lock files in the run directory tell them.

Owns: which of them run, and that files of ended ones go. Never: the locks (see `name_lock`).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fox_shard.backplane.attached import PREFIX, HasEnded, Running
from fox_shard.runtime.name_lock import held_files, is_free

OLD: Final = 60.0
"""Seconds after which a lock file that nobody holds is not that of a process that just starts."""


def running_in(run_dir: Path) -> Running:
    """Return the function that tells which attached gateways run."""
    return lambda: running(run_dir)


def ended_in(run_dir: Path) -> HasEnded:
    """Return the function that tells whether the process of an attached gateway has ended.

    Its lock tells that for sure: a process that is stopped, or starved, holds it as before, in
    whichever container; and nobody else ever takes a lock of that name.
    """
    return lambda name: is_free(run_dir / f"{name}.lock")


def running(run_dir: Path) -> frozenset[str]:
    """Return the names of the attached gateways whose processes run."""
    return frozenset(path.stem for path in held_files(run_dir.glob(f"{PREFIX}*.lock")))


def clear_away(run_dir: Path, now: Callable[[], float] = time.time) -> None:
    """Delete what attached gateways that were killed have left. now: seconds since 1970."""
    here = running(run_dir)
    for lock in run_dir.glob(f"{PREFIX}*.lock"):
        try:
            old = now() - lock.stat().st_mtime > OLD
        except FileNotFoundError:
            continue  # another process has just deleted it
        if old and lock.stem not in here:
            for path in (*run_dir.glob(f"{lock.stem}.*"), lock):
                path.unlink(missing_ok=True)
