"""The ZeroMQ sockets of the links.

Owns: which socket leads to which process. Never: what is sent (see `link`).

A process that listens binds one ROUTER. A process that connects has one DEALER for each peer that
it connects to. No socket has a high-water mark, because the links limit themselves.

ZeroMQ signals an event once on a socket's file descriptor, and not again until the socket is asked;
sending may swallow the signal. So every socket that was read from or sent on is asked again, until
there is nothing to read. Each question is a system call. A socket on which batches come one by one
is therefore read once and asked once, after the turn's batches have been sent; a *crowded* one, on
which more than one has waited, is read empty first, so that they share a turn.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import final

import zmq
import zmq.backend
from msgspec import DecodeError

from fox_shard.backplane.frames import Batch, Hello, decode
from fox_shard.backplane.tap import RECEIVED, SENT, Tap

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

BATCHES_A_TURN = 64
BYTES_A_TURN = 1 << 18
"""How much is read from one socket before the other sockets, also those of clients, get a turn.

All that is read in a turn goes out as one batch for each peer, so this limits how large batches
grow. A process that is short of CPU must not handle one batch for so long that it seems to hang.
"""

CROWDED = 100
"""Batches that come by themselves, one after the other, before a socket is not crowded any more."""

# As plain numbers, because arithmetic on the library's enums costs as much as the call itself.
EVENTS = int(zmq.EVENTS)
POLLIN = int(zmq.POLLIN)
NOBLOCK = int(zmq.NOBLOCK)
NOBLOCK_SNDMORE = int(zmq.NOBLOCK | zmq.SNDMORE)

_send = zmq.backend.Socket.send
"""`Socket.send` of the library is a function in Python around this one, and costs as much again."""

RECONNECT = 20
"""Milliseconds between two attempts to connect."""


@final
class Wire:
    """All ZeroMQ sockets of one process."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        run_dir: Path,
        *,
        listens: bool,
        connects: Iterable[str],
        on_batch: Callable[[Batch, int], None],
        on_lost: Callable[[str], None],
        on_garbage: Callable[[str], None],
    ) -> None:
        """listens: whether peers connect to this process. connects: peers that it connects to.

        on_batch(batch, bytes on the wire): a batch came. on_lost(peer): nothing can be sent to the
        peer now. on_garbage(why): a batch could not be decoded.
        """
        self._on_batch = on_batch
        self._on_lost = on_lost
        self._on_garbage = on_garbage
        self._context: Context = zmq.Context(io_threads=1)
        self._identity = f"{name}/{incarnation}".encode()
        self._run_dir = run_dir
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.tap = Tap(self._context, run_dir, name)
        self._dealers = {peer: self._dealer(peer) for peer in connects}
        self._routes: dict[str, bytes] = {}
        self._router = self._bind(name) if listens else None
        sockets = [*self._dealers.values(), *([self._router] if self._router else [])]
        self._sockets = {int(socket.fileno()): socket for socket in sockets}
        # Sockets that may be readable although their descriptors do not say so.
        self._unasked: dict[Socket, None] = {}
        # The crowded sockets, each with the number of batches by themselves after which it is not.
        self._crowded: dict[Socket, int] = {}

    def _dealer(self, peer: str) -> Socket:
        dealer = self._socket(zmq.DEALER)
        dealer.setsockopt(zmq.IDENTITY, self._identity)
        # While the peer is away ZeroMQ queues nothing: waiting frames are the link's business.
        dealer.setsockopt(zmq.IMMEDIATE, 1)
        dealer.setsockopt(zmq.RECONNECT_IVL, RECONNECT)
        dealer.connect(self._endpoint(peer))
        return dealer

    def _bind(self, name: str) -> Socket:
        router = self._socket(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        endpoint = self._endpoint(name)
        router.bind(endpoint)
        os.chmod(endpoint.removeprefix("ipc://"), 0o600)
        return router

    def _socket(self, kind: int) -> Socket:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, 0)
        return socket

    def _endpoint(self, peer: str) -> str:
        return f"ipc://{self._run_dir / peer}.sock"

    @property
    def descriptors(self) -> Iterable[int]:
        """The descriptors that the event loop watches, to call `read` when one is readable."""
        return self._sockets.keys()

    def read(self, descriptor: int) -> bool:
        """Hand over batches that have arrived at that descriptor, perhaps not all (see `read_on`).

        Returns whether the socket is crowded, so that others may come in the same turn.
        """
        socket = self._sockets[descriptor]
        self._read(socket)
        return socket in self._crowded

    def read_on(self) -> bool:
        """Hand over batches from sockets that were sent on, or that `read` did not read empty.

        To be called at the end of each turn; if it returns that there were any, another turn must
        follow.
        """
        unasked, self._unasked = self._unasked, {}
        any_came = False
        for socket in unasked:
            if int(socket.get(EVENTS)) & POLLIN:
                self._crowded[socket] = CROWDED
                self._read(socket)
                any_came = True
        return any_came

    def _read(self, socket: Socket) -> None:
        routed = socket is self._router
        crowded = socket in self._crowded
        read = 0
        self._unasked[socket] = None
        try:
            for count in range(BATCHES_A_TURN):
                identity = socket.recv(NOBLOCK) if routed else None
                data = socket.recv(NOBLOCK)
                read += len(data)
                self._take(data, identity)
                if not crowded or read > BYTES_A_TURN:
                    return
                # Asking is cheaper than an exception from `recv`.
                if not int(socket.get(EVENTS)) & POLLIN:
                    del self._unasked[socket]
                    self._judge(socket, count)
                    return
        except zmq.Again:
            return

    def _judge(self, socket: Socket, others: int) -> None:
        """Note how many others came with a batch on a crowded socket."""
        left = CROWDED if others else self._crowded[socket] - 1
        if left:
            self._crowded[socket] = left
        else:
            del self._crowded[socket]

    def _take(self, data: bytes, identity: bytes | None) -> None:
        try:
            batch = decode(data)
        except DecodeError as error:
            self._on_garbage(str(error))
            return
        if identity is not None and (
            batch.source not in self._routes or (batch.frames and type(batch.frames[0]) is Hello)
        ):
            self._routes[batch.source] = identity
        if self.tap.active:
            self.tap.publish(RECEIVED, batch.source, data)
        self._on_batch(batch, len(data))

    def send(self, peer: str, data: bytes) -> None:
        """Send one batch, or call `on_lost` if the peer cannot be reached."""
        if self.tap.active:
            self.tap.publish(SENT, peer, data)
        try:
            dealer = self._dealers.get(peer)
            if dealer is not None:
                self._unasked[dealer] = None
                _send(dealer, data, NOBLOCK)
            elif self._router is not None and peer in self._routes:
                self._unasked[self._router] = None
                _send(self._router, self._routes[peer], NOBLOCK_SNDMORE)
                _send(self._router, data, NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            self._routes.pop(peer, None)
            self._on_lost(peer)

    def forget(self, peer: str) -> None:
        """Drop the route to a peer that is gone for good."""
        self._routes.pop(peer, None)

    def close(self) -> None:
        """Close the sockets; batches on their way get half a second to leave."""
        for socket in self._sockets.values():
            socket.close(linger=500)
        self.tap.close()
        self._context.term()
