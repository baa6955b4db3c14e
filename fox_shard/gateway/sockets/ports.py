"""Claims: which server a listening address belongs to.

Owns: the claims of this user's gateways on addresses. Never: sockets.

Gateways of one server share their addresses (SO_REUSEPORT). The kernel would silently let gateways
of the same user's other servers join them, and clients would reach either server. So each gateway
holds a shared lock on a file that is named after the address and contains the server's run
directory. The lock ends with the process, however that ends. A gateway that can lock the file
exclusively may write its own server's run directory into it.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TextIO, final

ATTEMPTS = 3
"""How often a claim is tried: a process that only reads the owner also locks the file, briefly."""


class AddressTaken(Exception):
    """An address belongs to another server. `owner`: that server's run directory."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


@final
class Claims:
    """The claims of one gateway."""

    def __init__(self, run_dir: str, folder: Path | None = None) -> None:
        """run_dir: identifies the server. folder: has the files of all this user's servers."""
        self._owner = os.path.realpath(run_dir)
        self._folder = folder or _folder()
        self._files: list[TextIO] = []

    def add(self, ip: str, port: int) -> None:
        """Claim an address together with the other gateways of this server. Raises Taken.

        Nothing is claimed if the file cannot be made, because there is no temporary folder or it
        belongs to another user.
        """
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                return
            path = self._folder / f"{port}-{ip}"
            for other in _overlapping(self._folder, ip, port):
                if other != path and (owner := _owner(other)) not in ("", self._owner):
                    raise AddressTaken(owner)
            file = path.open("a+", encoding="utf-8")
        except OSError:
            return
        try:
            self._hold(file)
        except AddressTaken:
            file.close()
            raise
        self._files.append(file)

    def _hold(self, file: TextIO) -> None:
        for _ in range(ATTEMPTS):
            if _lock_exclusively(file):
                file.truncate(0)
                file.write(self._owner)
                file.flush()
            # Another gateway may have had the exclusive lock in between: what it wrote counts.
            fcntl.flock(file, fcntl.LOCK_SH)
            owner = _read(file)
            if owner == self._owner:
                return
        raise AddressTaken(owner)

    def drop(self) -> None:
        """Give up all claims."""
        while self._files:
            self._files.pop().close()


def _overlapping(folder: Path, ip: str, port: int) -> Iterator[Path]:
    """Yield the files of addresses that overlap with this one: one of the two is a wildcard."""
    mine = ip_address(ip)
    for path in folder.glob(f"{port}-*"):
        theirs = ip_address(path.name.partition("-")[2])
        if mine.version == theirs.version and (mine.is_unspecified or theirs.is_unspecified):
            yield path


def _folder() -> Path | None:
    """Return the files' folder: one per user and network namespace, which has its own addresses.

    None: there is no temporary folder, as in a container that may write nowhere.
    """
    try:
        namespace = os.stat("/proc/self/ns/net").st_ino
    except OSError:
        namespace = 0
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:
        return None
    return Path(temporary) / f"fox-shard-{os.getuid()}" / f"ports-{namespace}"


def _lock_exclusively(file: TextIO) -> bool:
    """Return whether the file could be locked, because no other process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(path: Path) -> str:
    """Return the run directory of the server that holds the file; "" if none does."""
    with path.open(encoding="utf-8") as file:
        return "" if _lock_exclusively(file) else _read(file)


def _read(file: TextIO) -> str:
    file.seek(0)
    return file.read()
