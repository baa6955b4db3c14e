"""Lines of the log about what clients may cause again and again, so that a flood leaves few lines.

Owns: how many lines there may be. Never: writing them; the clock.
"""

from typing import Final, final

from fox_shard.backplane.node import Notice
from fox_shard.gateway.clients.timers import Timers

FIRST: Final = 10
"""Lines that may come at once; after them comes one a second."""

MAX_REASON: Final = 400
"""Characters of a reason, which may repeat what somebody has sent."""


@final
class LimitedLines:
    """The lines about one event. A line says how many before it were `suppressed`."""

    __slots__ = ("_credit", "_event", "_last", "_notices", "_refilled", "_suppressed", "_timers")

    def __init__(self, event: str, notices: list[Notice], timers: Timers) -> None:
        """event: the name of the lines. notices: where they are put."""
        self._event = event
        self._notices = notices
        self._timers = timers
        self._credit = float(FIRST)
        self._refilled = 0.0
        self._last: dict[str, object] = {}
        # How many have had no line yet. If there are any, a timer waits for the next line's time.
        self._suppressed = 0

    def add(self, fields: dict[str, object], now: float) -> None:
        """Log that the event has happened, now or, with others, within a second."""
        self._last = fields
        if self._suppressed:
            self._suppressed += 1
            return
        self._refill(now)
        if self._credit < 1.0:
            self._suppressed = 1
            self._timers.at(now + 1.0 - self._credit, self._log_suppressed)
            return
        self._credit -= 1.0
        self._notices.append((self._event, fields))

    def _log_suppressed(self, now: float) -> None:
        """Log the last of those that have had no line, with the number of the others."""
        self._refill(now)
        self._credit = max(0.0, self._credit - 1.0)
        others, self._suppressed = self._suppressed - 1, 0
        more = {"suppressed": others} if others else {}
        self._notices.append((self._event, {**self._last, **more}))

    def _refill(self, now: float) -> None:
        self._credit = min(float(FIRST), self._credit + now - self._refilled)
        self._refilled = now
