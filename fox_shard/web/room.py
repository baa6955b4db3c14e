"""Long messages between gateways and clients of the HTTP server, in bounded memory.

Owns: how many bytes they have, of each address; who waits until there is room. Never: messages.

A message that is not long is not counted: few of them wait for one client at a time. A long one is
read only if there is room for the longest that there may be, and counts for what it is when it has
come. So a client that reads nothing holds up long messages of its own address, and all others only
together with others like it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple, final

from fox_shard.web.bodies import PIECE, SHARE

LONG: Final = PIECE
"""Bytes beyond which a message is long."""


class _Waiting(NamedTuple):
    """Somebody who waits for room."""

    address: str
    size: int
    granted: asyncio.Future[None]


@final
class Room:
    """The memory. most: bytes, of which one address may have a quarter."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._addresses: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()

    @property
    def held(self) -> int:
        """The bytes that are counted."""
        return self._held

    async def hold(self, address: str, size: int) -> "Hold":
        """Count bytes as soon as there is room for them.

        There is always room for the only message of an address, if no other has too many.
        """
        if not self._fits(address, size) or any(one.address == address for one in self._waiting):
            granted = asyncio.get_running_loop().create_future()
            waiting = _Waiting(address, size, granted)
            self._waiting.append(waiting)
            try:
                await granted
            except asyncio.CancelledError:
                if granted.done() and not granted.cancelled():
                    self._count(address, -size)
                else:
                    self._waiting.remove(waiting)
                    self._grant()
                raise
            return Hold(self, address, size)
        return self.take(address, size)

    def take(self, address: str, size: int) -> "Hold":
        """Count bytes that are there already, whether there is room for them or not."""
        self._addresses[address] += size
        self._held += size
        return Hold(self, address, size)

    def change(self, address: str, size: int) -> None:
        """Count more bytes, or fewer. For `Hold`."""
        self._count(address, size)

    def _count(self, address: str, size: int) -> None:
        self._held += size
        self._addresses[address] += size
        if not self._addresses[address]:
            del self._addresses[address]
        if size < 0 and self._waiting:
            self._grant()

    def _grant(self) -> None:
        """Let those go on for whom there is room, in their order within each address."""
        held_up = set()
        for waiting in [*self._waiting]:
            address, size, granted = waiting
            if address in held_up or granted.done():
                continue
            if self._fits(address, size):
                self._waiting.remove(waiting)
                self._held += size
                self._addresses[address] += size
                granted.set_result(None)
            else:
                held_up.add(address)

    def _fits(self, address: str, size: int) -> bool:
        held = self._addresses.get(address, 0)
        if held and held + size > self._most // SHARE:
            return False
        return not self._held or self._held + size <= self._most


@final
class Hold:
    """Bytes that are counted until they are given back."""

    __slots__ = ("_address", "_room", "_size")

    def __init__(self, room: Room, address: str, size: int) -> None:
        self._room = room
        self._address = address
        self._size = size

    def resize(self, size: int) -> None:
        """Count so many bytes instead."""
        change, self._size = size - self._size, size
        if change:
            self._room.change(self._address, change)

    def give_back(self) -> None:
        """Count nothing any more."""
        self.resize(0)


@final
class Reservation:
    """Room for the long message that comes on one connection.

    longest: bytes that it may have. go_on: called when there is room, and the connection may read.
    """

    def __init__(self, room: Room, address: str, longest: int, go_on: Callable[[], None]) -> None:
        self._room = room
        self._address = address
        self._longest = longest
        self._go_on = go_on
        self._asking: asyncio.Task[None] | None = None
        self._hold: Hold | None = None
        # Whether the message is complete, and counts until whoever has it needs it no more.
        self._has_come = False

    @property
    def is_asking(self) -> bool:
        """Whether nothing may be read, as there is no room yet."""
        return self._asking is not None

    def ask(self) -> bool:
        """Return whether the connection may read on; if not, it is told when it may."""
        if self._hold is not None and not self._has_come:
            return True
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return False

    async def _ask(self) -> None:
        hold = await self._room.hold(self._address, self._longest)
        self._release()
        self._hold, self._has_come, self._asking = hold, False, None
        self._go_on()

    def come(self, size: int) -> None:
        """Note that a message is complete, which is in use from now on."""
        if self._hold is not None and size > LONG:
            self._hold.resize(size)
            self._has_come = True

    def used(self) -> None:
        """Note that whatever has come is not in use any more."""
        if self._has_come:
            self._release()

    def end(self) -> None:
        """Note that the connection is over."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._release()

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.give_back()
        self._hold, self._has_come = None, False
