"""The command that runs under a lock: a process that gets our signals and does not outlive us.

Owns: starting, signals, its end and its exit code. Never: why it is ended (`lock`).

Its descendants: without a terminal the command has a process group of its own, to which signals
go as a whole. At a terminal it stays in ours, so that Ctrl-C and Ctrl-Z reach it as they reach any
command; then only the command itself is sent signals.
"""

import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final, Self, final

from fox_shard.remote.connecting import BY_SIGNAL

FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""


@final
class Command:
    """Runs from when it is made; its `with` block ends when it has ended."""

    __slots__ = ("_early", "_file", "_group", "_previous", "_process")

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """environment: added to ours. Raises OSError."""
        self._group = not _has_terminal()
        self._early: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        # First of all: a signal that ended us now would leave the command alone.
        self._previous = {
            number: signal.signal(number, self._forward)
            for number in FORWARDED
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            self._process = subprocess.Popen(
                arguments,
                env={**os.environ, **environment},
                process_group=0 if self._group else None,
                preexec_fn=_end_with(os.getpid()),  # nobody else runs in this process: no threads
            )
        except BaseException:
            self._restore()
            raise
        self._file = os.pidfd_open(self._process.pid)
        for number in self._early:
            self.send(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.send(signal.SIGKILL)
        self._child.wait()
        os.close(self._file)
        self._restore()

    def fileno(self) -> int:
        """Of a file that is readable when the command has ended."""
        return self._file

    def send(self, number: int) -> None:
        """Send a signal, if there is anybody left."""
        if self._child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if self._group:
                os.killpg(self._child.pid, number)
            else:
                self._child.send_signal(number)

    def end(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after so many seconds, for what is left of it."""
        self.send(signal.SIGTERM)
        select.select([self._file], [], [], grace)
        # Before it is waited for: until then nobody else can have its number.
        self.send(signal.SIGKILL)

    def code(self) -> int:
        """Wait for its end. Returns its exit code, or what a shell says instead of a signal."""
        code = self._child.wait()
        return code if code >= 0 else BY_SIGNAL - code

    @property
    def _child(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        elif not (number == signal.SIGINT and self._at_keyboard()):
            self.send(number)

    def _at_keyboard(self) -> bool:
        """Has the terminal sent this to the command as well?"""
        if self._group:
            return False
        with suppress(OSError), open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
        return False

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _end_with(parent: int) -> Callable[[], None]:
    """What the command does before it begins: it is killed when we are, even by SIGKILL."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(BY_SIGNAL + signal.SIGKILL)

    return prepare
