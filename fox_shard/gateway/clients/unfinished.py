"""The message of which only a part has come.

Owns: how long a client may take for the rest. Never: the bytes.
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.gateway.clients.timers import Timers

PROGRESS: Final = 1 << 18
"""Bytes of a long message that must come within the timeout, if its end does not."""


@final
class Unfinished:
    """Ends a connection whose message is not finished in time, as its bytes would stay for ever."""

    __slots__ = ("_due", "_end", "_held", "_mark", "_timed", "_timeout", "_timers")

    def __init__(self, timers: Timers, timeout: float, end: Callable[[], None]) -> None:
        """timeout: seconds for PROGRESS bytes, or the end of the message. end: called after it."""
        self._timers = timers
        self._timeout = timeout
        self._end = end
        # Bytes that are held; 0: no message is unfinished.
        self._held = 0
        # When it has to have grown to `_mark`, or to be finished; whether a timer is set.
        self._due = 0.0
        self._mark = 0
        self._timed = False

    def hold(self, size: int, now: float) -> None:
        """Note that so many bytes of a message have come, and the rest has not; 0: none waits."""
        if size and (not self._held or size >= self._mark):
            self._due = now + self._timeout
            self._mark = size + PROGRESS
            if not self._timed:
                self._timed = True
                self._timers.gathered(self._due, self._check)
        self._held = size

    def _check(self, now: float) -> None:
        self._timed = False
        if not self._held:
            return
        if now >= self._due:
            self._end()
        else:
            self._timed = True
            self._timers.gathered(self._due, self._check)
