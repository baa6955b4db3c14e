"""The gateway's sockets: listening ones, and those of its clients.

Owns: all between the operating system and `Connection`: accepting, reading, writing, closing.
Never: protocols; a function per listener, handed in, makes the first receiver of a connection.

A turn of the loop: sockets are read and their receivers called; then, once, the shell's flush runs,
which calls `perform` with the connections that have something to write or to change.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import cast, final

from fox_shard.config import Address
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.connection import Connection, Receiver
from fox_shard.gateway.clients.host import SocketHost
from fox_shard.gateway.sockets.ports import Claims, Taken

__all__ = ["ListenError", "Listeners", "listening_sockets"]

Maker = Callable[[Connection], Receiver]
"""Makes the first receiver of a new connection."""

BACKLOG = 4096

CLOSE_TIMEOUT = 5.0
"""Seconds for a client to read what is left and to close its side, before it is cut off."""

# A peer that vanished without a word is found after 60 + 4 * 15 seconds. This costs an idle
# connection nothing here: the kernel asks.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)


class ListenError(Exception):
    """A listener cannot be opened: one sentence for a person."""


def listening_sockets(address: Address, claims: Claims | None = None) -> list[socket.socket]:
    """Return sockets bound to all there is at the address (a name may have IPv4 and IPv6).

    Other gateways bind the same ones: the kernel spreads new clients over them (SO_REUSEPORT).
    What is set on them here, accepted ones inherit (tcp(7)). claims: those of this gateway.
    Raises ListenError.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, place in dict.fromkeys(found):
            if claims is not None:
                claims.add(str(place[0]), address.port)
            bound = socket.socket(family, kind, protocol)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for option in _KEEPALIVE:
                bound.setsockopt(*option)
            bound.bind(place)
    except (OSError, Taken) as error:
        for bound in sockets:
            bound.close()
        raise _refusal(address, error) from error
    return sockets


@final
class _Gone:
    """The receiver of a connection that is over."""

    def receive(self, data: bytes, now: float) -> None:
        """Ignore it."""

    def lost(self, now: float) -> None:
        """Ignore it."""


_GONE = _Gone()


@final
class _Held:
    """The receiver of a connection that came while the gateway was not linked to all shards.

    It takes one read, and then no more: uvloop reads after `connection_made` whatever that says.
    """

    __slots__ = ("_connection", "data")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.data = b""

    def receive(self, data: bytes, now: float) -> None:
        """Keep it."""
        self.data += data
        self._connection.pause(paused=True)

    def lost(self, now: float) -> None:
        """Ignore it."""


@final
class Channel(asyncio.Protocol):
    """The socket of one client: its Connection's `transport`, while it can be written to."""

    __slots__ = ("_deadline", "_holds", "_listeners", "_make", "connection", "paused", "socket")

    connection: Connection
    socket: asyncio.Transport

    def __init__(self, listeners: "Listeners", make: Maker, *, holds: bool) -> None:
        self._listeners = listeners
        self._make = make
        self._holds = holds
        self._deadline: asyncio.TimerHandle | None = None
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listeners = self._listeners
        self.socket = cast(asyncio.Transport, transport)
        # One mark, which pause_writing tells of: no look at the buffer's size after each write.
        self.socket.set_write_buffer_limits(high=listeners.host.settings.outbound_limit, low=0)
        peer = transport.get_extra_info("peername")
        self.connection = Connection(listeners.host.dirty, f"{peer[0]}:{peer[1]}" if peer else "")
        self.connection.transport = self
        self.connection.waiting = self.socket.get_write_buffer_size
        self.connection.receiver = _Held(self.connection)
        listeners.admit(self, held=self._holds and not listeners.host.linked)

    def begin(self) -> None:
        """Let the client speak."""
        connection = self.connection
        held = connection.receiver
        if isinstance(held, _Held):
            now = self._listeners.enter()
            connection.receiver = self._make(connection)
            if held.data:
                connection.pause(paused=False)
                connection.receiver.receive(held.data, now)

    def data_received(self, data: bytes) -> None:
        listeners = self._listeners
        now = listeners.host.now = listeners.clock()
        connection = self.connection
        connection.traffic.bytes_in += len(data)
        connection.receiver.receive(data, now)
        listeners.schedule_flush()

    def eof_received(self) -> bool:
        if self.connection.transport is None:
            # We are done, and now the client is: let the socket close.
            return False
        # What has been answered so far is still written: perhaps only this half is closed.
        self._lose()
        self.connection.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.connection.transport = None
        self._lose()
        self._listeners.forget(self)

    def pause_writing(self) -> None:
        # Called by the very write that exceeds the mark.
        self._listeners.host.slow(self.connection)
        # Also where there is no session, or one that would wait for an answer.
        self.connection.close()
        self._listeners.schedule_flush()

    def finish(self) -> None:
        """Close when all is written, which gets CLOSE_TIMEOUT.

        A socket that is closed with something still to read resets, and what was written last (why
        we close) may be lost. So we only say that we are done, and read on until the client is.
        """
        self.connection.transport = None
        if not self.socket.is_closing():
            if self.connection.receiver is _GONE:
                self.socket.close()
            else:
                self.socket.write_eof()
                self.socket.resume_reading()
            self._deadline = self._listeners.after(CLOSE_TIMEOUT, self.socket.abort)
        self._lose()

    def _lose(self) -> None:
        receiver = self.connection.receiver
        self.connection.receiver = _GONE
        receiver.lost(self._listeners.enter())
        self._listeners.schedule_flush()


