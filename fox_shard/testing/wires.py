"""The connections of the simulated world: between processes, and between clients and gateways.

Owns: order within one direction, delays, losses. Never: what the bytes mean.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.transports.factories import makers
from fox_shard.testing.timing import Timing

SLOWNESS = (0.02, 0.2, 1.0)
"""Maximum delays of a pipe as shares of the world's: some pipes are fast, some are slow."""

SEGMENTS = 0.2
"""Probability that a client's bytes are split at a random place, as TCP may do."""


@final
class Pipe:
    """One direction of a connection, which delivers items in order, each after a delay.

    cut: items that are still on their way are lost. losing: how many of the next items are lost, if
    they are sent before losing_until.
    """

    __slots__ = (
        "_deliver",
        "_items",
        "_last",
        "_slowness",
        "_timing",
        "cut",
        "losing",
        "losing_until",
    )

    def __init__(self, timing: Timing, deliver: Callable[[bytes], None]) -> None:
        self._timing = timing
        self._deliver = deliver
        self._items: deque[bytes] = deque()
        self._last = 0.0
        self._slowness = timing.rng.choice(SLOWNESS)
        self.cut = False
        self.losing = 0
        self.losing_until = 0.0

    def send(self, data: bytes) -> None:
        """Deliver the data later, after all earlier data."""
        if self.losing:
            self.losing -= 1
            if self._timing.now < self.losing_until:
                return
        timing = self._timing
        self._last = max(self._last, timing.now + timing.delay() * self._slowness)
        self._items.append(data)
        timing.at(self._last, self._arrive)

    def _arrive(self) -> None:
        data = self._items.popleft()
        if not self.cut:
            self._deliver(data)


@final
class Wire:
    """A client's connection to a gateway, in both directions."""

    def __init__(
        self,
        timing: Timing,
        turn: Callable[[str], None],
        gateway: Gateway,
        when_awake: Callable[[Callable[[], None]], None],
        kind: str,
        received: Callable[[bytes], None],
        closed: Callable[[], None],
    ) -> None:
        """Connect to a listener of that kind.

        turn: called with the gateway's name after each call of its core, so that a turn follows.
        when_awake: performs an action at once, or when the gateway is no longer paused.
        received, closed: called for the client with data, and when the gateway has closed.
        """
        self._timing = timing
        self._turn = turn
        self._gateway = gateway
        self._when_awake = when_awake
        self._closed = closed
        self.open = True
        self.connection = Connection(gateway.dirty, f"client:{kind}")
        gateway.now = timing.now
        self.connection.receiver = makers(gateway, gateway.requests)[kind](self.connection)
        self.connection.transport = self
        self._up = Pipe(timing, self._arrived)
        self._down = Pipe(timing, received)
        self._waiting: list[bytes] = []
        # What is sent together, while that is being gathered.
        self._gathered: list[bytes] | None = None
        # The client's session id, also after the session's end; 0 before.
        self.session = 0

    def send(self, data: bytes) -> None:
        """Send the client's bytes to the gateway."""
        if self._gathered is not None:
            self._gathered.append(data)
        elif self.open:
            rng = self._timing.rng
            if rng.random() < SEGMENTS:
                middle = rng.randrange(len(data) + 1)
                self._up.send(data[:middle])
                data = data[middle:]
            self._up.send(data)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send in one piece what the client sends within, so that the gateway reads it at once."""
        gathered: list[bytes] = []
        self._gathered = gathered
        try:
            yield
        finally:
            self._gathered = None
            self.send(b"".join(gathered))

    def _arrived(self, data: bytes) -> None:
        self._when_awake(lambda: self._read(data))

    def _read(self, data: bytes) -> None:
        if self.connection.paused or self._waiting:
            self._waiting.append(data)
        elif self.open:
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        self._gateway.now = self._timing.now
        self._gateway.turns.receive(self.connection, data, self._timing.now)
        owner = self.connection.owner
        if isinstance(owner, Session):
            self.session = owner.id
        self._turn(self._gateway.name)

    def to_client(self, data: bytes) -> None:
        """Send the gateway's bytes to the client."""
        self._down.send(data)

    def resume(self) -> None:
        """Hand over the bytes that waited while the gateway did not read from this client."""
        while self.open and self._waiting and not self.connection.paused:
            self._hand_over(self._waiting.pop(0))

    def close(self) -> None:
        """Close the connection from the client's end, without a goodbye."""
        if self.open:
            self.open = False
            self._when_awake(self._end)

    def _end(self) -> None:
        self._gateway.now = self._timing.now
        if self.connection.backlog:
            self._gateway.turns.client_gone(self.connection)
            self.connection.defer(self.connection.receiver.connection_lost)
        else:
            self.connection.receiver.connection_lost(self._timing.now)
        self._turn(self._gateway.name)

    def cut(self) -> None:
        """Let nothing arrive any more, at either end, of which neither is told."""
        self._up.cut = self._down.cut = True

    def closed_by_gateway(self) -> None:
        """Close the connection from the gateway's end; bytes written before still arrive."""
        if self.open:
            self.open = False
            self._timing.at(self._down_empty(), self._closed)
            self.connection.receiver.connection_lost(self._timing.now)

    def _down_empty(self) -> float:
        return self._timing.now + self._timing.max_delay

    def died(self) -> None:
        """End the connection at once, because the gateway was killed."""
        if self.open:
            self.open = False
            self._down.cut = True
            self._closed()
