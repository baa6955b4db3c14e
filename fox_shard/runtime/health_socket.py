"""The socket in the run directory at which a process answers how it is.

Owns: the socket, whether somebody answers there, and the form of an answer. Never: what makes a
process healthy; questions (see `health`).
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, final

import msgspec

from fox_shard.runtime.answer_socket import AnswerSocket
from fox_shard.runtime.memory import resident_bytes

_STARTED: Final = time.monotonic()
"""When this module was loaded, soon after the process had started."""


def answers(run_dir: Path, name: str) -> bool:
    """Whether there is a process that answers at the socket of that name."""
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(0)
        # Others wait for their turn, if it is busy: EAGAIN.
        return sock.connect_ex(str(run_dir / f"{name}.health")) in (0, errno.EAGAIN)


@final
class HealthSocket:
    """The UNIX socket `<run_dir>/<name>.health`: whoever connects is told, in a line of JSON."""

    def __init__(self, run_dir: Path, name: str, ask: Callable[[], Mapping[str, object]]) -> None:
        """ask: returns the answer, to which what is known of the process is added.

        pid; memory: bytes; uptime: seconds since it began to load; processor: seconds used so far.
        """
        self._ask = ask
        self._socket = AnswerSocket(run_dir / f"{name}.health", self._answer)

    async def open(self) -> None:
        """Begin to answer."""
        await self._socket.open()

    def close(self) -> None:
        """Answer no more."""
        self._socket.close()

    def _answer(self) -> bytes:
        about = {
            "pid": os.getpid(),
            "memory": resident_bytes(),
            "uptime": round(time.monotonic() - _STARTED, 1),
            "processor": round(time.process_time(), 3),
        }
        return msgspec.json.encode({**self._ask(), **about}) + b"\n"
