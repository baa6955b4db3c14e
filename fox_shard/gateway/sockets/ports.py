"""Which fox-shard a listening address belongs to.

Owns: the claims of this user's gateways on addresses. Never: sockets.

Gateways of one server share their addresses (SO_REUSEPORT), and the kernel would let those of
another server of the same user join in without a word: clients would reach either. So each gateway
holds a shared lock on a file named after the address, in which the server's run directory stands.
The lock goes with the process, however it ends; who gets the file alone may write another name.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TextIO, final

ATTEMPTS = 3
"""At a file that somebody else may be looking at just now, who is then not its holder."""


class Taken(Exception):
    """The gateways of another server listen there. `owner`: its run directory."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


@final
class Claims:
    """Those of one gateway."""

    def __init__(self, run_dir: str, folder: Path | None = None) -> None:
        """run_dir: names the server. folder: where all of this user's servers look."""
        self._owner = os.path.realpath(run_dir)
        self._folder = folder or _folder()
        self._files: list[TextIO] = []

    def add(self, ip: str, port: int) -> None:
        """Claim an address together with the other gateways of this server. Raises Taken.

        Where there can be no such file (no temporary folder, or somebody else's), nothing is
        claimed.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                return
            path = self._folder / f"{port}-{ip}"
            for other in self._overlapping(ip, port):
                if other != path and (owner := _owner(other)) not in ("", self._owner):
                    raise Taken(owner)
            file = path.open("a+", encoding="utf-8")
        except OSError:
            return
        try:
            self._hold(file)
        except Taken:
            file.close()
            raise
        self._files.append(file)

    def _hold(self, file: TextIO) -> None:
        for _ in range(ATTEMPTS):
            if _alone(file):
                file.truncate(0)
                file.write(self._owner)
                file.flush()
            # Between the two locks another gateway may have been alone: what it wrote counts.
            fcntl.flock(file, fcntl.LOCK_SH)
            owner = _read(file)
            if owner == self._owner:
                return
        raise Taken(owner)

    def _overlapping(self, ip: str, port: int) -> Iterator[Path]:
        """Files of addresses that have clients in common: one of the two is all addresses."""
        mine = ip_address(ip)
        for path in self._folder.glob(f"{port}-*"):
            theirs = ip_address(path.name.partition("-")[2])
            if mine.version == theirs.version and (mine.is_unspecified or theirs.is_unspecified):
                yield path

    def drop(self) -> None:
        """Give all of them up."""
        while self._files:
            self._files.pop().close()


def _folder() -> Path:
    """Per user, and per network namespace: there the same address is another one."""
    try:
        namespace = os.stat("/proc/self/ns/net").st_ino
    except OSError:
        namespace = 0
    return Path(tempfile.gettempdir()) / f"fox-shard-{os.getuid()}" / f"ports-{namespace}"


def _alone(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(path: Path) -> str:
    """Who holds it; empty: nobody."""
    with path.open(encoding="utf-8") as file:
        return "" if _alone(file) else _read(file)


def _read(file: TextIO) -> str:
    file.seek(0)
    return file.read()
