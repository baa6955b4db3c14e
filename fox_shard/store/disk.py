"""Waiting for the disk.

Owns: how to wait until the disk has what was written. Never: what is in the files.
"""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until the disk has a file's content or a folder's entries. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
