"""A flow: the messages of one publisher or caller, limited by its window.

Owns: counting sent, acknowledged and delivered messages. Never: the bytes of a message (see
`ShardPages`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.loop import Connection
from bench.payload import PERIOD


class Page(NamedTuple):
    """PERIOD ready-made messages; message i is view[offsets[i] : offsets[i + 1]]."""

    view: memoryview
    offsets: Sequence[int]


class Source:
    """The ready-made messages 1, 2, 3, …, cut out of the pages that `page_of(number)` returns."""

    def __init__(self, page_of: Callable[[int], Page]) -> None:
        self._page_of = page_of
        self._next = 1
        self._number = 0
        self._page = page_of(0)

    def take(self, count: int) -> list[bytes | memoryview]:
        """Return the next `count` messages in as few pieces as possible."""
        parts: list[bytes | memoryview] = []
        while count:
            number, first = divmod(self._next, PERIOD)
            if number != self._number:
                self._number, self._page = number, self._page_of(number)
            last = min(first + count, PERIOD)
            offsets = self._page.offsets
            parts.append(self._page.view[offsets[first] : offsets[last]])
            count -= last - first
            self._next += last - first
        return parts


class Flow:
    """Up to `window` messages in flight on one connection.

    A message is in flight until all subscribers have received it and, if `acknowledged`, until its
    acknowledgement has arrived.
    """

    def __init__(
        self, connection: Connection, source: Source, window: int, *, acknowledged: bool
    ) -> None:
        self.sent = 0
        self.acked = 0
        self.delivered = 0
        self._connection = connection
        self._source = source
        self._window = window
        self._acknowledged = acknowledged

    def send(self, count: int) -> None:
        """Send `count` messages now."""
        self._connection.send(self._source.take(count))
        self.sent += count

    def pump(self) -> None:
        """Fill the window with one write."""
        room = self._window - self.sent + self.settled
        if room:
            self.send(room)

    @property
    def settled(self) -> int:
        """The number of messages that are no longer in flight."""
        if self._acknowledged and self.acked < self.delivered:
            return self.acked
        return self.delivered
