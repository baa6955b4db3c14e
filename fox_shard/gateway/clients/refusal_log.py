"""Which refused clients the log mentions, so that a flood of them leaves few lines.

Owns: how many lines there may be. Never: writing them; the clock.
"""

from typing import final

FIRST = 10
"""Lines that may come at once; after them comes one a second."""

MAX_REASON = 400
"""Characters of the reason for which a client is refused."""


@final
class RefusalLog:
    """The lines of one gateway. suppressed: refusals without a line since the last line."""

    __slots__ = ("_credit", "_last", "_refilled", "suppressed")

    def __init__(self) -> None:
        self._credit = float(FIRST)
        self._refilled = 0.0
        self._last: dict[str, object] = {}
        self.suppressed = 0

    def refused(self, address: str, reason: str, now: float) -> dict[str, object] | None:
        """Return the line for a refused client; None: it is suppressed.

        A line says how many were suppressed before. The caller sees to it that `remaining` is
        called a second after the first of them.
        """
        self._last = {"address": address, "reason": reason[:MAX_REASON]}
        self._credit = min(float(FIRST), self._credit + now - self._refilled)
        self._refilled = now
        if self._credit < 1.0:
            self.suppressed += 1
            return None
        self._credit -= 1.0
        return self._line(self.suppressed)

    def remaining(self, now: float) -> dict[str, object] | None:
        """Return the line of this second, for the last of those that were suppressed.

        None: there are none.
        """
        if not self.suppressed:
            return None
        self._credit, self._refilled = 0.0, now
        return self._line(self.suppressed - 1)

    def _line(self, suppressed: int) -> dict[str, object]:
        self.suppressed = 0
        return {**self._last, "suppressed": suppressed} if suppressed else self._last
