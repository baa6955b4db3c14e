"""How long deliveries and calls take, by samples.

Owns: which ones are measured, and their histograms. Never: a clock.

A turn may have thousands of events and calls, and a second thousands of turns. So only the first
of each in a turn is measured, with rests between, and what that costs does not grow with the load.
The first event of a turn has waited longest.
"""

from typing import Final, final

from fox_shard.gateway.clients.host import Clock
from fox_shard.histogram import Buckets, Histogram
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS

REST: Final = 0.01
"""Seconds between two measured events of a gateway, or two measured calls."""


@final
class SampledTimes:
    """The measured deliveries and calls of one gateway.

    event: the publication id of the turn's first event; 0: none has come. call: the turn's first
    call, by its session's id and its request; None: there is none. If both are so, `turn_ends` need
    not be called.
    """

    __slots__ = (
        "_calls",
        "_clock",
        "_deliveries",
        "_next_call",
        "_next_delivery",
        "_since",
        "call",
        "event",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.event = 0
        self.call: tuple[int, int] | None = None
        # When measured calls were sent that are not answered.
        self._since: dict[tuple[int, int], float] = {}
        self._next_delivery = self._next_call = 0.0
        self._deliveries = Histogram()
        self._calls = Histogram()

    @property
    def idle(self) -> bool:
        """Whether no call is being measured."""
        return self.call is None and not self._since

    def call_sent(self, session: int, request: int) -> None:
        """Perhaps measure the call, if it is the first one of the turn."""
        if self.call is None:
            self.call = (session, request)

    def call_over(self, session: int, request: int, *, answered: bool) -> None:
        """Note that the call has an answer, or that its session has ended."""
        call = (session, request)
        if call == self.call:
            self.call = None
        since = self._since.pop(call, None)
        if since is not None and answered:
            self._calls.add(self._clock.now - since)

    def turn_ends(self, now: float, wall: float) -> None:
        """Note when the turn's event reaches its subscribers, and its call is sent.

        wall: `now` in seconds since 1970. An event's id tells when its shard has accepted it.
        """
        if self.event:
            if now >= self._next_delivery:
                self._next_delivery = now + REST
                self._deliveries.add(wall - EPOCH - self.event // SHARDS / TICKS)
            self.event = 0
        if self.call is not None:
            if now >= self._next_call:
                self._next_call = now + REST
                self._since[self.call] = now
            self.call = None

    def take(self) -> dict[str, Buckets]:
        """Return the histograms of a report, and begin again."""
        return {"call_seconds": self._calls.take(), "delivery_seconds": self._deliveries.take()}
