"""A connection to the gateway in the same process: messages without a socket.

Owns: the way of messages in both directions, when the gateway is not ready for more, and whether
the other end takes its messages too slowly. Never: what a message means.

The gateway sees a client like any other: one that speaks WAMP over RawSocket, or MQTT over TCP. So
the limits, the budget of a turn and the credit of shards hold for it, too.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, final

from fox_shard.gateway.clients.access import Access
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.slowness import Slowness
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.transports.batches import SUFFIX
from fox_shard.gateway.transports.factories import makers
from fox_shard.gateway.transports.rawsocket import (
    IS_LONGEST,
    LONGEST,
    MAGIC,
    PING,
    PONG,
    SERIALIZERS,
    frame,
)

HEAD: Final = 4
"""Bytes before each message of WAMP, and of the gateway's answer to the handshake."""

_SERIALIZER: Final = {name: number for number, name in SERIALIZERS.items()}

TOGETHER: Final = 1 << 14
"""Bytes up to which MQTT packets of one turn are one message."""

JUDGED: Final = 5
"""How many times per `slow_timeout` it is looked at whether the other end is slow."""


class Client(NamedTuple):
    """The other end. on_message, on_closed: called from `LocalConnection.collect`.

    peer: its address, "host:port". access: how it came. subprotocol: as of a WebSocket, which names
    WAMP's serializer, or MQTT. on_message(message): a message of the gateway, or a batch where the
    subprotocol is batched; of MQTT, one or more packets. on_closed(): the connection has ended.
    waiting(): returns how many bytes of messages have not been taken yet.
    """

    peer: str
    access: Access
    subprotocol: str
    on_message: Callable[[bytes], None]
    on_closed: Callable[[], None]
    waiting: Callable[[], int]


@final
class LocalConnection:
    """One connection, from its beginning to its end. All methods are for the event loop's thread.

    gateway_end: the same connection, as the gateway sees it. closed: the gateway has ended it, or
    the other end has.
    """

    def __init__(self, gateway: Gateway, client: Client, schedule: Callable[[], None]) -> None:
        """schedule: lets a turn of the gateway follow.

        Behind each turn, `collect` must be called if the gateway has something for this connection.
        """
        self._gateway = gateway
        self._client = client
        self._schedule = schedule
        self._loop = asyncio.get_running_loop()
        plain = client.subprotocol.removesuffix(SUFFIX)
        serializer = _SERIALIZER.get(plain)
        self._is_framed = serializer is not None
        size = gateway.settings.max_message_size
        # As RawSocket's handshake agrees on it: a power of 2.
        self.longest = min(LONGEST, 1 << size.bit_length() - 1) if self._is_framed else size
        self._received = b""
        self._greeted = False
        self.closed = False
        # What waits until the gateway reads again, and who waits for that.
        self._waiting: list[bytes] = []
        self._writable = asyncio.Event()
        self._writable.set()
        # All bytes of the gateway's messages; and while more of them wait than may.
        self._total = 0
        self._slowness: Slowness | None = None
        self._alarm: asyncio.TimerHandle | None = None
        connection = self._connection = self.gateway_end = Connection(gateway.dirty, client.peer)
        connection.access = client.access
        connection.waiting = client.waiting
        self._update_clock()
        local = "local" if plain == client.subprotocol else "local batched"
        kind = "mqtt" if serializer is None else local
        connection.receiver = makers(gateway, gateway.requests)[kind](connection)
        if serializer is not None:
            self._hand_over(bytes((MAGIC, 0xF0 | serializer, 0, 0)))

    def _update_clock(self) -> float:
        now = self._gateway.now = self._loop.time()
        return now

    # To the gateway

    async def writable(self) -> None:
        """Wait while the gateway does not read, as a shard has no credit for it, or it is busy."""
        await self._writable.wait()

    def set_bearer(self, token: str) -> None:
        """Note the token that came with the request for the connection; "": none."""
        self._connection.bearer = token

    def send(self, message: bytes) -> None:
        """Send a message, behind all others. Await `writable` first, unless it is an answer.

        Raises ValueError if the message is longer than the gateway takes.
        """
        if len(message) > self.longest:
            raise ValueError(
                f"a message has at most {self.longest} bytes (gateway.max_message_size)"
            )
        data = frame(message) if self._is_framed else message
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
            self.close()
            raise
        self._schedule()

    # From the gateway

    def collect(self) -> None:
        """Take what the gateway has for the other end. To be called at the end of a turn."""
        connection = self._connection
        # What is said meanwhile counts, too: that the session ends.
        while chunks := connection.out:
            connection.out = []
            connection.traffic.messages_out += len(chunks)
            connection.traffic.bytes_out += sum(map(len, chunks))
            if self._is_framed:
                self._take(b"".join(chunks))
            else:
                self._take_packets(chunks)
            self._watch()
        if connection.closing:
            self.close()
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

    def _take_packets(self, chunks: list[bytes]) -> None:
        """Give MQTT packets to the other end, small ones together, as TCP does."""
        parts: list[bytes] = []
        size = 0
        for chunk in chunks:
            if parts and size + len(chunk) > TOGETHER:
                self._give(b"".join(parts))
                parts, size = [], 0
            parts.append(chunk)
            size += len(chunk)
        self._give(b"".join(parts))

    def _give(self, message: bytes) -> None:
        self._total += len(message)
        self._client.on_message(message)

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
                self._give(received[at + HEAD : stop])
            at = stop
        self._received = received[at:]

    # Whether the other end is slow

    def _watch(self) -> None:
        settings, waiting = self._gateway.settings, self._client.waiting()
        if self._slowness is not None:
            if self._slowness.is_over(waiting):
                self._end_slow()
        elif waiting > settings.outbound_limit and not self.closed:
            self._slowness = Slowness(
                settings.outbound_limit,
                settings.slow_timeout,
                self._total - waiting,
                self._loop.time(),
            )
            self._gateway.fell_behind(self._connection)
            self._judge_later()

    def _judge_later(self) -> None:
        seconds = self._gateway.settings.slow_timeout / JUDGED
        self._alarm = self._loop.call_later(seconds, self._judge)

    def _judge(self) -> None:
        slowness, waiting = self._slowness, self._client.waiting()
        self._alarm = None
        if slowness is None or self.closed:
            return
        if not waiting:
            self._slowness = None
            self._gateway.caught_up(self._connection)
        elif self._connection.behind:
            # It loses events instead. If what it may not lose becomes too much, `_watch` ends it.
            self._judge_later()
        elif slowness.is_slow(waiting, self._total - waiting, self._loop.time()):
            self._end_slow()
        else:
            self._judge_later()

    def _end_slow(self) -> None:
        self._slowness = None
        self._update_clock()
        self._gateway.slow(self._connection)
        self._connection.close()
        self._schedule()

    def close(self) -> None:
        """End the connection, without a goodbye if none was said."""
        if self.closed:
            return
        self.closed = True
        self._waiting.clear()
        self._writable.set()
        if self._alarm is not None:
            self._alarm.cancel()
        now = self._update_clock()
        if self._connection.refused:
            self._gateway.client_refused(self._connection)
            self._connection.refused = ""
        if self._connection.backlog:
            self._gateway.turns.client_gone(self._connection)
            self._connection.defer(self._connection.receiver.connection_lost)
        else:
            self._connection.receiver.connection_lost(now)
        # Whoever collects forgets it.
        self._gateway.dirty.append(self._connection)
        self._schedule()
        self._client.on_closed()