@final
class Listeners:
    """All the sockets of a gateway. `len()`: how many connections there are."""

    def __init__(
        self, host: SocketHost, make: Mapping[str, Maker], schedule_flush: Callable[[], None]
    ) -> None:
        """make: for "websocket", "rawsocket" and "mqtt", what makes a connection's first receiver.

        schedule_flush: called whenever receivers were called; the shell then calls `perform` soon.
        """
        self.host = host
        self.schedule_flush = schedule_flush
        self.addresses: dict[str, Address] = {}
        self._make = make
        self._claims: Claims | None = None
        self._servers: list[asyncio.Server] = []
        self._channels: set[Channel] = set()
        self._held: list[Channel] = []
        self._emptied = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        self.after = loop.call_later

    def __len__(self) -> int:
        return len(self._channels)

    async def open(self, settings: Settings, claims: Claims | None = None) -> None:
        """Listen at the addresses of settings; `addresses` tells the ports that are open.

        claims: keeps other servers away from the addresses. Raises ListenError, nothing being open
        then.
        """
        self._claims = claims
        places = {
            "websocket": settings.websocket,
            "rawsocket": settings.rawsocket,
            "mqtt": settings.mqtt,
        }
        try:
            for kind, address in places.items():
                if address is not None:
                    await self._listen(kind, address)
        except ListenError:
            self.stop_accepting()
            raise

    async def _listen(self, kind: str, address: Address) -> None:
        loop = asyncio.get_running_loop()
        make = self._make[kind]
        # A WebSocket's handshake waits by itself: its port also has to tell that we are not linked.
        holds = kind != "websocket"
        waiting = listening_sockets(address, self._claims)
        try:
            while waiting:
                self.addresses[kind] = Address(address.host, waiting[0].getsockname()[1])
                server = await loop.create_server(
                    lambda: Channel(self, make, holds=holds), sock=waiting[0], backlog=BACKLOG
                )
                self._servers.append(server)
                waiting.pop(0)
        except OSError as error:
            raise _refusal(address, error) from error
        finally:
            for bound in waiting:
                bound.close()

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        while self._servers:
            self._servers.pop().close()
        self.addresses.clear()
        if self._claims is not None:
            self._claims.drop()

    async def close_all(self, grace: float) -> None:
        """Close all connections when what is to be written has been; cut off the rest after grace.

        grace: seconds.
        """
        for channel in self._channels:
            channel.connection.close()
        self.schedule_flush()
        self._emptied.clear()
        if self._channels:
            try:
                await asyncio.wait_for(self._emptied.wait(), grace)
            except TimeoutError:
                for channel in self._channels:
                    channel.socket.abort()

    def resume_held(self) -> None:
        """Let those speak who came while the gateway was not linked to all shards."""
        if not self._held:
            return
        held, self._held = self._held, []
        for channel in held:
            channel.begin()
        self.schedule_flush()

    def perform(self, dirty: list[Connection]) -> None:
        """Do to the sockets what stands in their connections, each of which may be here twice.

        Clears dirty. What comes on the list meanwhile (a slow client is told so) is done as well.
        """
        for connection in dirty:
            channel = connection.transport
            out = connection.out
            if not isinstance(channel, Channel):
                out.clear()
                continue
            if out:
                count = len(out)
                chunk = out[0] if count == 1 else b"".join(out)
                traffic = connection.traffic
                traffic.messages_out += count
                traffic.bytes_out += len(chunk)
                # Before the write, which may find that the client is slow and write again.
                out.clear()
                channel.socket.write(chunk)
            if connection.closing:
                if not out:
                    channel.finish()
            elif connection.paused is not channel.paused:
                channel.paused = connection.paused
                if channel.paused:
                    channel.socket.pause_reading()
                else:
                    channel.socket.resume_reading()
        dirty.clear()

    def buffered(self) -> int:
        """Bytes that wait for clients to read them."""
        return sum(channel.socket.get_write_buffer_size() for channel in self._channels)

    def enter(self) -> float:
        """Tell the gateway what time it is, before it is called."""
        now = self.host.now = self.clock()
        return now

    def admit(self, channel: Channel, *, held: bool) -> None:
        """A client has come; held: it is to wait for `resume_held`."""
        self._channels.add(channel)
        if held:
            self._held.append(channel)
        else:
            channel.begin()

    def forget(self, channel: Channel) -> None:
        """A client has gone."""
        self._channels.discard(channel)
        if not self._channels:
            self._emptied.set()


def _refusal(address: Address, error: OSError | Taken) -> ListenError:
    if isinstance(error, Taken):
        return ListenError(
            f"Cannot listen at {address}: another fox-shard, whose run directory is {error.owner}, "
            "listens there; stop it, or set another port."
        )
    return ListenError(f"Cannot listen at {address}: {error.strerror or error}.")
