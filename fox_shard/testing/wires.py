"""What carries bytes in the simulated world: between two processes, and between client and gateway.

Owns: order within one direction, delays, losses. Never: what the bytes mean.
"""

from collections import deque
from collections.abc import Callable
from typing import final

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.transports.factories import makers
from fox_shard.testing.timing import Timing

SLOWNESS = (0.02, 0.2, 1.0)
"""What share of the world's longest delay one pipe takes at most: some are fast, some are slow."""

SEGMENTS = 0.2
"""How often a client's bytes come in pieces that heed no boundary of messages."""


@final
class Pipe:
    """One direction between two ends: first in, first out, each item after a delay.

    cut: what is still on the way is lost. losing: how many of the next items are, until a time.
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
        """Deliver later, behind what was sent before."""
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
    """A client's connection, both ways. `received(data)` and `closed()` belong to the client."""

    def __init__(
        self,
        timing: Timing,
        turn: Callable[[str], None],
        gateway: Gateway,
        kind: str,
        received: Callable[[bytes], None],
        closed: Callable[[], None],
    ) -> None:
        """turn: is told the name of the process that has been called, which then has its turn."""
        self._timing = timing
        self._turn = turn
        self._gateway = gateway
        self._closed = closed
        self.open = True
        self.connection = Connection(gateway.dirty, f"client:{kind}")
        gateway.now = timing.now
        self.connection.receiver = makers(gateway, gateway.requests)[kind](self.connection)
        self.connection.transport = self
        self._up = Pipe(timing, self._arrived)
        self._down = Pipe(timing, received)
        self._waiting: list[bytes] = []
        # The id of the session that the client has, or had.
        self.session = 0

    def send(self, data: bytes) -> None:
        """From the client."""
        if self.open:
            rng = self._timing.rng
            if rng.random() < SEGMENTS:
                middle = rng.randrange(len(data) + 1)
                self._up.send(data[:middle])
                data = data[middle:]
            self._up.send(data)

    def _arrived(self, data: bytes) -> None:
        if self.connection.paused or self._waiting:
            self._waiting.append(data)
        elif self.open:
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        self._gateway.now = self._timing.now
        self.connection.receiver.receive(data, self._timing.now)
        owner = self.connection.owner
        if isinstance(owner, Session):
            self.session = owner.id
        self._turn(self._gateway.name)

    def to_client(self, data: bytes) -> None:
        """From the gateway."""
        self._down.send(data)

    def resume(self) -> None:
        """The gateway reads again."""
        while self.open and self._waiting and not self.connection.paused:
            self._hand_over(self._waiting.pop(0))

    def close(self) -> None:
        """By the client, without a goodbye."""
        if self.open:
            self.open = False
            self._gateway.now = self._timing.now
            self.connection.receiver.lost(self._timing.now)
            self._turn(self._gateway.name)

    def closed_by_gateway(self) -> None:
        """What was written before still arrives."""
        if self.open:
            self.open = False
            self._timing.at(self._down_empty(), self._closed)
            self.connection.receiver.lost(self._timing.now)

    def _down_empty(self) -> float:
        return self._timing.now + self._timing.max_delay

    def died(self) -> None:
        """The gateway was killed."""
        if self.open:
            self.open = False
            self._down.cut = True
            self._closed()
