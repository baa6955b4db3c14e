"""The socket of one client.

Owns: reading, writing, pausing and closing it; whether its client reads too slowly. Never:
protocols; which clients there are (see `listeners`).
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self, cast, final

from fox_shard.gateway.clients.access import UNIX, Access
from fox_shard.gateway.clients.connection import Connection, Receiver
from fox_shard.gateway.clients.host import SocketHost
from fox_shard.gateway.clients.slowness import Slowness
from fox_shard.gateway.sockets.relief import Relief

Maker = Callable[[Connection], Receiver]
"""A function that makes the first receiver of a new connection."""

JUDGED = 5
"""How many times per `slow_timeout` it is looked at whether a client is slow."""

CLOSE_TIMEOUT = 5.0
"""Seconds that a client has to read what is left and close its side before it is cut off."""


class Peer(NamedTuple):
    """The address of a client. port: of a UNIX socket, its path."""

    host: str
    port: str

    @classmethod
    def of(cls, transport: asyncio.BaseTransport, access: Access) -> Self:
        """Return the address of whoever has connected."""
        found = transport.get_extra_info("peername")
        if isinstance(found, tuple):
            return cls(str(found[0]), str(found[1]))
        return cls(UNIX, str(getattr(access.listener.address, "path", "")))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Acceptor(Protocol):
    """The sockets of the gateway, as one of them sees them."""

    host: SocketHost
    schedule_flush: Callable[[], None]
    """Called after a receiver was called."""

    clock: Callable[[], float]
    relief: Relief

    @property
    def after(self) -> Callable[..., asyncio.TimerHandle]:
        """Returns the timer of a function that is called after so many seconds."""

    def update_clock(self) -> float:
        """Set the gateway's clock before one of its receivers is called; return the time."""

    def lets_in(self, address: str) -> bool:
        """Whether a new client from that address is let in."""

    def note_refusal(self, why: str, address: str) -> None:
        """Count and log that the setting `why` has refused a connection."""

    def admit(self, channel: "Channel", *, held: bool) -> None:
        """Add a new client. held: it must wait."""

    def remove(self, channel: "Channel") -> None:
        """Remove a client that is gone."""


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
class Channel:
    """The socket of one client, which is its Connection's `transport` while it can be written.

    It is an `asyncio.Protocol` (see `as_protocol`), of which a compiled class cannot be a subclass.
    """

    __slots__ = (
        "_access",
        "_address",
        "_deadline",
        "_holds",
        "_listeners",
        "_make",
        "_peer",
        "_refused",
        "connection",
        "paused",
        "slowness",
        "socket",
        "written",
    )

    connection: Connection
    socket: asyncio.Transport

    def __init__(
        self,
        listeners: Acceptor,
        make: Maker,
        *,
        holds: bool,
        access: Access,
        peer: Peer | None = None,
    ) -> None:
        """peer: of a client that was let in already; None: that of the socket."""
        self._listeners = listeners
        self._make = make
        self._holds = holds
        self._access = access
        self._peer = peer
        self._deadline: asyncio.TimerHandle | None = None
        self._address = ""
        self._refused = False
        self.paused = False
        # While more than `outbound_limit` bytes wait for the client, and until all are written.
        self.slowness: Slowness | None = None
        # All bytes that were given to the socket.
        self.written = 0

    @property
    def as_protocol(self) -> asyncio.Protocol:
        """The same object, for the event loop."""
        return cast(asyncio.Protocol, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listeners = self._listeners
        self.socket = cast(asyncio.Transport, transport)
        # Above this mark `pause_writing` is called, so no write needs to check the buffer's size.
        self.socket.set_write_buffer_limits(high=listeners.host.settings.outbound_limit, low=0)
        peer = self._peer or Peer.of(transport, self._access)
        self._address = peer.host
        self.connection = Connection(listeners.host.dirty, str(peer))
        self.connection.transport = self
        self.connection.access = self._access
        self.connection.waiting = self.socket.get_write_buffer_size
        if self._access.listener.forwarded != "off":
            self.connection.relocate = self._relocate
        if self._peer is None and not listeners.lets_in(self._address):
            # It is not counted, and nothing of it is kept.
            self.connection.receiver = _CLOSED
            self.connection.transport = None
            self._refused = True
            self.socket.abort()
            return
        self.connection.receiver = QueuedClient(self.connection)
        listeners.admit(self, held=self._holds and not listeners.host.linked)

    def _relocate(self, host: str, port: int) -> bool:
        """Count the client at the address that its proxy names; return whether it is let in.

        port: 0: the proxy does not name it.
        """
        listeners = self._listeners
        why = listeners.host.admission.move(self._address, host, listeners.host.settings)
        if why:
            listeners.note_refusal(why, host)
            return False
        self._address = host
        self.connection.peer = f"{host}:{port}"
        return True

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
            self._listeners.host.turns.client_gone(self.connection)
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
        self._listeners.relief.written += size
        out.clear()
        self.socket.write(chunk)

    def pause_writing(self) -> None:
        # asyncio calls this in the very write that exceeds the mark, and `resume_writing` when
        # nothing waits any more.
        settings = self._listeners.host.settings
        self.slowness = Slowness(
            settings.outbound_limit, settings.slow_timeout, self._taken(), self._listeners.clock()
        )
        self._listeners.host.fell_behind(self.connection)
        self._judge_later(self.slowness)

    def resume_writing(self) -> None:
        self.slowness = None
        self._listeners.host.caught_up(self.connection)

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
        if self.connection.behind:
            # It loses events instead. If what it may not lose becomes too much, `write` ends it.
            self._judge_later(slowness)
        elif slowness.is_slow(waiting, self._taken(), self._listeners.update_clock()):
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
