"""WAMP over RawSocket (WAMP #rawsocket): handshake, length prefixes, pings.

Owns: the bytes of that transport. Never: the contents of messages.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.host import Host
from fox_shard.gateway.clients.pings import Pings
from fox_shard.gateway.clients.unfinished import Unfinished
from fox_shard.gateway.transports.batches import LONGEST_HEAD, BatchReceiver, framing
from fox_shard.gateway.transports.receivers import (
    BEFORE_SESSION,
    BYTES_SHIFT,
    MESSAGE,
    MessageReceiver,
    WampMaker,
)

MAGIC: Final = 0x7F

SERIALIZERS: Final = {1: "wamp.2.json", 2: "wamp.2.msgpack", 3: "wamp.2.cbor"}
"""SERIALIZER of the handshake → the WebSocket subprotocol with the same serializer."""

SERIALIZER_UNSUPPORTED: Final = 1
RESERVED_BITS: Final = 3
"""Error codes of the handshake."""

REGULAR: Final = 0
PING: Final = 1
PONG: Final = 2
"""Types of transport messages."""

_PING: Final = bytes((PING, 0, 0, 0))

LONGEST: Final = 1 << 24
"""Bytes of the longest possible message."""

IS_LONGEST: Final = 8
"""Bit of a message's first octet: the length is LONGEST, and its 24 bits are 0."""


def frame(message: bytes) -> bytes:
    """Prefix a WAMP message with RRRRXTTT (0, IS_LONGEST, REGULAR) and 24 bits of length."""
    length = len(message)
    return (length if length < LONGEST else IS_LONGEST << 24).to_bytes(4, "big") + message


def _length_field(size: int) -> int:
    """Return the largest LENGTH of the handshake, 0 to 15 for 2^9 to 2^24 bytes, within size."""
    return min(15, size.bit_length() - 10)


