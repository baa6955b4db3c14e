"""Connections that are no clients yet: their PROXY header, or their TLS handshake, is not over.

Owns: how many there may be, how long they may take, and which of them has to go. Never: what comes
after them (see `channel`).

Whoever connects and stays silent costs little, but not nothing. If there are too many, the one that
has been silent longest goes: it is the least likely to be honest, and an honest one need not wait
until the others' time is over.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast, final

from msgspec.structs import replace

from fox_shard.gateway.clients.access import Access
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sockets.certificates import user_of
from fox_shard.gateway.sockets.channel import Acceptor, Channel, Maker, Peer
from fox_shard.gateway.sockets.proxy_header import MalformedHeader, read_header
from fox_shard.gateway.sockets.tls_socket import TlsSocket
from fox_shard.gateway.sockets.tls_turns import TlsTurns

MAX_HANDSHAKES: Final = "max_handshakes"
TIMEOUT: Final = "handshake_timeout"


@final
class Newcomers:
    """All newcomers of a gateway."""

    def __init__(self, gate: Acceptor, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.gate = gate
        self.handshakes = TlsTurns(call_soon)
        self.records = TlsTurns(call_soon)
        # Those that have to do something, the longest silent first; and all the others.
        self._silent: dict[Newcomer, None] = {}
        self._working: set[Newcomer] = set()

    def __len__(self) -> int:
        return len(self._silent) + len(self._working)

    def waits(self, newcomer: "Newcomer") -> None:
        """Add one, or note that it has to do something, and let the longest silent go."""
        self._working.discard(newcomer)
        self._silent.pop(newcomer, None)
        self._silent[newcomer] = None
        if len(self._silent) > self.gate.host.settings.max_handshakes:
            next(iter(self._silent)).make_room()

    def works(self, newcomer: "Newcomer") -> None:
        """Note that the gateway has to do something for it, so it cannot be late."""
        self._silent.pop(newcomer, None)
        self._working.add(newcomer)

    def is_working(self, newcomer: "Newcomer") -> bool:
        """Whether the gateway has to do something for it."""
        return newcomer in self._working

    def forget(self, newcomer: "Newcomer") -> None:
        """Remove one."""
        self._silent.pop(newcomer, None)
        self._working.discard(newcomer)

    def close_all(self) -> None:
        """Close the connections of all."""
        for newcomer in (*self._silent, *self._working):
            newcomer.close()


@final
class Newcomer(asyncio.Protocol):
    """One newcomer, the first protocol of its socket."""

    __slots__ = (
        "_access",
        "_context",
        "_data",
        "_holds",
        "_let_in",
        "_make",
        "_newcomers",
        "_over",
        "_peer",
        "_raw",
        "_said",
        "_timer",
    )

    _raw: asyncio.Transport

    def __init__(
        self,
        newcomers: Newcomers,
        access: Access,
        make: Maker,
        context: Callable[[], ssl.SSLContext] | None,
        *,
        holds: bool,
    ) -> None:
        """access: of its listener. context: returns that of TLS; None: there is no TLS."""
        self._newcomers = newcomers
        self._access = access
        self._make = make
        self._context = context
        self._holds = holds
        self._peer = Peer("", "")
        # What has come of the PROXY header; whether anything has come.
        self._data = b""
        self._said = False
        self._let_in = False
        self._over = False
        self._timer: asyncio.TimerHandle | None = None

    # From the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)
        self._peer = Peer.of(transport, self._access)
        gate = self._newcomers.gate
        self._timer = gate.after(gate.host.settings.handshake_timeout, self._time_out)
        self._newcomers.waits(self)
        if self._over:
            return
        if not self._access.listener.proxy_protocol:
            self._go_on(b"")
        elif not self._access.trusts(self._peer.host):
            self._end("it is no trusted proxy, and the listener takes no others")

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._said = True
        self._data += data
        try:
            header = read_header(self._data)
        except MalformedHeader as error:
            self._end(str(error))
            return
        if header is None:
            return
        if header.host:
            self._peer = Peer(header.host, str(header.port))
            self._access = self._access.of_proxied()
        rest, self._data = self._data[header.size :], b""
        self._go_on(rest)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    # The way in

    def _go_on(self, rest: bytes) -> None:
        """Let the client in, whose address is known, or begin with TLS. rest: what it has sent."""
        gate = self._newcomers.gate
        if not gate.lets_in(self._peer.host):
            self._leave()
            self._raw.abort()
            return
        self._let_in = True
        if self._context is None:
            channel = self._channel()
            self._raw.set_protocol(channel.as_protocol)
            channel.connection_made(self._raw)
            if rest:
                channel.data_received(rest)
            return
        newcomers = self._newcomers
        socket = TlsSocket(
            self._raw, self._context(), self, newcomers.handshakes, newcomers.records
        )
        self._raw.set_protocol(socket)
        if rest:
            socket.data_received(rest)

    def _channel(self) -> Channel:
        self._let_in = False
        self._leave()
        return Channel(
            self._newcomers.gate,
            self._make,
            holds=self._holds,
            access=self._access,
            peer=self._peer,
        )

    # From TLS

    def works(self) -> None:
        """Note that it has sent something."""
        self._said = True
        self._newcomers.works(self)

    def waits(self) -> None:
        """Note that it has to go on."""
        self._said = True
        if not self._over:
            self._newcomers.waits(self)

    def shaken(self, socket: TlsSocket) -> None:
        """Hand over to a Channel."""
        if self._over:
            return
        certificate = socket.certificate
        user = user_of(certificate, self._access.listener.certificate_user) if certificate else None
        self._access = replace(self._access, user=user, channel_binding=socket.channel_binding)
        socket.begin(self._channel().as_protocol)

    def shaking_failed(self, reason: str) -> None:
        """Log why, and forget it."""
        if not self._over and reason:
            self._refused(reason)
        self._leave()

    # Its end

    def close(self) -> None:
        """End it without a word."""
        self._leave()
        self._raw.abort()

    def make_room(self) -> None:
        """End it, because there are too many."""
        self._newcomers.gate.note_refusal(MAX_HANDSHAKES, self._peer.host)
        self.close()

    def _time_out(self) -> None:
        gate = self._newcomers.gate
        if self._newcomers.is_working(self):
            # The gateway is late, not the client.
            self._timer = gate.after(gate.host.settings.handshake_timeout, self._time_out)
            return
        gate.host.limit_counts.add(TIMEOUT)
        what = "TLS handshake" if self._let_in else "PROXY header"
        self._end(f"no {what} came in time" if self._said else "")

    def _end(self, reason: str) -> None:
        if reason:
            self._refused(reason)
        self.close()

    def _refused(self, reason: str) -> None:
        """Let the log say why."""
        gate = self._newcomers.gate
        connection = Connection([], str(self._peer))
        connection.refused = reason
        gate.update_clock()
        gate.host.client_refused(connection)
        gate.schedule_flush()

    def _leave(self) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._newcomers.forget(self)
        if self._let_in:
            self._newcomers.gate.host.admission.leave(self._peer.host)
