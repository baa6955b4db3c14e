"""The command that runs under a lock: a process that gets our signals and does not outlive us.

Owns: its start, its signals, its end and its exit code. Never: why it is ended (`lock`).

Without a terminal, the command has a process group of its own, and signals go to the whole group,
its descendants included. At a terminal, the command stays in our group, so that Ctrl-C and Ctrl-Z
reach it as they reach any command; other signals then go to the command alone.
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
"""Option of prctl(2): the signal that a process gets when its parent ends."""


@final
class Command:
    """A process that starts when the object is made; its `with` block ends after the process.

    An exception in the block kills the process.
    """

    __slots__ = ("_early", "_file", "_group", "_previous", "_process")

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process. environment: variables that are added to ours. Raises OSError."""
        self._group = not _has_terminal()
        self._early: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        # Before the start, as a signal that ended us right after it would leave the command alone.
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
                preexec_fn=end_with(os.getpid()),  # safe, because this process has no threads
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
        """Return a file descriptor that is readable once the command has ended."""
        return self._file

    def send(self, number: int) -> None:
        """Send a signal to the command or its group, unless the command's end was waited for."""
        if self._child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if self._group:
                os.killpg(self._child.pid, number)
            else:
                self._child.send_signal(number)

    def end(self, grace: float) -> None:
        """Send SIGTERM and, after the command's end or `grace` seconds, SIGKILL to what is left."""
        self.send(signal.SIGTERM)
        select.select([self._file], [], [], grace)
        # Nothing has waited for the command yet, so no other process can have its number.
        self.send(signal.SIGKILL)

    def code(self) -> int:
        """Wait for the end. Returns the exit code; if a signal caused it, 128 plus its number."""
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
        """Whether the terminal has sent this signal to the command as well."""
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


def end_with(parent: int) -> Callable[[], None]:
    """Return a `preexec_fn` by which the command is killed when we end, even by SIGKILL."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(BY_SIGNAL + signal.SIGKILL)

    return prepare
