"""One client's connection, as the core sees it.

Owns: what is to be written in this turn, and whether the connection is to be paused or closed.
Never: sockets. The shell (or the simulator) carries this out at the end of the turn.
"""

from collections.abc import Callable
from typing import Protocol, final

from fox_shard.gateway.clients.access import UNIX, Access
from fox_shard.gateway.clients.traffic import Traffic


class Receiver(Protocol):
    """The protocol machine that reads a connection: a transport's handshake, or a session."""

    def receive(self, data: bytes, now: float) -> None:
        """Handle bytes that were read. Never raises: a violation closes this connection."""

    def connection_lost(self, now: float) -> None:
        """Note that the connection is gone (end of file, reset, or closed by us). Called once."""


class Endable(Protocol):
    """The session of a connection, as far as the connection's troubles may end it."""

    def end(self, reason: str, message: str) -> None:
        """End the session, as the router wants it. reason: a URI. message: a sentence."""


CREDIT = 1
"""Why a connection is paused: its client sent something to a shard that has no credit."""

BACKLOG = 2
"""Why a connection is paused: not all that came is handled yet (see `Turns`)."""

ADVICE = 4
"""Why a connection is held: an authorizer was asked whether a request is allowed."""

RATE = 8
"""Why a connection is held: its session publishes faster than `gateway.publish_rate`."""

HELD = CREDIT | ADVICE | RATE
"""Why a connection is held: it is not read, and what was read already waits, too."""

ANSWERS = 16
"""Why a connection is paused: many of its client's calls wait until earlier ones are answered."""

STALLED = HELD | ANSWERS
"""Reasons for which what came already waits as well, besides its turn."""

UNLIMITED = 1 << 62
"""The budget of whoever is not called by `Turns`."""


@final
class Connection:
    """A byte stream with one client."""

    __slots__ = (
        "access",
        "backlog",
        "bearer",
        "behind",
        "budget",
        "closing",
        "debt",
        "dirty",
        "gone",
        "held_by",
        "missed",
        "out",
        "owner",
        "paused",
        "peer",
        "receiver",
        "refused",
        "relocate",
        "traffic",
        "transport",
        "unused",
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
        # Why it is paused: bits of CREDIT, BACKLOG, ADVICE, RATE and ANSWERS.
        self.held_by = 0
        # The units that it may still use in this turn, those that it has used too many, and what
        # is left to do with its bytes, in order (see `Turns`).
        self.budget = UNLIMITED
        self.debt = 0
        # The units that were left when it was held.
        self.unused = 0
        self.backlog: list[Callable[[float], None]] = []
        self.transport: object = None
        # How it came; None in the simulator.
        self.access: Access | None = None
        # Whether the client has gone, and only what it sent before is left.
        self.gone = False
        # The token in the request for a WebSocket, until the client says who it is.
        self.bearer = ""
        # Sets the client's address, which its proxy names; returns whether it is let in. None: no
        # proxy is asked.
        self.relocate: Callable[[str, int], bool] | None = None
        # Why the client got no session, if it was refused one; for the log, so without secrets.
        self.refused = ""
        # The session, from its beginning to its end.
        self.owner: Endable | None = None
        self.traffic = Traffic()
        # Whether events for it are dropped, because it reads too slowly; and how many were, since
        # this was last logged (see `pubsub.slow_consumers`).
        self.behind = False
        self.missed = 0
        # Returns how many bytes were written and have not left; set by the transport.
        self.waiting: Callable[[], int] = lambda: 0

    @property
    def host(self) -> str:
        """The client's address without the port."""
        return UNIX if self.peer.startswith(f"{UNIX}:") else self.peer.rpartition(":")[0]

    @property
    def in_turn(self) -> bool:
        """Whether what the client has sent is being handled just now, as far as a budget goes."""
        return self.budget <= UNLIMITED >> 1

    def write(self, chunk: bytes) -> None:
        """Write a chunk at the end of this turn. The fan-out repeats these lines for speed."""
        out = self.out
        if not out:
            self.dirty.append(self)
        out.append(chunk)

    def close(self) -> None:
        """Close the connection when all that was written has left."""
        if not self.closing:
            self.closing = True
            self.dirty.append(self)

    def pause(self, *, paused: bool, why: int = CREDIT) -> None:
        """Stop reading, so that TCP pushes back on the client, or go on reading.

        It is read again when there is no reason left not to. why: CREDIT, BACKLOG or ANSWERS; see
        `hold` for the others.
        """
        self.held_by = self.held_by | why if paused else self.held_by & ~why
        if self.paused is not (self.held_by != 0):
            self.paused = not self.paused
            self.dirty.append(self)

    def defer(self, rest: Callable[[float], None]) -> None:
        """Call `rest(now)` in a later turn, before anything else that comes from this client."""
        self.backlog.append(rest)

    def hold(self, why: int, rest: Callable[[float], None] | None = None) -> None:
        """Let all that comes from this client wait, until `Turns.release`.

        why: ADVICE or RATE. rest: what goes on first then.
        """
        self.pause(paused=True, why=why)
        # Whoever reads sees that there is no budget, and defers the rest.
        self.unused += max(0, self.budget)
        self.budget = 0
        # With a backlog, what comes next is deferred as well.
        self.defer(rest or _nothing)


def _nothing(_now: float) -> None:
    """Hold a place in a backlog."""
