"""The watchdog: a thread that tells the other processes that this one works, however long its turn.

Owns: the file `<run_dir>/<name>.alive`, how it is read, and what is said of slow turns. Never: what
follows from a peer's silence (see `backplane.links`).

A busy event loop sends no heartbeats, but it is not dead. The thread writes a sign of life several
times per `peer_timeout`, with the time of the loop's last turn. Whoever makes the turns notes them
(`turned`); a loop without any is asked for one, as it may just have nothing to do. If the process
is stopped or dies, the signs stop, too. If a turn takes long, the log says what the loop was doing.
A process whose turn does not end within `backplane.turn_timeout` is of no use to anybody: it ends
itself, and supervisord starts it anew.
"""

import asyncio
import logging
import os
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Final, final

from fox_shard.backplane.links import IsWorking
from fox_shard.config import Backplane

SLOW: Final = 1.0
"""Seconds after which a turn is worth a line in the log."""

FRESH: Final = 4
"""Intervals after which a sign of life is too old."""

SHOWN: Final = 5
"""The innermost calls that the log names of a slow turn."""

_SIGN = struct.Struct("<Qdd")
"""incarnation, time of the sign, time of the loop's last turn: monotonic seconds of the machine."""

_PACKAGE = str(Path(__file__).parents[1]) + os.sep

_log = logging.getLogger("fox")


class Verdict(Enum):
    """What is to be said of the loop's present turn."""

    NOTHING = 0
    SLOW = 1
    """It has just become slow."""
    OVER = 2
    """A slow one has ended."""
    HUNG = 3
    """It has lasted for `turn_timeout`."""


@final
class TurnTimer:
    """How long the loop's present turn lasts.

    Time in which the watchdog itself did not run does not count: the whole process stood still.
    """

    def __init__(self, interval: float, limit: float, now: float) -> None:
        """interval: seconds between two looks. limit: seconds of a turn that has hung."""
        self._longest_step = 2 * interval
        self._limit = limit
        self._looked_at = now
        # Of the present turn, or of the last one if OVER was the verdict.
        self.seconds = 0.0
        self._slow = False
        # Whether OVER was the last verdict.
        self._over = False

    def look(self, now: float, *, turned: bool) -> Verdict:
        """Judge. now: monotonic seconds. turned: a turn has ended since the last look."""
        step = min(now - self._looked_at, self._longest_step)
        self._looked_at = now
        if self._over:
            # Another turn has begun: slow turns that follow one another are not one that has hung.
            self._over = False
            self.seconds = 0.0
        if turned:
            was_slow, self._slow = self._slow, False
            if was_slow:
                self._over = True
                return Verdict.OVER
            self.seconds = 0.0
            return Verdict.NOTHING
        self.seconds += step
        if self.seconds >= self._limit:
            return Verdict.HUNG
        if self.seconds >= SLOW and not self._slow:
            self._slow = True
            return Verdict.SLOW
        return Verdict.NOTHING


def interval_of(settings: Backplane) -> float:
    """Return the seconds between two signs of life."""
    return min(0.5, settings.peer_timeout / 8)


def working_peers(run_dir: Path, settings: Backplane) -> IsWorking:
    """Return the function that reads the other processes' signs of life."""
    fresh = FRESH * interval_of(settings)

    def is_working(peer: str, incarnation: int, now: float) -> bool:
        try:
            sign = _path(run_dir, peer).read_bytes()
        except OSError:  # it is not there, or this process has no descriptor left to look
            return False
        if len(sign) != _SIGN.size:
            return False  # it is just starting
        whose, signed, turned = _SIGN.unpack(sign)
        is_alive: bool = incarnation in (0, whose) and now - signed < fresh
        return is_alive and now - turned < settings.turn_timeout

    return is_working


def _path(run_dir: Path, process: str) -> Path:
    return run_dir / f"{process}.alive"


@final
class Watchdog:
    """The thread of one process, from `start` to `stop`."""

    def __init__(
        self,
        name: str,
        incarnation: Callable[[], int],
        run_dir: Path,
        settings: Backplane,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """name: the process's. incarnation: returns the present one. loop: to be watched."""
        self._name = name
        self._incarnation = incarnation
        self._path = _path(run_dir, name)
        self._interval = interval_of(settings)
        self._limit = settings.turn_timeout
        self._loop = loop
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        # Whether a turn has ended since the last look; whether the loop was asked for one.
        self.turned = True
        self._asked = False
        self._turned_at = time.monotonic()
        self._file = -1
        # Whether signs of life cannot be written.
        self._mute = False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch the loop of the calling thread."""
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching: what follows may take long."""
        self._stopped.set()
        self._thread.join()
        os.close(self._file)
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        timer = TurnTimer(self._interval, self._limit, time.monotonic())
        while True:
            now = time.monotonic()
            turned, self.turned = self.turned, False
            if self._loop.is_closed():
                return
            was_asked, self._asked = self._asked, not turned
            if turned:
                self._turned_at = now
            elif not was_asked:
                self._loop.call_soon_threadsafe(self._turn)
            self._sign(now)
            self._report(timer.look(now, turned=turned or not was_asked), timer.seconds)
            if self._stopped.wait(self._interval):
                return

    def _turn(self) -> None:
        self.turned = True

    def _sign(self, now: float) -> None:
        try:
            os.pwrite(self._file, _SIGN.pack(self._incarnation(), now, self._turned_at), 0)
        except OSError as error:  # the disk is full: the loop is watched all the same
            if not self._mute:
                fields = {"process": self._name, "reason": str(error)}
                _log.error("no_sign_of_life", extra={"fox": fields})
            self._mute = True
        else:
            self._mute = False

    def _report(self, verdict: Verdict, seconds: float) -> None:
        fields: dict[str, object] = {"process": self._name, "seconds": round(seconds, 1)}
        match verdict:
            case Verdict.SLOW:
                fields["where"] = where(sys._current_frames()[self._watched])  # noqa: SLF001
                _log.warning("slow_turn", extra={"fox": fields})
            case Verdict.OVER:
                _log.warning("slow_turn_over", extra={"fox": fields})
            case Verdict.HUNG:
                fields["where"] = where(sys._current_frames()[self._watched])  # noqa: SLF001
                self._end(fields)

    def _end(self, fields: dict[str, object]) -> None:
        """End the process; do not wait for the log, which may be what it hangs at."""
        line = threading.Thread(
            target=lambda: _log.critical("hung", extra={"fox": fields}), daemon=True
        )
        line.start()
        line.join(SLOW)
        os._exit(1)


def where(frame: FrameType | None) -> str:
    """Return the innermost calls, the innermost first, as `file:line:function<file:…`."""
    calls = traceback.extract_stack(frame)[-SHOWN:]
    return "<".join(
        f"{call.filename.removeprefix(_PACKAGE)}:{call.lineno}:{call.name}"
        for call in reversed(calls)
    )
