"""supervisord, as one of its processes knows it.

Owns: that the process ends when supervisord does, and that a server which cannot start stops.
Never: starting processes, which is supervisord's part.

If supervisord is killed, nobody would stop its processes, and they would be in the way of the next
start. So the kernel sends them SIGTERM then. This works on Linux only.
"""

import ctypes
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Final, final

READY: Final = "ready"
"""File in the run directory: the server was ready under that supervisord (see `readiness`)."""

REFUSAL: Final = "refusal"
"""File in the run directory: the sentence with which a process stopped the server."""

_PR_SET_PDEATHSIG: Final = 1


@final
class Supervisor:
    """The supervisord that has started this process."""

    def __init__(self, pid: int) -> None:
        """pid: that of our parent."""
        self._pid = pid
        self.identity = identity_of(pid)

    def stop(self, run_dir: Path, sentence: str) -> None:
        """This process cannot start, and says why: the server stops, unless it was ready before.

        Later, supervisord tries to start the process again: the others go on meanwhile.
        """
        ready = run_dir / READY
        if ready.exists() and ready.read_text().startswith(f"{self.identity}\n"):
            return
        (run_dir / REFUSAL).write_text(f"{self.identity}\n{sentence}")
        if os.getppid() == self._pid:
            os.kill(self._pid, signal.SIGTERM)


def follow_supervisor() -> Supervisor | None:
    """From now on this process gets SIGTERM when its supervisord ends. None: it has none."""
    if "SUPERVISOR_ENABLED" not in os.environ or sys.platform != "linux":
        return None
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # It may have ended before, while Python started.
    if os.getppid() != parent or not _listens(os.environ.get("SUPERVISOR_SERVER_URL", "")):
        raise SystemExit(128 + signal.SIGTERM)
    return Supervisor(parent)


def _listens(url: str) -> bool:
    """Does supervisord live, as far as can be told?"""
    path = url.removeprefix("unix://")
    return path == url or peer_of(Path(path)) is not None


def peer_of(path: Path) -> int | None:
    """The process that listens at this UNIX socket; 0: that cannot be told; None: there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)  # noqa: FBT003 (Python's)
        try:
            client.connect(str(path))
        except BlockingIOError:
            return 0  # it is there, and has a lot to do
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        if sys.platform != "linux":
            return 0
        size = struct.calcsize("3i")
        pid: int = struct.unpack(
            "3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )[0]
        return pid


def identity_of(pid: int) -> str:
    """Its id and when it was started: these name one process for ever, also in a container."""
    if sys.platform != "linux":
        return str(pid)
    # In ticks since the machine's start; the 20th field behind the name (proc(5)).
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{pid} {started}"


def refusal_of(identity: str, run_dir: Path) -> str:
    """The sentence with which a process has stopped that supervisord's server; "": none has."""
    path = run_dir / REFUSAL
    whose, _, sentence = path.read_text().partition("\n") if path.exists() else ("", "", "")
    return sentence if whose == identity else ""
