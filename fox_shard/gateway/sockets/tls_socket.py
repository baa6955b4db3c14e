"""TLS of one connection, between its socket and its Channel.

Owns: the handshake, records, when TLS ends. Never: which clients there may be, certificates (see
`certificates`).

To the event loop it is the protocol of the socket, and to the Channel the transport: so a Channel
does not know of TLS, and without TLS nothing of this is there. The event loop's own TLS would take
no bytes that were read before it (those behind a PROXY header), and count nobody before the
handshake is over.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final, Protocol, final

from fox_shard.gateway.sockets.tls_turns import HANDSHAKE, RECORD, TlsTurns

SLICE: Final = 500
"""Records of one socket that are read in one turn."""

READ: Final = 1 << 16
"""Bytes read at a time: OpenSSL returns at most a record, of up to 16 KiB."""

HELLO_LIMIT: Final = 1 << 17
"""Bytes that a client may send before the handshake is over."""


class Shaking(Protocol):
    """The connection, while TLS shakes hands."""

    def works(self) -> None:
        """Note that the server has to do something now."""

    def waits(self) -> None:
        """Note that the client has to do something now."""

    def shaken(self, socket: "TlsSocket") -> None:
        """Make the client's Channel, which `TlsSocket.begin` gets."""

    def shaking_failed(self, reason: str) -> None:
        """Note that there will be none. reason: for the log; "": none."""


