"""The gateway's sockets: the listening ones, and those of its clients.

Owns: accepting clients, which of them there are, and the turns in which they are written to.
Never: what one socket does (see `channel`); protocols: a function that is passed in for each
listener makes a connection's receiver.

In a turn of the loop, sockets are read and their receivers called. Then the shell's flush runs
once, and calls `perform` with the connections that have something to write or to change.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ssl import SSLContext
from typing import final

from fox_shard.config import Address, Listener, UnixPath
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.access import Access
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.host import SocketHost
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.sockets.channel import Channel, Maker
from fox_shard.gateway.sockets.listening import ListenError, listening_sockets, refusal_of
from fox_shard.gateway.sockets.newcomers import Newcomer, Newcomers
from fox_shard.gateway.sockets.ports import Claims
from fox_shard.gateway.sockets.relief import Relief
from fox_shard.gateway.sockets.tls_contexts import TlsContexts
from fox_shard.gateway.sockets.unix_sockets import UnixListener

WRITES = 2000
"""Connections that are written to in one turn: an event may go to very many."""

BACKLOG = 4096
"""Connections that wait to be accepted, per listening socket."""


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
        # Name, such as "mqtt" or "wss" → where it is open.
        self.addresses: dict[str, Address | UnixPath] = {}
        self._make = make
        self._claims: Claims | None = None
        self._servers: list[asyncio.AbstractServer] = []
        self._unix_listeners: list[UnixListener] = []
        self._channels: set[Channel] = set()
        self._held: list[Channel] = []
        self._emptied = asyncio.Event()
        # Set while clients rest.
        self._alarm: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        self.after = loop.call_later
        self._newcomers = Newcomers(self, loop.call_soon)
        self.relief = Relief(host.settings.outbound_total)

    def __len__(self) -> int:
        return len(self._channels)

    async def open(
        self,
        settings: Settings,
        claims: Claims | None = None,
        more: Sequence[Listener] = (),
        contexts: TlsContexts | None = None,
        number: int | str = 0,
    ) -> None:
        """Listen at the addresses of settings; `addresses` then has those that are open.

        claims: keeps other servers away from the addresses. more: the sections [[listener]], and
        contexts: those of the ones that encrypt. number: of this gateway. Raises ListenError, and
        then nothing is open.
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
                    listener = Listener(protocol=kind, address=address)  # type: ignore[arg-type]
                    accept = self._accept(listener, None)
                    await self._listen(kind, address, accept, f"gateway.{kind}")
            for index, listener in enumerate(more):
                accept = self._accept(listener, partial(_context_of, contexts, index))
                await self._open(self._name(listener), listener, accept, number)
        except ListenError:
            self.stop_accepting()
            raise

    async def _open(
        self,
        name: str,
        listener: Listener,
        accept: Callable[[], asyncio.Protocol],
        number: int | str,
    ) -> None:
        address = listener.address
        if isinstance(address, Address):
            await self._listen(name, address, accept)
            return
        opened = UnixListener(address.of_gateway(number), int(listener.mode, 8))
        self._unix_listeners.append(opened)
        self.addresses[name] = opened.address
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(accept, sock=opened.socket, backlog=BACKLOG)
        self._servers.append(server)

    def _name(self, listener: Listener) -> str:
        """Return a name for `addresses`: mqtts, and for a second one mqtts-2."""
        taken = sum(name.partition("-")[0] == listener.scheme for name in self.addresses)
        return listener.scheme if not taken else f"{listener.scheme}-{taken + 1}"

    def _accept(
        self, listener: Listener, context: Callable[[], SSLContext] | None
    ) -> Callable[[], asyncio.Protocol]:
        """Return the function that makes the first protocol of a connection."""
        make = self._make[listener.protocol]
        access = Access(listener=listener)
        # A WebSocket's handshake does its own waiting: at its port /healthz must be answered, too.
        holds = listener.protocol != "websocket"
        if not (listener.encrypts or listener.proxy_protocol):
            return lambda: Channel(self, make, holds=holds, access=access).as_protocol
        context = context if listener.encrypts else None
        return lambda: Newcomer(self._newcomers, access, make, context, holds=holds)

    async def _listen(
        self,
        name: str,
        address: Address,
        accept: Callable[[], asyncio.Protocol],
        setting: str = "",
    ) -> None:
        loop = asyncio.get_running_loop()
        waiting = listening_sockets(address, self._claims, setting)
        try:
            while waiting:
                self.addresses[name] = Address(address.host, waiting[0].getsockname()[1])
                server = await loop.create_server(accept, sock=waiting[0], backlog=BACKLOG)
                self._servers.append(server)
                waiting.pop(0)
        except OSError as error:
            raise refusal_of(address, error, setting) from error
        finally:
            for bound in waiting:
                bound.close()

    def stop_accepting(self) -> None:
        """Close the listening sockets, but no connections."""
        while self._servers:
            self._servers.pop().close()
        while self._unix_listeners:
            self._unix_listeners.pop().remove()
        self.addresses.clear()
        self._newcomers.close_all()
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

    def perform(self, dirty: list[Connection]) -> None:  # noqa: C901 - every turn, so in one piece
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
        if self.relief.is_due:
            self._relieve()
        # A turn begins.
        turns = self.host.turns
        due = turns.begin(self.clock())
        if due or turns.busy:
            self._go_on(turns, due)

    def _relieve(self) -> None:
        """End the clients for whom most waits, if it is too much for all together."""
        sizes = ((one.socket.get_write_buffer_size(), one) for one in self._channels)
        for channel in self.relief.fullest(sizes):
            self.host.limit_counts.add("outbound_total")
            channel.end_slow()
            # It gets no goodbye, which would wait behind all that has to be given up now.
            channel.socket.abort()

    def _go_on(self, turns: Turns, due: list[Connection]) -> None:
        """Go on with what clients have sent and earlier turns have left (see `Turns`)."""
        now = self.update_clock()
        for connection in due:
            try:
                turns.go_on(connection, now)
            except Exception as error:  # noqa: BLE001 - as when it is raised by `data_received`
                turns.failed(connection)
                self._fail(connection, error)
        turns.do_chores()
        rest = turns.rest(now)
        if not rest:
            self.schedule_flush()
        elif self._alarm is None:
            self._alarm = self.after(rest, self._wake)

    def _wake(self) -> None:
        """Go on after the clients' rest."""
        self._alarm = None
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
        host = self.host
        why = host.admission.admit(address, host.settings, self.clock())
        if why:
            self.note_refusal(why, address)
        return not why

    def note_refusal(self, why: str, address: str) -> None:
        """Count and log that the setting `why` has refused a connection."""
        host = self.host
        host.limit_counts.add(why)
        count = host.admission.to_note(why, self.clock())
        if count:
            fields = {"limit": why, "count": count, "address": address}
            host.notices.append(("connections_refused", fields))
            self.schedule_flush()

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


def _context_of(contexts: TlsContexts | None, number: int) -> SSLContext:
    """Return the context of a new connection, which may have been read again meanwhile."""
    assert contexts is not None
    return contexts.of(number)
