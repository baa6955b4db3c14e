"""How long to wait before another try.

Owns: the times. Never: the waiting.
"""

from collections.abc import Callable
from typing import Final, final

FIRST: Final = 0.25
"""Seconds before the second try, at most."""

MOST: Final = 15.0
"""Seconds between two tries, at most."""


@final
class Backoff:
    """Times that double from try to try, and of which chance takes away up to a half.

    So that a thousand clients that have lost the same gateway do not come back at once.
    """

    def __init__(
        self, chance: Callable[[], float], first: float = FIRST, most: float = MOST
    ) -> None:
        """chance: returns random numbers from 0 to 1. first, most: in seconds."""
        self._chance = chance
        self._first = first
        self._most = most
        self._next = first

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        longest, self._next = self._next, min(2 * self._next, self._most)
        return longest * (1 - self._chance() / 2)

    def reset(self) -> None:
        """Begin with short times again, after a try that was successful."""
        self._next = self._first
