"""What carries the messages of a client with asyncio.

Owns: the interface of all transports, and the bounds of what waits on the client's side. Never:
what messages mean.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias


class Transport(Protocol):
    """An open connection. Its messages are in MessagePack (`wamp.2.msgpack`), whole.

    Whoever does not call `receive` for a while makes the other end wait: a transport reads ahead a
    few messages only. Other methods than `close` raise ConnectionLost once the connection is lost.
    """

    @property
    def longest(self) -> float:
        """Bytes of the longest message that the other end takes; `inf`: nobody knows."""

    async def send(self, data: bytes) -> None:
        """Send a message; return as soon as the transport takes another one."""

    async def receive(self) -> bytes:
        """Wait for the next message and return it."""

    async def close(self) -> None:
        """Close the connection. What has been sent still arrives, if it can."""


Dial: TypeAlias = Callable[[], Awaitable[Transport]]
"""Opens a connection. Raises Unreachable."""