@final
class TlsSocket(asyncio.Protocol):
    """The socket of one client, encrypted."""

    __slots__ = (
        "_channel",
        "_context",
        "_ended",
        "_eof",
        "_handshakes",
        "_held",
        "_incoming",
        "_outgoing",
        "_queued",
        "_raw",
        "_raw_paused",
        "_received",
        "_records",
        "_shaking",
        "_shut",
        "_tls",
    )

    _tls: ssl.SSLObject

    def __init__(
        self,
        raw: asyncio.Transport,
        context: ssl.SSLContext,
        shaking: Shaking,
        handshakes: TlsTurns,
        records: TlsTurns,
    ) -> None:
        self._raw = raw
        self._shaking: Shaking | None = shaking
        self._handshakes = handshakes
        self._records = records
        self._channel: asyncio.Protocol | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Made when the client has sent something: one that is silent costs no memory for TLS.
        self._context: ssl.SSLContext | None = context
        # Bytes of the handshake.
        self._received = 0
        # It waits for a turn; its Channel does not want to read.
        self._queued = False
        self._held = False
        self._raw_paused = False
        # The client will send no more: at all, as TLS or TCP say.
        self._eof = False
        self._ended = False
        # We write no more.
        self._shut = False

    # From the event loop

    def data_received(self, data: bytes) -> None:
        if self._shut or self._ended:
            return
        if self._context is not None:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
            self._context = None
        self._incoming.write(data)
        turns = self._records
        if self._shaking is not None:
            self._received += len(data)
            turns = self._handshakes
        if self._queued or self._held:
            return
        if turns.used_up:
            self._wait(turns)
        else:
            self._work()

    def eof_received(self) -> bool:
        if self._shaking is not None:
            self._fail("")
            return False
        self._eof = True
        if self._queued or self._held:
            return True
        return self._end_of_input()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._shaking is not None:
            self._fail("")
            return
        channel = self._channel
        if channel is not None:
            if not self._ended:
                self._held = False
                self._read()
            self._ended = self._shut = True
            self._channel = None
            channel.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._channel is not None:
            self._channel.pause_writing()

    def resume_writing(self) -> None:
        if self._channel is not None:
            self._channel.resume_writing()

    # The turns

    def go_on(self) -> None:
        """Go on with what was read."""
        self._queued = False
        if self._shut or self._held:
            self._pace()
            return
        self._work()
        self._pace()

    def failed(self, error: Exception) -> None:
        """Report what a receiver has raised, and end the connection, as the event loop does."""
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Fatal error", "exception": error, "protocol": self}
        )
        self._raw.abort()

    def _wait(self, turns: TlsTurns) -> None:
        self._queued = True
        self._pace()
        if self._shaking is not None:
            self._shaking.works()
        turns.later(self)

    def _pace(self) -> None:
        """Read from the socket, or do not."""
        paused = self._queued or self._held
        if paused is not self._raw_paused and not self._raw.is_closing():
            self._raw_paused = paused
            if paused:
                self._raw.pause_reading()
            else:
                self._raw.resume_reading()

    def _work(self) -> None:
        if self._shaking is not None and not self._shake():
            return
        self._read()

    def _shake(self) -> bool:
        """Go on with the handshake; return whether it is over."""
        shaking = self._shaking
        assert shaking is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._outgoing.pending:
                self._handshakes.spend(HANDSHAKE)
            self._send()
            # The last read may have the end of the handshake and much behind it, so it is looked at
            # before it is judged.
            if self._received > HELLO_LIMIT:
                self._fail("TLS: the client sends too much before the handshake is over")
            else:
                shaking.waits()
            return False
        except (ssl.SSLError, ValueError) as error:
            self._handshakes.spend(HANDSHAKE)
            # The alert.
            self._send()
            self._fail(_reason(error))
            return False
        self._handshakes.spend(HANDSHAKE)
        self._send()
        self._shaking = None
        shaking.shaken(self)
        return self._channel is not None

    def _fail(self, reason: str) -> None:
        shaking, self._shaking = self._shaking, None
        self._shut = self._ended = True
        if shaking is not None:
            shaking.shaking_failed(reason)
        self._raw.close()

    def _read(self) -> None:
        """Read records, up to SLICE, and hand their contents to the Channel."""
        channel = self._channel
        if channel is None:
            return
        chunks, valid = self._decrypted()
        self._records.spend(RECORD * (len(chunks) + 1))
        if self._outgoing.pending:
            self._send()
        if chunks:
            channel.data_received(b"".join(chunks))
        if not valid:
            self._ended = self._shut = True
            self._raw.close()
        elif self._held or self._queued or self._ended:
            return
        elif len(chunks) == SLICE:
            self._wait(self._records)
        elif self._eof and not self._end_of_input():
            self._raw.close()

    def _decrypted(self) -> tuple[list[bytes], bool]:
        """Return the contents of up to SLICE records, and whether what follows may be valid."""
        read = self._tls.read
        chunks: list[bytes] = []
        try:
            while len(chunks) < SLICE:
                chunk = read(READ)
                if not chunk:
                    self._eof = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._eof = True
        except ssl.SSLError:
            return chunks, False
        return chunks, True

    def _end_of_input(self) -> bool:
        """Tell the Channel, once; return whether it has more to write."""
        if self._ended or self._channel is None:
            return not self._shut
        self._ended = True
        return bool(self._channel.eof_received())

    def _send(self) -> None:
        data = self._outgoing.read()
        if data and not self._raw.is_closing():
            self._raw.write(data)

    # From the Channel, and from whoever makes it

    def begin(self, channel: asyncio.Protocol) -> None:
        """Begin to hand what comes to the Channel."""
        self._channel = channel
        channel.connection_made(self._as_transport())

    def _as_transport(self) -> Any:  # noqa: ANN401 - it has what a Channel uses of a Transport
        return self

    @property
    def version(self) -> str:
        """The version of TLS, as "TLSv1.3"."""
        return self._tls.version() or ""

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The client's certificate, as `ssl.SSLSocket.getpeercert` describes it."""
        return self._tls.getpeercert() or None

    @property
    def channel_binding(self) -> bytes:
        """What `tls-unique` is; empty in TLS 1.3, for which RFC 5929 does not define it."""
        if self.version != "TLSv1.2":
            return b""
        return self._tls.get_channel_binding("tls-unique") or b""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what the socket knows."""
        return self._raw.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when `pause_writing` and `resume_writing` are called."""
        self._raw.set_write_buffer_limits(high=high, low=low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, encrypted."""
        return self._raw.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Encrypt and write."""
        if self._shut or self._raw.is_closing():
            return
        try:
            sent = self._tls.write(data)
            if sent < len(data):
                rest = memoryview(data)
                while sent < len(data):
                    sent += self._tls.write(rest[sent:])
        except ssl.SSLError:
            self._shut = True
            self._raw.abort()
            return
        self._raw.write(self._outgoing.read())

    def is_closing(self) -> bool:
        """Whether the connection ends."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """Hand nothing to the Channel."""
        self._held = True
        self._pace()

    def resume_reading(self) -> None:
        """Hand what comes to the Channel again."""
        self._held = False
        if not self._queued and not self._shut and (self._incoming.pending or self._eof):
            self._wait(self._records)
        self._pace()

    def write_eof(self) -> None:
        """Say that no more will come, and ignore what the client sends from now on."""
        self._say_goodbye()
        self._incoming.read()
        if not self._raw.is_closing():
            self._raw.write_eof()

    def close(self) -> None:
        """Close the connection when all is written."""
        self._say_goodbye()
        self._raw.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._shut = True
        self._raw.abort()

    def _say_goodbye(self) -> None:
        """Send `close_notify` (RFC 8446 6.1)."""
        if not self._shut:
            self._shut = True
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._send()


def _reason(error: Exception) -> str:
    """Return why a handshake failed, for the log; never more than OpenSSL's own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the client's certificate is not accepted: {error.verify_message}"
    known = getattr(error, "reason", None)
    match known:
        case "HTTP_REQUEST" | "HTTPS_PROXY_REQUEST":
            return "TLS: the client speaks HTTP without TLS"
        case "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return "TLS: the client has shown no certificate"
        case str():
            return f"TLS: {known.lower().replace('_', ' ')}"
    return "TLS: the handshake failed"
