"""What a load needs of a client, whatever its protocol.

Owns: the interface. Never: protocols.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Arrived = Callable[[Sequence[Any]], None]
"""Called with the arguments of each message."""


class Client(Protocol):
    """A client that is connected. Topics and patterns are in WAMP's notation.

    All methods raise Failure.
    """

    async def publish(self, topic: str, args: list[Any], qos: int) -> None:
        """Publish; return when that is acknowledged, or, with qos 0, when it is on its way."""

    async def subscribe(self, pattern: str, arrived: Arrived, qos: int) -> None:
        """Subscribe."""

    async def close(self) -> None:
        """Leave."""
