"""What shows that a file has changed.

Owns: which attributes count. Never: when anybody looks.
"""

from pathlib import Path

Stamp = tuple[int, int, int, int] | None


def stamp_of(path: Path) -> Stamp:
    """Return what changes with the file: its contents, its place, its mode; None: there is none.

    The mode counts because a file with secrets that others may read is not read: whoever is told so
    says `chmod 600`, which changes nothing else.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode
