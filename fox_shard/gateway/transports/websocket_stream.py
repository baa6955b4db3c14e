"""An open WebSocket: bytes become messages, messages become frames (RFC 6455, RFC 7692).

Owns: framing after the opening handshake, and the closing handshake. Never: sockets, HTTP, or what
the messages mean.

Whole, uncompressed data frames, which nearly all frames are, are parsed here. All others (control
frames, fragments, compression, violations) are handed, frame by frame, to the `websockets`
library's sans-I/O `Protocol`, which exists only while it is needed: 1.3 KiB and 4.5 µs.
"""

import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import final

from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SERVER, Event, Protocol
from websockets.speedups import apply_mask

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.host import Host
from fox_shard.gateway.clients.pings import Pings
from fox_shard.gateway.clients.unfinished import Unfinished
from fox_shard.gateway.transports.receivers import BYTES_SHIFT, MESSAGE

__all__ = ["MessageStream", "binary_frame", "deflated_frame", "text_frame"]

TEXT = 0x81
"""First byte of a text frame that is a whole, uncompressed message (RFC 6455 5.2)."""

BINARY = 0x82
"""First byte of a binary frame that is a whole, uncompressed message (RFC 6455 5.2)."""

CLOSE_TIMEOUT = 5.0
"""Seconds that the client has to answer our Close frame."""

DEFLATE_ABOVE = 256
"""Bytes up to which messages are not compressed: a fresh deflate gains nothing on them."""

DEFLATE_BELOW = 1 << 20
"""Bytes above which messages are not compressed: this would hold up all other clients."""

DEFLATE_LEVEL = 1
"""The level of zlib: JSON shrinks nearly as well as with level 6, in a third of the time."""

_PING = b"\x89\0"
_UNMASKED = b"\0\0\0\0"
_RSV1 = 0x40
_DEFLATE_TAIL = b"\0\0\xff\xff"


def text_frame(payload: bytes) -> bytes:
    """Frame a text message (UTF-8) as servers do: whole and unmasked (RFC 6455 5.2)."""
    length = len(payload)
    if length < 126:
        return b"\x81%c" % length + payload
    return _header(TEXT, length) + payload


def binary_frame(payload: bytes) -> bytes:
    """Frame a binary message as servers do: whole and unmasked (RFC 6455 5.2)."""
    length = len(payload)
    if length < 126:
        return b"\x82%c" % length + payload
    return _header(BINARY, length) + payload


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return b"%c\x7e" % first + length.to_bytes(2, "big")
    return b"%c\x7f" % first + length.to_bytes(8, "big")


@cache
def deflated_frame(first: int, window_bits: int) -> Callable[[bytes], bytes]:
    """Return the function that frames a message for clients that negotiated permessage-deflate.

    first: TEXT or BINARY. window_bits: the server's LZ77 window, 8 to 15 (RFC 7692 7.1.2.1); with
    8, which zlib cannot write, nothing is compressed.

    We always negotiate server_no_context_takeover, so a message has the same bytes for all of these
    clients. The message is compressed once, or not at all if that would not make it shorter (RFC
    7692 6: RSV1 is then 0).
    """

    def frame(payload: bytes) -> bytes:
        if DEFLATE_ABOVE < len(payload) <= DEFLATE_BELOW and window_bits > 8:
            deflate = zlib.compressobj(DEFLATE_LEVEL, wbits=-window_bits)
            compressed = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
            compressed = compressed.removesuffix(_DEFLATE_TAIL)
            if len(compressed) < len(payload):
                return _header(first | _RSV1, len(compressed)) + compressed
        return _header(first, len(payload)) + payload

    return frame


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


@final
class MessageStream:
    """The receiver of a connection whose opening handshake is over.

    `begin` names the session's two callbacks: one takes each message, and the other is called once,
    when no more messages will come. This is when the connection is lost, the client closes it or
    violates the protocol, or the closing handshake that `close` has started is over.
    """

    __slots__ = (
        "_connection",
        "_first",
        "_fragments",
        "_host",
        "_limit",
        "_lost",
        "_need",
        "_partial",
        "_pings",
        "_protocol",
        "_take",
        "_unfinished",
    )

    def __init__(
        self,
        host: Host,
        connection: Connection,
        first: int,
        deflate: PerMessageDeflate | None,
        before_session: int,
    ) -> None:
        """first: TEXT or BINARY, the only type of message that the client may send.

        before_session: bytes of the longest message of a client that has no session yet.
        """
        self._host = host
        # Bytes of a message that are allowed by now.
        self._limit = min(before_session, host.settings.max_message_size)
        self._connection = connection
        self._first = first
        self._take: Callable[[bytes, float], None] = _ignore
        self._lost: Callable[[float], None] | None = None
        # The beginning of a frame, and how many bytes it needs to go on.
        self._partial: bytearray | None = None
        self._need = 0
        # The fragments of a message, joined: a list of them could have millions of empty ones.
        self._fragments: bytearray | None = None
        # Made when first needed.
        self._unfinished: Unfinished | None = None
        # From `begin` on, unless there are no Pings.
        self._pings: Pings | None = None
        self._protocol: Protocol | None = None
        if deflate is not None:
            self._library().extensions = [deflate]

    def begin(
        self, take: Callable[[bytes, float], None], connection_lost: Callable[[float], None]
    ) -> None:
        """Call `take(message, now)` for each message, and `connection_lost(now)` at the end."""
        self._take = take
        self._lost = connection_lost
        host, interval = self._host, self._host.settings.ping_interval
        if interval:
            self._pings = Pings(
                self._connection, host.timers, interval, host.now, self._ping, self._gone
            )

    def _ping(self) -> None:
        if self._lost is not None:
            self._connection.write(_PING)

    def _gone(self) -> None:
        self._host.limit_counts.add("ping_interval")
        self._fail(CloseCode.POLICY_VIOLATION, "No Pong came in time.", self._host.now)

    # Hot: 0.3 µs for a 64-byte message in a read of many, 4 µs by way of the library.
    def receive(self, data: bytes, now: float) -> None:  # noqa: C901, PLR0915
        """Handle received bytes."""
        if self._connection.closing:
            return
        if self._pings is not None:
            self._pings.heard = now
        if self._partial is not None:
            self._partial += data
            if len(self._partial) < self._need:
                self._watch(now)
                return
            data = bytes(self._partial)
            self._partial = None
        at = 0
        end = len(data)
        expected = self._first
        take = self._take
        limit = self._limit
        connection = self._connection
        # The shortest header of a masked frame has 6 bytes.
        while end - at >= 6:
            if connection.budget <= 0:
                connection.defer(partial(self.receive, data[at:]))
                return
            length = data[at + 1] - 0x80
            body = at + 6
            if length > 125:
                body = at + (8 if length == 126 else 14)
                if body > end:
                    break
                length = int.from_bytes(data[at + 2 : body - 4], "big")
            if length < 0 or length > limit:
                limit = self._longest()
                if length < 0 or length > limit:
                    # The frame is not masked or too long: there is no reason to wait for the rest.
                    self._handle_other(data[at:], now)
                    return
            stop = body + length
            if stop > end:
                break
            connection.budget -= MESSAGE + (length >> BYTES_SHIFT)
            if data[at] == expected and self._protocol is None:
                mask = data[body - 4 : body]
                payload = data[body:stop]
                if mask != _UNMASKED:
                    payload = apply_mask(payload, mask)
                if payload.isascii() or expected != TEXT:
                    take(payload, now)
                else:
                    self._handle_message(payload, now)
            else:
                self._handle_other(data[at:stop], now)
            at = stop
        if at < end:
            self._keep(data[at:], now)
        if self._is_unfinished():
            self._watch(now)

    def _is_unfinished(self) -> bool:
        """Whether there is a part of a message, or was one a moment ago."""
        return (
            self._partial is not None or self._fragments is not None or self._unfinished is not None
        )

    def _watch(self, now: float) -> None:
        """Watch whether the rest of a message comes in time."""
        if self._unfinished is None:
            timeout = self._host.settings.message_timeout
            self._unfinished = Unfinished(self._host.timers, timeout, self._fail_unfinished)
        held = len(self._partial or b"")
        if self._fragments is not None:
            # A message of empty fragments is unfinished, too.
            held += len(self._fragments) + 1
        self._unfinished.hold(held, now)

    def _fail_unfinished(self) -> None:
        self._partial = self._fragments = None
        self._host.limit_counts.add("message_timeout")
        reason = "The rest of a message did not come in time."
        self._fail(CloseCode.POLICY_VIOLATION, reason, self._host.now)

    def connection_lost(self, now: float) -> None:
        """End the session, because the connection is gone."""
        self._partial = self._fragments = None
        self._end(now)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Start the closing handshake; from now on the session gets no message (RFC 6455 7.1.2).

        reason: a sentence for people, cut off after 123 bytes (RFC 6455 5.5.1).
        """
        protocol = self._library()
        if protocol.state is OPEN and not self._connection.closing:
            protocol.send_close(code, reason.encode()[:123].decode(errors="ignore"))
            self._send_answers(protocol, self._host.now)
            self._host.timers.at(self._host.now + CLOSE_TIMEOUT, self._give_up)

    def _give_up(self, now: float) -> None:
        """Close the connection, because the client has not answered our Close frame in time."""
        self._end(now)
        self._connection.close()

    def _keep(self, rest: bytes, now: float) -> None:
        """Keep the beginning of a frame, which is bounded: `receive` refuses frames too long."""
        size = len(rest)
        need = 2
        if size >= 2:
            second = rest[1]
            if second < 0x80:
                self._handle_other(rest, now)
                return
            need = {0xFE: 8, 0xFF: 14}.get(second, 6)
            if size >= need:
                length = second - 0x80 if need == 6 else int.from_bytes(rest[2 : need - 4], "big")
                need += length
        self._need = need
        self._partial = bytearray(rest)

    def _longest(self) -> int:
        """Return how many bytes a message may have; with a session, more than without."""
        if self._connection.owner is not None:
            self._limit = self._host.settings.max_message_size
        return self._limit

    def _library(self) -> Protocol:
        if self._protocol is None:
            self._protocol = Protocol(SERVER, state=OPEN, max_size=self._longest())
        return self._protocol

    def _handle_other(self, frame: bytes, now: float) -> None:
        """Let the library handle one frame, or the beginning of one that is a violation."""
        protocol = self._library()
        protocol.max_size = self._longest()
        protocol.receive_data(frame)
        if isinstance(protocol.parser_exc, PayloadTooBig):
            self._host.limit_counts.add("max_message_size")
        for event in protocol.events_received():
            self._handle_event(event, now)
        # These come behind the session's answers, because nothing may follow a Close.
        self._send_answers(protocol, now)
        if protocol.state is OPEN and protocol.cur_size is None and not protocol.extensions:
            self._protocol = None
            # The parser refers back to the protocol: break the cycle for the garbage collector.
            protocol.parser.close()

    def _handle_event(self, event: Event, now: float) -> None:
        assert isinstance(event, Frame)
        # What is inflated costs more than what came.
        self._connection.budget -= len(event.data) >> BYTES_SHIFT
        if event.opcode >= Opcode.CLOSE or self._library().state is not OPEN:
            return
        if event.opcode is not Opcode.CONT and event.opcode != self._first & 0x0F:
            kind = "text" if self._first == TEXT else "binary"
            reason = f"This subprotocol has {kind} messages only."
            self._fail(CloseCode.UNSUPPORTED_DATA, reason, now)
            return
        if event.fin and event.opcode is not Opcode.CONT:
            self._handle_message(bytes(event.data), now)
            return
        if self._fragments is None:
            self._fragments = bytearray()
        self._fragments += event.data
        if event.fin:
            payload = bytes(self._fragments)
            self._fragments = None
            self._handle_message(payload, now)

    def _handle_message(self, payload: bytes, now: float) -> None:
        if self._first == TEXT and not _is_utf8(payload):
            self._fail(CloseCode.INVALID_DATA, "A text message must be UTF-8.", now)
        else:
            self._take(payload, now)

    def _fail(self, code: int, reason: str, now: float) -> None:
        """Fail the connection (RFC 6455 7.1.7); a server does not wait for the client's Close."""
        protocol = self._library()
        protocol.fail(code, reason)
        self._send_answers(protocol, now)

    def _send_answers(self, protocol: Protocol, now: float) -> None:
        for chunk in protocol.data_to_send():
            if chunk:
                self._connection.write(chunk)
            else:
                # An empty chunk is the library's sign that nothing more is to be sent.
                self._end(now)
                self._connection.close()

    def _end(self, now: float) -> None:
        connection_lost = self._lost
        if self._unfinished is not None:
            self._unfinished.hold(0, now)
        self._take = _ignore
        self._lost = None
        if connection_lost is not None:
            connection_lost(now)


def _ignore(_message: bytes, _now: float) -> None:
    """Ignore a message that comes after the end."""
