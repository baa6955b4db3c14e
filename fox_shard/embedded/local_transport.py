"""A transport to the gateway in the same process, for sessions of the application.

Owns: messages that have come and are not read yet. Never: what they mean.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, final

from fox_shard.client.failures import ConnectionLost
from fox_shard.config import Address, Listener
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.gateway.clients.access import Access

Connect = Callable[[Client], LocalConnection]


class Origin(NamedTuple):
    """Who is at the other end for the gateway. peer: the address, "host:port"; access: its way."""

    peer: str
    access: Access


APPLICATION: Final = Origin(
    "application:0",
    Access(
        listener=Listener(protocol="rawsocket", address=Address("application", 0)), application=True
    ),
)


def _nothing() -> None:
    """Do nothing."""


@final
class LocalTransport:
    """A `Transport`. What its owner has not read yet waits here, and the gateway knows."""

    def __init__(
        self,
        connect: Connect,
        unread: Callable[[], int],
        origin: Origin = APPLICATION,
        left: Callable[[], None] = _nothing,
    ) -> None:
        """unread: returns the bytes that have been received, but are not read in earnest yet.

        left: called when the connection has ended.
        """
        self._unread = unread
        self._left = left
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._arrived = asyncio.Event()
        self._connection = connect(
            Client(
                origin.peer,
                origin.access,
                "wamp.2.msgpack",
                self._on_message,
                self._on_closed,
                self._waiting,
            )
        )

    @property
    def longest(self) -> float:
        """Bytes of the longest message that the gateway takes."""
        return self._connection.longest

    async def send(self, data: bytes) -> None:
        """Send a message, when the gateway reads. Raises ConnectionLost."""
        await self._connection.writable()
        self._check()
        self._connection.send(data)

    async def receive(self) -> bytes:
        """Wait for the next message and return it. Raises ConnectionLost."""
        while not self._messages:
            self._check()
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        self._bytes -= len(message)
        return message

    async def close(self) -> None:
        """Close the connection, and forget what nobody has read."""
        self._connection.close()
        self._messages.clear()
        self._bytes = 0

    def _check(self) -> None:
        if self._closed:
            raise ConnectionLost("The router has closed the connection.")

    def _waiting(self) -> int:
        return self._bytes + self._unread()

    def _on_message(self, message: bytes) -> None:
        self._messages.append(message)
        self._bytes += len(message)
        self._arrived.set()

    def _on_closed(self) -> None:
        self._closed = True
        self._arrived.set()
        self._left()
