"""The gateway's sockets: the listening ones, and those of its clients.

Owns: all between the operating system and `Connection`: accepting, reading, writing, closing.
Never: protocols; a function that is passed in for each listener makes a connection's receiver.

In a turn of the loop, sockets are read and their receivers called. Then the shell's flush runs
once, and calls `perform` with the connections that have something to write or to change.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import cast, final

from fox_shard.config import Address
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.connection import Connection, Receiver
from fox_shard.gateway.clients.host import SocketHost
from fox_shard.gateway.clients.slowness import Slowness
from fox_shard.gateway.sockets.ports import AddressTaken, Claims

__all__ = ["ListenError", "Listeners", "listening_sockets"]

Maker = Callable[[Connection], Receiver]
"""A function that makes the first receiver of a new connection."""

JUDGED = 5
"""How many times per `slow_timeout` it is looked at whether a client is slow."""

WRITES = 2000
"""Connections that are written to in one turn: an event may go to very many."""

BACKLOG = 4096
"""Connections that wait to be accepted, per listening socket."""

CLOSE_TIMEOUT = 5.0
"""Seconds that a client has to read what is left and close its side before it is cut off."""

# A client whose machine has vanished is found after 40 seconds, whatever its protocol: by the
# kernel's probes, after 20 + 4 * 5 seconds, or, if something was sent to it meanwhile, by
# TCP_USER_TIMEOUT (milliseconds), which without probes covers only what was sent.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 40_000),
)


class ListenError(Exception):
    """A listener cannot be opened. The message is one sentence for people."""


def listening_sockets(address: Address, claims: Claims | None = None) -> list[socket.socket]:
    """Return one socket for each IP address of the host, which may be a name with several.

    Other gateways bind the same addresses, and the kernel spreads new clients over them
    (SO_REUSEPORT). Accepted sockets inherit the options that are set here (tcp(7)). claims: this
    gateway's. Raises ListenError.
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
    except (OSError, AddressTaken) as error:
        for bound in sockets:
            bound.close()
        raise _refusal(address, error) from error
    return sockets


@final
class ClosedConnection:
    """The receiver of a connection that is over, which ignores everything."""

    def receive(self, data: bytes, now: float) -> None:
        """Ignore the data."""

    def connection_lost(self, now: float) -> None:
        """Do nothing."""


_CLOSED = ClosedConnection()


@final
class QueuedClient:
    """The receiver of a connection that was made while the gateway was not linked to all shards.

    Reading is paused at the first data, not earlier: uvloop reads once after `connection_made`,
    even if that has paused the connection.
    """

    __slots__ = ("_connection", "data")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.data = b""

    def receive(self, data: bytes, now: float) -> None:
        """Keep the data, and read no more."""
        self.data += data
        self._connection.pause(paused=True)

    def connection_lost(self, now: float) -> None:
        """Do nothing, because there is no session yet."""


