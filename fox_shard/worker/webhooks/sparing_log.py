"""Lines of the log about what may happen thousands of times.

Owns: which of them are logged. Never: what they say.
"""

import logging
from typing import Final, final

_log = logging.getLogger("fox")

QUIET: Final = 60.0
"""Seconds between two lines."""


@final
class SparingLog:
    """The lines of one event: the first one at once, and then one each `QUIET` seconds."""

    def __init__(self, event: str, level: int) -> None:
        self._event = event
        self._level = level
        self._quiet_until = 0.0
        self._suppressed = 0

    def note(self, fields: dict[str, object], now: float) -> None:
        """Log these fields, and how many lines were suppressed before; or suppress this one.

        now: monotonic seconds.
        """
        if now < self._quiet_until:
            self._suppressed += 1
            return
        if self._suppressed:
            fields = {**fields, "suppressed": self._suppressed}
        _log.log(self._level, self._event, extra={"fox": fields})
        self._quiet_until = now + QUIET
        self._suppressed = 0
