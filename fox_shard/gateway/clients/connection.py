"""One client's connection, as the core sees it.

Owns: what waits to be written in this turn, and whether the connection is to be paused or closed.
Never: sockets; the shell (or the simulator) performs what stands here at the end of the turn.
"""

from collections.abc import Callable
from typing import Protocol, final

from fox_shard.gateway.clients.traffic import Traffic


class Receiver(Protocol):
    """The protocol machine that reads a connection: a transport's handshake, or a session."""

    def receive(self, data: bytes, now: float) -> None:
        """Take what was read. Never raises: a violation answers and closes this connection."""

    def lost(self, now: float) -> None:
        """The connection is gone (end of file, reset, or closed by us). Called once."""


class Endable(Protocol):
    """The session of a connection: what the connection's fate may end."""

    def end(self, reason: str, message: str) -> None:
        """The router ends it. reason: a URI."""


@final
class Connection:
    """A byte stream with one client."""

    __slots__ = (
        "closing",
        "dirty",
        "out",
        "owner",
        "paused",
        "peer",
        "receiver",
        "traffic",
        "transport",
        "waiting",
    )

    receiver: Receiver

    def __init__(self, dirty: "list[Connection]", peer: str) -> None:
        """dirty: the gateway's list of connections that have something for the shell to do."""
        self.dirty = dirty
        self.peer = peer
        self.out: list[bytes] = []
        self.closing = False
        self.paused = False
        self.transport: object = None
        # Whose the connection is, from the beginning of the session to its end.
        self.owner: Endable | None = None
        self.traffic = Traffic()
        # Bytes that were written and have not left: the transport knows.
        self.waiting: Callable[[], int] = lambda: 0

    def write(self, chunk: bytes) -> None:
        """Write at the end of this turn. The fan-out repeats these lines for speed."""
        out = self.out
        if not out:
            self.dirty.append(self)
        out.append(chunk)

    def close(self) -> None:
        """Close when all that was written has left."""
        if not self.closing:
            self.closing = True
            self.dirty.append(self)

    def pause(self, *, paused: bool) -> None:
        """Stop (or go on) reading: TCP then pushes back on the client."""
        if self.paused is not paused:
            self.paused = paused
            self.dirty.append(self)