@final
class Channel(asyncio.Protocol):
    """The socket of one client, which is its Connection's `transport` while it can be written."""

    __slots__ = (
        "_address",
        "_deadline",
        "_holds",
        "_listeners",
        "_make",
        "_refused",
        "connection",
        "paused",
        "slowness",
        "socket",
        "written",
    )

    connection: Connection
    socket: asyncio.Transport

    def __init__(self, listeners: "Listeners", make: Maker, *, holds: bool) -> None:
        self._listeners = listeners
        self._make = make
        self._holds = holds
        self._deadline: asyncio.TimerHandle | None = None
        self._address = ""
        self._refused = False
        self.paused = False
        # While more than `outbound_limit` bytes wait for the client, and until all are written.
        self.slowness: Slowness | None = None
        # All bytes that were given to the socket.
        self.written = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listeners = self._listeners
        self.socket = cast(asyncio.Transport, transport)
        # Above this mark `pause_writing` is called, so no write needs to check the buffer's size.
        self.socket.set_write_buffer_limits(high=listeners.host.settings.outbound_limit, low=0)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        self.connection = Connection(listeners.host.dirty, f"{peer[0]}:{peer[1]}" if peer else "")
        self.connection.transport = self
        self.connection.waiting = self.socket.get_write_buffer_size
        if not listeners.lets_in(self._address):
            # It is not counted, and nothing of it is kept.
            self.connection.receiver = _CLOSED
            self.connection.transport = None
            self._refused = True
            self.socket.abort()
            return
        self.connection.receiver = QueuedClient(self.connection)
        listeners.admit(self, held=self._holds and not listeners.host.linked)

    def begin(self) -> None:
        """Make the receiver of a queued client, and hand it the data that came meanwhile."""
        connection = self.connection
        held = connection.receiver
        if isinstance(held, QueuedClient):
            now = self._listeners.update_clock()
            connection.receiver = self._make(connection)
            if held.data:
                connection.pause(paused=False)
                self._listeners.host.turns.receive(connection, held.data, now)

    def data_received(self, data: bytes) -> None:
        listeners = self._listeners
        now = listeners.host.now = listeners.clock()
        connection = self.connection
        connection.traffic.bytes_in += len(data)
        listeners.host.turns.receive(connection, data, now)
        if connection.paused and not self.paused:
            # At once: the event loop may have read more already.
            self.pause(paused=True)
        listeners.schedule_flush()

    def eof_received(self) -> bool:
        if self.connection.backlog:
            self.connection.defer(self._end_of_input)
            return True
        if self.connection.transport is None:
            # Both sides are done now: let the socket close.
            return False
        self._end_of_input(self._listeners.update_clock())
        return True

    def _end_of_input(self, _now: float) -> None:
        # The answers so far are still written: perhaps the client has only closed its own half.
        self._end_receiver()
        self.connection.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._refused:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._listeners.host.admission.leave(self._address)
        self.connection.transport = None
        if self.connection.backlog:
            # What came before is handled first: there may be a goodbye in it.
            self.connection.defer(lambda _now: self._end_receiver())
        else:
            self._end_receiver()
        self._listeners.remove(self)

    def write(self, out: list[bytes]) -> None:
        """Write all chunks at once, and clear the list."""
        slowness = self.slowness
        if slowness is not None and slowness.is_over(self.socket.get_write_buffer_size()):
            self.end_slow()
        count = len(out)
        chunk = out[0] if count == 1 else b"".join(out)
        size = len(chunk)
        traffic = self.connection.traffic
        traffic.messages_out += count
        traffic.bytes_out += size
        self.written += size
        out.clear()
        self.socket.write(chunk)

    def pause_writing(self) -> None:
        # asyncio calls this in the very write that exceeds the mark, and `resume_writing` when
        # nothing waits any more.
        settings = self._listeners.host.settings
        self.slowness = Slowness(
            settings.outbound_limit, settings.slow_timeout, self._taken(), self._listeners.clock()
        )
        self._judge_later(self.slowness)

    def resume_writing(self) -> None:
        self.slowness = None

    def _taken(self) -> int:
        return self.written - self.socket.get_write_buffer_size()

    def _judge_later(self, slowness: Slowness) -> None:
        seconds = self._listeners.host.settings.slow_timeout / JUDGED
        self._listeners.after(seconds, self._judge, slowness)

    def _judge(self, slowness: Slowness) -> None:
        """See whether the client is slow, while `slowness` is the present one."""
        if self.slowness is not slowness or self.connection.transport is None:
            return
        waiting = self.socket.get_write_buffer_size()
        if slowness.is_slow(waiting, self._taken(), self._listeners.update_clock()):
            self.end_slow()
        else:
            self._judge_later(slowness)

    def end_slow(self) -> None:
        """End the session and the connection of a client that reads too slowly."""
        self.slowness = None
        self._listeners.host.slow(self.connection)
        # `slow` leaves the connection open if it has no session, or one that awaits an answer.
        self.connection.close()
        self._listeners.schedule_flush()

    def pause(self, *, paused: bool) -> None:
        """Read no more, or go on reading."""
        self.paused = paused
        if paused:
            self.socket.pause_reading()
        else:
            self.socket.resume_reading()

    def finish(self) -> None:
        """Close the socket when all is written, or after CLOSE_TIMEOUT.

        A socket that is closed with unread data resets the connection, and the last bytes written,
        which say why, may be lost. So we close only our half, and read on until the client closes
        its own.
        """
        self.connection.transport = None
        if not self.socket.is_closing():
            if self.connection.receiver is _CLOSED:
                self.socket.close()
            else:
                self.socket.write_eof()
                self.socket.resume_reading()
            self._deadline = self._listeners.after(CLOSE_TIMEOUT, self.socket.abort)
        self._end_receiver()

    def _end_receiver(self) -> None:
        """Tell the receiver, once, that the connection is gone."""
        receiver = self.connection.receiver
        if self.connection.refused:
            self._listeners.host.client_refused(self.connection)
            self.connection.refused = ""
        self.connection.receiver = _CLOSED
        self.connection.backlog.clear()
        receiver.connection_lost(self._listeners.update_clock())
        self._listeners.schedule_flush()


