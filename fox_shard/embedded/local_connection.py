"""The connection of an application to the gateway in its own process: messages without a socket.

Owns: the way of messages in both directions, and when the application has to wait. Never: what a
message means (see `session`).

The gateway sees a client like any other, which speaks RawSocket and MessagePack. So the limits, the
budget of a turn and the credit of shards hold for it, too.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, final

from msgspec import msgpack

from fox_shard.config import Address, Listener
from fox_shard.gateway.clients.access import Access
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.transports.factories import makers
from fox_shard.gateway.transports.rawsocket import IS_LONGEST, LONGEST, PING, PONG, frame

HANDSHAKE: Final = b"\x7f\xf2\x00\x00"
"""RawSocket: messages of up to 16 MiB, in MessagePack."""

HEAD: Final = 4
"""Bytes before each message, and of the gateway's answer to the handshake."""

PEER: Final = "application"

Message = list[Any]


@final
class LocalConnection:
    """One connection, from its beginning to its end. All methods are for the event loop's thread.

    closed: the gateway has ended it, or the application has.
    """

    def __init__(
        self,
        gateway: Gateway,
        schedule: Callable[[], None],
        on_message: Callable[[Message, int], None],
        on_closed: Callable[[], None],
    ) -> None:
        """schedule: lets a turn of the gateway follow.

        on_message(message, bytes), on_closed(): called from `collect`.
        """
        self._gateway = gateway
        self._schedule = schedule
        self._on_message = on_message
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        # As RawSocket's handshake agrees on it: a power of 2.
        size = gateway.settings.max_message_size
        self._longest = HEAD + min(LONGEST, 1 << size.bit_length() - 1)
        self._received = b""
        self._greeted = False
        self.closed = False
        # What waits until the gateway reads again, and who waits for that.
        self._waiting: list[bytes] = []
        self._writable = asyncio.Event()
        self._writable.set()
        connection = self._connection = Connection(gateway.dirty, f"{PEER}:0")
        listener = Listener(protocol="rawsocket", address=Address(PEER, 0))
        connection.access = Access(listener=listener, application=True)
        self._update_clock()
        connection.receiver = makers(gateway, gateway.requests)["rawsocket"](connection)
        self._hand_over(HANDSHAKE)

    def _update_clock(self) -> float:
        now = self._gateway.now = self._loop.time()
        return now

    async def writable(self) -> None:
        """Wait while the gateway does not read, as a shard has no credit for it, or it is busy."""
        await self._writable.wait()

    def send(self, *message: object) -> None:
        """Send a message, behind all others. Await `writable` first, unless it is an answer.

        Raises TypeError, OverflowError if a value cannot be encoded, and ValueError if the message
        is longer than the gateway takes.
        """
        data = frame(msgpack.encode(message))
        if len(data) > self._longest:
            raise ValueError(
                f"a message has at most {self._longest - HEAD} bytes (gateway.max_message_size)"
            )
        if self._connection.paused or self._waiting:
            self._waiting.append(data)
            self._writable.clear()
        elif not self.closed:
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        now = self._update_clock()
        self._connection.traffic.bytes_in += len(data)
        try:
            self._gateway.turns.receive(self._connection, data, now)
        except BaseException:
            # As with a socket, an error that nobody expected ends this connection only.
            self._gateway.turns.failed(self._connection)
            self._close()
            raise
        self._schedule()

    def collect(self) -> None:
        """Take what the gateway has for the application. To be called at the end of each turn."""
        connection = self._connection
        # What is said meanwhile counts, too: that the session ends.
        while connection.out:
            data = b"".join(connection.out)
            connection.traffic.messages_out += len(connection.out)
            connection.traffic.bytes_out += len(data)
            connection.out.clear()
            self._take(data)
        if connection.closing:
            self._close()
        elif not connection.paused:
            self._resume()
        else:
            self._writable.clear()

    def _resume(self) -> None:
        connection = self._connection
        while self._waiting and not connection.paused:
            self._hand_over(self._waiting.pop(0))
        if not self._waiting:
            self._writable.set()

    def _take(self, data: bytes) -> None:
        self._received += data
        if not self._greeted:
            self._greeted = True
            self._received = self._received[HEAD:]
        at, received = 0, self._received
        while len(received) >= at + HEAD:
            size = int.from_bytes(received[at + 1 : at + HEAD], "big")
            if received[at] & IS_LONGEST and not size:
                size = LONGEST
            stop = at + HEAD + size
            if len(received) < stop:
                break
            if received[at] == PING:
                self._hand_over(bytes((PONG,)) + received[at + 1 : stop])
            elif received[at] != PONG:
                self._on_message(msgpack.decode(received[at + HEAD : stop]), size)
            at = stop
        self._received = received[at:]

    def slow(self) -> None:
        """End the session, because more waits for the application than it may."""
        self._update_clock()
        self._gateway.slow(self._connection)
        self._schedule()

    def close(self) -> None:
        """End the connection, without a goodbye if none was said."""
        self._close()

    def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._waiting.clear()
        self._writable.set()
        now = self._update_clock()
        if self._connection.backlog:
            self._connection.defer(self._connection.receiver.connection_lost)
        else:
            self._connection.receiver.connection_lost(now)
        self._schedule()
        self._on_closed()
