"""What has arrived and has not been read yet, in bounded memory.

Owns: the order in which it is read, and how many bytes wait. Never: messages, what is read.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, final

from fox_shard.client.failures import Failure, TooSlow

T = TypeVar("T")

SURPLUS: Final = 16
"""How many times the buffer may wait while the program waits for an answer, which may be behind."""

OVERHEAD: Final = 200
"""Bytes that any item counts besides those of its message."""


@final
class Inbox(Generic[T]):
    """What one reader has not read yet."""

    def __init__(
        self, buffer: "Buffer", give_up: Callable[[], None], *, asks: bool = False
    ) -> None:
        """give_up: called when the reader was too slow. asks: see `Buffer.has_room`."""
        self.give_up = give_up
        self._asks = asks
        self._buffer = buffer
        self._items: deque[tuple[T, int]] = deque()
        self._arrived = asyncio.Event()
        self._over = False
        self._error: Failure | None = None
        self.bytes = 0

    def put(self, item: T, size: int) -> None:
        """Add an item. size: in bytes, of its message."""
        if self._over:
            return
        self._items.append((item, size + OVERHEAD))
        self.bytes += size + OVERHEAD
        self._arrived.set()
        self._buffer.grown(self, size + OVERHEAD)

    def finish(self, error: Failure | None) -> None:
        """End, after what has arrived. error: raised then; None: there is no more."""
        if not self._over:
            self._over, self._error = True, error
            self._arrived.set()

    async def get(self) -> T:
        """Wait for the next item and return it. Raises StopAsyncIteration or Failure at the end."""
        while not self._items:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._wait()
        item, size = self._items.popleft()
        self.bytes -= size
        self._buffer.shrunk(size)
        return item

    async def _wait(self) -> None:
        self._arrived.clear()
        if not self._asks:
            await self._arrived.wait()
            return
        self._buffer.asks()
        try:
            await self._arrived.wait()
        finally:
            self._buffer.answered()

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return len(self._items)

    def close(self, error: Failure | None = None) -> None:
        """Forget what has arrived; nothing more does. error: raised for a reader."""
        if not self._over or (error is not None and self._items):
            # Also of a snapshot that was complete: without an error it would seem to be shorter.
            self._over, self._error = True, error
        self._items.clear()
        self._buffer.shrunk(self.bytes)
        self.bytes = 0
        self._buffer.closed(self)
        self._arrived.set()


@final
class Buffer:
    """The bytes that wait in all inboxes of a client. size: how many may."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0
        self._inboxes: dict[Inbox[Any], None] = {}
        # Requests of the program that wait for answers.
        self._asking = 0
        self._readable = asyncio.Event()
        self._readable.set()

    @property
    def held(self) -> int:
        """The bytes that wait."""
        return self._held

    async def has_room(self) -> None:
        """Wait until a further message may be read.

        That is so if the buffer is not full, or if the program waits for an answer, since that may
        be behind the events of a program that reads them slowly because of it. Then its readers
        get their turn first, so that none of them is too slow that only had none.
        """
        if self._held > self._size and self._asking:
            await asyncio.sleep(0)
        await self._readable.wait()

    def asks(self) -> None:
        """Note that the program waits for an answer."""
        self._asking += 1
        self._update()

    def answered(self) -> None:
        """Note that an answer is waited for no more."""
        self._asking -= 1
        self._update()

    def grown(self, inbox: Inbox[Any], size: int) -> None:
        """Count an item."""
        self._held += size
        self._inboxes[inbox] = None
        if self._held > SURPLUS * self._size:
            # Nobody can read a single item before it is there, however large it is.
            behind = [one for one in self._inboxes if one.waiting > 1]
            if not behind:
                self._update()
                return
            fullest = max(behind, key=lambda one: one.bytes)
            most = SURPLUS * self._size
            fullest.close(
                TooSlow(
                    f"The program reads too slowly: {most:,} bytes wait for it, as it also waits "
                    "for answers behind them. A second client, or a larger buffer, would help."
                )
            )
            fullest.give_up()
        self._update()

    def shrunk(self, size: int) -> None:
        """Count what has been read."""
        self._held -= size
        self._update()

    def closed(self, inbox: Inbox[Any]) -> None:
        """Forget an inbox."""
        self._inboxes.pop(inbox, None)

    def _update(self) -> None:
        if self._held <= self._size or self._asking:
            self._readable.set()
        else:
            self._readable.clear()
