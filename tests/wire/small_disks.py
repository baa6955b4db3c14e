"""Small disks in memory, which a test can fill. Mounting them needs root.

Owns: mounting, filling, unmounting. Never: brokers.
"""

import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096


def _mount(*arguments):
    done = subprocess.run(
        ["mount", *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stderr.strip() or done.returncode


def _write_on(file):
    while True:
        file.write(bytes(PAGE))


class SmallDisk:
    """A small disk that is mounted at `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self):
        """Fill the disk to the last page."""
        with (
            self._filler.open("wb", buffering=0) as file,
            pytest.raises(OSError, match="No space left"),
        ):
            _write_on(file)

    @property
    def is_full(self):
        """Whether `fill` has been called without `make_room` since."""
        return self._filler.exists()

    def make_room(self):
        self._filler.unlink()

    def make_read_only(self):
        """Make the disk read-only. No file on it may be open for writing."""
        assert not _mount("-o", "remount,ro", str(self.folder))


@contextmanager
def small_disk(megabytes):
    """Mount a disk for a `with` block; skip the test where that is not possible."""
    folder = Path(tempfile.mkdtemp(prefix="fox-disk-"))
    try:
        options = f"size={megabytes}m,mode=0700"
        if trouble := _mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder)):
            pytest.skip(f"a tmpfs cannot be mounted: {trouble}")
        try:
            yield SmallDisk(folder)
        finally:
            subprocess.run(["umount", str(folder)], timeout=20, check=True)
    finally:
        folder.rmdir()
