"""Whether a client reads too slowly.

Owns: the judgement. Never: what becomes of the client; sockets, clocks.

A client that reads may be sent more than `outbound_limit` at a time: a few large events in a row,
or one event for each of many subscriptions. It is slow if it takes next to nothing of that for
`slow_timeout`, or if much more has accumulated than that.
"""

from typing import Final, final

PROGRESS: Final = 1 << 18
"""Bytes that a client has to take within the timeout."""

TIMES: Final = 4
"""How many times the limit may wait at most, before more is written."""


@final
class Slowness:
    """A client for which more bytes than the limit wait."""

    __slots__ = ("_limit", "_mark", "_since", "_timeout")

    def __init__(self, limit: int, timeout: float, taken: int, now: float) -> None:
        """limit: bytes. timeout: seconds. taken: bytes that the client has taken until now."""
        self._limit = limit
        self._timeout = timeout
        self._mark = taken + PROGRESS
        self._since = now

    def is_over(self, waiting: int) -> bool:
        """Whether so many bytes wait that the client is to be ended at once."""
        return waiting > self._limit * TIMES

    def is_slow(self, waiting: int, taken: int, now: float) -> bool:
        """Whether the client has not taken enough for too long. waiting, taken: bytes until now."""
        if waiting <= self._limit or taken >= self._mark:
            self._mark = taken + PROGRESS
            self._since = now
        return now - self._since >= self._timeout