@final
class Listeners:
    """All sockets of a gateway. `len()` is the number of connections."""

    def __init__(
        self, host: SocketHost, make: Mapping[str, Maker], schedule_flush: Callable[[], None]
    ) -> None:
        """make: for "websocket", "rawsocket" and "mqtt", makes a connection's first receiver.

        schedule_flush: called after receivers were called; the shell then calls `perform` soon.
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
        """Listen at the addresses of settings; `addresses` then has the ports that are open.

        claims: keeps other servers away from the addresses. Raises ListenError, and then nothing is
        open.
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
        # A WebSocket's handshake does its own waiting: at its port /healthz must be answered, too.
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
        """Close the listening sockets, but no connections."""
        while self._servers:
            self._servers.pop().close()
        self.addresses.clear()
        if self._claims is not None:
            self._claims.drop()

    async def close_all(self, grace: float) -> None:
        """Close each connection when all is written; cut off the rest after `grace` seconds."""
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

    def serve_queued(self) -> None:
        """Serve the clients that came while the gateway was not linked to all shards."""
        if not self._held:
            return
        held, self._held = self._held, []
        for channel in held:
            channel.begin()
        self.schedule_flush()

    def perform(self, dirty: list[Connection]) -> None:
        """Write to, pause, resume and close the sockets as their connections say.

        dirty: may have a connection twice. Connections that are added meanwhile (a slow client is
        told so) are handled as well. WRITES of them are handled and removed; if there are more, the
        others are handled in the next turns. Then clients go on whose bytes earlier turns left.
        """
        for count, connection in enumerate(dirty):
            if count == WRITES:
                del dirty[:WRITES]
                self.schedule_flush()
                break
            channel = connection.transport
            out = connection.out
            if not isinstance(channel, Channel):
                out.clear()
                continue
            if out:
                channel.write(out)
            if connection.closing:
                if not out:
                    channel.finish()
            elif connection.paused is not channel.paused:
                channel.pause(paused=connection.paused)
        else:
            dirty.clear()
        self._go_on()

    def _go_on(self) -> None:
        """Begin a turn with what clients have sent and earlier turns have left (see `Turns`)."""
        turns = self.host.turns
        due = turns.begin()
        if not (due or turns.busy):
            return
        now = self.update_clock()
        for connection in due:
            try:
                turns.go_on(connection, now)
            except Exception as error:  # noqa: BLE001 - as when it is raised by `data_received`
                turns.failed(connection)
                self._fail(connection, error)
        turns.do_chores()
        self.schedule_flush()

    def _fail(self, connection: Connection, error: Exception) -> None:
        """Report what a receiver has raised, and end its connection, as the event loop does."""
        channel = connection.transport
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Fatal error", "exception": error, "protocol": channel}
        )
        if isinstance(channel, Channel):
            channel.socket.abort()

    def buffered(self) -> int:
        """Return how many bytes wait for clients to read them."""
        return sum(channel.socket.get_write_buffer_size() for channel in self._channels)

    def update_clock(self) -> float:
        """Set the gateway's clock before one of its receivers is called; return the time."""
        now = self.host.now = self.clock()
        return now

    def lets_in(self, address: str) -> bool:
        """Whether a new client from that address is let in (see `Admission`)."""
        host, now = self.host, self.clock()
        why = host.admission.admit(address, host.settings, now)
        if why:
            host.limit_counts.add(why)
            count = host.admission.to_note(why, now)
            if count:
                fields = {"limit": why, "count": count, "address": address}
                host.notices.append(("connections_refused", fields))
                self.schedule_flush()
        return not why

    def admit(self, channel: Channel, *, held: bool) -> None:
        """Add a new client. held: it must wait for `resume_held`."""
        self._channels.add(channel)
        if held:
            self._held.append(channel)
        else:
            channel.begin()

    def remove(self, channel: Channel) -> None:
        """Remove a client that is gone."""
        self._channels.discard(channel)
        if not self._channels:
            self._emptied.set()


def _refusal(address: Address, error: OSError | AddressTaken) -> ListenError:
    if isinstance(error, AddressTaken):
        return ListenError(
            f"Cannot listen at {address}: another fox-shard, whose run directory is {error.owner}, "
            "listens there; stop it, or set another port."
        )
    return ListenError(f"Cannot listen at {address}: {error.strerror or error}.")
