"""Listening at a path instead of a port.

Owns: the path from the start to the end, and what may be removed there. Never: clients.

The kernel shares no path among several sockets, as it does ports. So each gateway has a path of its
own, and a proxy in front is told all of them.
"""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import final

from fox_shard.config import UnixPath
from fox_shard.gateway.sockets.listening import ListenError


@final
class UnixListener:
    """A listening socket at a path."""

    def __init__(self, address: UnixPath, mode: int) -> None:
        """Listen. mode: of the path. Raises ListenError.

        The socket gets its mode at a path beside its own, and is moved to its place: so nobody else
        can connect meanwhile, and whoever connects while a gateway restarts finds one or the other.
        """
        self.address = address
        path = Path(address.path)
        beside = path.with_name(f"{path.name}.new")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _check_free(path)
            with suppress(FileNotFoundError):
                beside.unlink()
            self.socket.bind(str(beside))
            beside.chmod(mode)
            self.socket.listen()
            self._inode = beside.stat().st_ino
            beside.replace(path)
        except OSError as error:
            self.socket.close()
            raise ListenError(f"Cannot listen at {address}: {error.strerror or error}.") from error
        except ListenError:
            self.socket.close()
            raise

    def remove(self) -> None:
        """Remove the path, if it is still that of this socket."""
        with suppress(OSError):
            if os.lstat(self.address.path).st_ino == self._inode:
                os.unlink(self.address.path)


def _check_free(path: Path) -> None:
    """Raise ListenError unless there is nothing, or a socket at which nobody listens any more."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"Cannot listen at unix:{path}: there is a file that is no socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.settimeout(0)
        try:
            other.connect(str(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            # Its backlog is full, so somebody listens.
            pass
    raise ListenError(f"Cannot listen at unix:{path}: another process listens there.")