@final
class RawSocket:
    """The receiver of a RawSocket connection."""

    __slots__ = (
        "_agreed",
        "_batched",
        "_connection",
        "_host",
        "_limit",
        "_need",
        "_partial",
        "_pings",
        "_session",
        "_take",
        "_unfinished",
        "_wamp",
    )

    def __init__(
        self, host: Host, connection: Connection, wamp: WampMaker, *, batched: bool = False
    ) -> None:
        """wamp: makes the session that receives the messages.

        batched: what is framed are the batches of a WebSocket, which another web server has.
        """
        self._host = host
        self._connection = connection
        self._wamp = wamp
        self._batched = batched
        self._session: MessageReceiver | None = None
        # Takes a message, or a batch, when there is a session.
        self._take: Callable[[bytes, float], None]
        # Bytes of a message: agreed on, and allowed by now.
        self._agreed = self._limit = 0
        # The beginning of a message (or of the handshake), and how many bytes it needs to go on.
        self._partial: bytearray | None = None
        self._need = 0
        # Made when first needed.
        self._unfinished: Unfinished | None = None
        # From the handshake on, unless there are no Pings.
        self._pings: Pings | None = None
        host.timers.gathered(host.now + host.settings.handshake_timeout, self._handshake_timed_out)

    def receive(self, data: bytes, now: float) -> None:
        """Handle received bytes."""
        if self._pings is not None:
            self._pings.heard = now
        self._receive(data, now)
        if self._partial is not None or self._unfinished is not None:
            self._watch(now)

    def _receive(self, data: bytes, now: float) -> None:
        partial = self._partial
        if partial is not None:
            partial += data
            if len(partial) < self._need:
                return
            data = bytes(partial)
            self._partial = None
        at = 0
        if self._session is None:
            if len(data) < 4:
                # If this cannot become a handshake, there is no reason to wait for the rest.
                if data and data[0] != MAGIC:
                    self._refuse("it does not speak RawSocket")
                else:
                    self._keep(data, 4)
                return
            if not self._shake_hands(data[:4]):
                return
            at = 4
        if at < len(data):
            self._read_messages(data, at, now)

    def connection_lost(self, now: float) -> None:
        """End the session, because the connection is gone."""
        self._partial = None
        if self._unfinished is not None:
            self._unfinished.hold(0, now)
        if self._session is not None:
            self._session.connection_lost(now)

    def _shake_hands(self, request: bytes) -> bool:
        """Answer the client's request; return whether it was accepted.

        Request and answer are 0x7F, LENGTH and SERIALIZER in four bits each, 0, 0.
        """
        connection = self._connection
        if connection.closing:
            return False
        if request[0] != MAGIC:
            self._refuse("it does not speak RawSocket")
            return False
        serializer = SERIALIZERS.get(request[1] & 0x0F)
        error = 0
        if request[2] or request[3]:
            error = RESERVED_BITS
        elif serializer is None:
            error = SERIALIZER_UNSUPPORTED
        if error or serializer is None:
            connection.write(bytes((MAGIC, error << 4, 0, 0)))
            self._refuse(f"error {error} in the RawSocket handshake")
            return False
        length = _length_field(self._host.settings.max_message_size)
        self._agreed = 1 << length + 9
        self._limit = min(self._agreed, BEFORE_SESSION)
        connection.write(bytes((MAGIC, length << 4 | request[1] & 0x0F, 0, 0)))
        self._begin(serializer, 1 << (request[1] >> 4) + 9)
        return True

    def _begin(self, serializer: str, limit: int) -> None:
        connection = self._connection
        host = self._host
        if self._batched:
            text = serializer == SERIALIZERS[1]
            session = self._session = self._wamp(
                connection,
                serializer,
                framing(frame, text=text),
                connection.close,
                ("batched rawsocket", limit),
                limit=limit - LONGEST_HEAD,
            )
            longest, counts = host.settings.batch_messages, host.limit_counts
            self._take = BatchReceiver(connection, session, longest, counts, text=text).batch
        else:
            session = self._session = self._wamp(
                connection, serializer, frame, connection.close, ("rawsocket", limit), limit=limit
            )
            self._take = session.message
        interval = host.settings.rawsocket_ping_interval
        if interval:
            self._pings = Pings(
                connection,
                host.timers,
                interval,
                host.now,
                partial(connection.write, _PING),
                self._gone,
            )

    def _gone(self) -> None:
        self._host.limit_counts.add("ping_interval")
        self.connection_lost(self._host.now)
        self._connection.close()

    # Hot: two more calls per message would make framing slower by a third.
    def _read_messages(self, data: bytes, at: int, now: float) -> None:  # noqa: C901, PLR0915
        session = self._session
        connection = self._connection
        assert session is not None
        take = self._take
        end = len(data)
        while not connection.closing:
            if connection.budget <= 0:
                if at < end:
                    connection.defer(partial(self.receive, data[at:]))
                return
            body = at + 4
            if body > end:
                if at < end:
                    self._keep(data[at:], 4)
                return
            kind = data[at]
            length = int.from_bytes(data[at + 1 : body], "big")
            if kind & IS_LONGEST and not length:
                kind ^= IS_LONGEST
                length = LONGEST
            if kind > PONG:
                head = data[at:body].hex()
                session.abort(ProtocolViolation.uri, f"0x{head} does not begin a message")
                return
            if length > self._limit and not self._takes(length):
                self._host.limit_counts.add("max_message_size")
                session.abort(ProtocolViolation.uri, self._too_long(length))
                return
            stop = body + length
            if stop > end:
                self._keep(data[at:], 4 + length)
                return
            connection.budget -= MESSAGE + (length >> BYTES_SHIFT)
            if kind == REGULAR:
                take(data[body:stop], now)
            elif kind == PING:
                connection.write(bytes((data[at] ^ PING ^ PONG,)) + data[at + 1 : stop])
            at = stop

    def _takes(self, length: int) -> bool:
        """Whether a message may be that long; with a session, it may be longer than without."""
        if self._connection.owner is not None:
            self._limit = self._agreed
        return length <= self._limit

    def _too_long(self, length: int) -> str:
        why = (
            "were agreed on"
            if self._limit == self._agreed
            else "are allowed before there is a session"
        )
        return f"a message of {length} bytes, where {self._limit} {why}"

    def _keep(self, rest: bytes, need: int) -> None:
        self._partial = bytearray(rest)
        self._need = need

    def _refuse(self, reason: str) -> None:
        self._connection.refused = reason
        self._connection.close()

    def _watch(self, now: float) -> None:
        """Watch whether the rest of a message comes in time."""
        if self._unfinished is None:
            timeout = self._host.settings.message_timeout
            self._unfinished = Unfinished(self._host.timers, timeout, self._give_up)
        self._unfinished.hold(len(self._partial or b""), now)

    def _give_up(self) -> None:
        self._partial = None
        if self._session is not None:
            self._host.limit_counts.add("message_timeout")
            self._session.abort(ProtocolViolation.uri, "the rest of a message did not come in time")

    def _handshake_timed_out(self, now: float) -> None:
        """Close the connection if there is no session yet; a session itself waits for HELLO."""
        if self._session is None and not self._connection.closing:
            self._partial = None
            self._host.limit_counts.add("handshake_timeout")
            self._refuse("no RawSocket handshake came in time")
