"""When a key set is requested again.

Owns: the times. Never: the clock, requests.
"""

from typing import Final, final

FIRST_PAUSE: Final = 1.0
"""Seconds after a first failure; after each further one, twice as many."""


@final
class Renewal:
    """The requests of one key set, the first of which is due at once.

    A set is requested every `refresh` seconds, and because of an unknown key, but then not within
    `interval` seconds of the last request, whatever clients send. After failures the pause grows
    from a second to `interval`.
    """

    __slots__ = ("_due", "_interval", "_last", "_pause", "_refresh", "_running")

    def __init__(self, interval: float, refresh: float) -> None:
        self._interval = interval
        self._refresh = refresh
        self._due = 0.0
        self._last: float | None = None
        self._pause = FIRST_PAUSE
        self._running = False

    def want(self, now: float) -> None:
        """Note that a token named a key that is not known."""
        # While requests fail, the pause between them decides.
        if self._last is not None and self._pause == FIRST_PAUSE:
            self._due = min(self._due, max(now, self._last + self._interval))

    def is_due(self, now: float) -> bool:
        """Return whether the set is to be requested now; `began` says that it is."""
        return not self._running and now >= self._due

    def began(self) -> None:
        """Note a request. `succeeded` or `failed` ends it."""
        self._running = True

    def succeeded(self, now: float) -> None:
        """Note that the set came."""
        self._running, self._last, self._pause = False, now, FIRST_PAUSE
        self._due = now + self._refresh

    def failed(self, now: float) -> None:
        """Note that it did not."""
        self._running, self._last = False, now
        self._due = now + self._pause
        self._pause = min(2 * self._pause, max(self._interval, FIRST_PAUSE))
