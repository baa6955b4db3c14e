"""When a shell's next tick is due.

Owns: one timer of the event loop, set to the earliest time that was asked for. Never: what a tick
does.
"""

import asyncio
from collections.abc import Callable
from typing import Final, final

SOONEST: Final = 0.001
"""Seconds until the next tick, at the least."""


@final
class TickTimer:
    """Calls `tick` once for each `arm`, unless it is armed already for as early."""

    __slots__ = ("_due", "_loop", "_tick", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, tick: Callable[[], None]) -> None:
        self._loop = loop
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def arm(self, due: float, now: float) -> None:
        """Call `tick` at `due` at the latest, but not at once. Both: monotonic seconds."""
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(max(due, now + SOONEST), self._rings)

    def cancel(self) -> None:
        """Call `tick` no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rings(self) -> None:
        self._timer = None
        self._tick()
