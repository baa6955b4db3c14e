"""The lock on a process's name.

Owns: that no two processes of one name run at the same time. Never: what the process does.
"""

import fcntl
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from fox_shard.config import Config
from fox_shard.errors import StartError


class AlreadyRunning(StartError):
    """Another process of that name runs."""


def hold_name(config: Config, name: str) -> TextIO:
    """Be the only process of that name. The lock goes with the process, however it ends.

    Raises AlreadyRunning.
    """
    run_dir = Path(config.run_dir)
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = run_dir / f"{name}.lock"
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AlreadyRunning(
            f"{name} runs already (it holds {path}): stop it, or set FOX_RUN_DIR to another "
            "folder for a second cluster"
        ) from None
    return file


def is_held(run_dir: Path, name: str) -> bool:
    """Whether a process of that name runs; False if the system does not list its locks."""
    return bool(held_files([run_dir / f"{name}.lock"]))


def held_files(paths: Iterable[Path]) -> list[Path]:
    """Return those of the lock files that are held; none if the system does not list its locks.

    Taking the lock would tell, too, but would be in the way of a process that starts just then.
    """
    try:
        locks = Path("/proc/locks").read_text()
    except OSError:
        return []
    # A line reads: number, kind, advisory or not, read or write, process, device and inode, range.
    fields = [line.split() for line in locks.splitlines()]
    held = {one[5].rpartition(":")[2] for one in fields if one[1] == "FLOCK"}
    return [path for path in paths if _inode(path) in held]


def is_free(path: Path) -> bool:
    """Whether a process has held the lock file, and nobody does now; False if there is no file.

    The lock is taken for a moment, so nobody may want it just then: its name must be one that is
    used once.
    """
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _inode(path: Path) -> str:
    try:
        return str(path.stat().st_ino)
    except OSError:
        return ""
