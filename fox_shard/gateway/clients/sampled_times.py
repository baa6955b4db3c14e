"""How long deliveries and calls take, by one of each in a turn.

Owns: which ones are measured, and their histograms. Never: a clock.

A turn may have thousands of events and calls, so only the first of each is measured, and what that
costs does not grow with the load. The first event of a turn has waited longest.
"""

from typing import final

from fox_shard.gateway.clients.host import Clock
from fox_shard.histogram import Buckets, Histogram
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS


@final
class SampledTimes:
    """The measured deliveries and calls of one gateway.

    event: the publication id of the turn's first event; 0: none has come.
    """

    __slots__ = ("_call", "_calls", "_clock", "_deliveries", "_since", "event")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.event = 0
        # The first call of the turn, by its session's id and its request; and when others were sent
        # that are not answered.
        self._call: tuple[int, int] | None = None
        self._since: dict[tuple[int, int], float] = {}
        self._deliveries = Histogram()
        self._calls = Histogram()

    @property
    def idle(self) -> bool:
        """Whether no call is being measured."""
        return self._call is None and not self._since

    def call_sent(self, session: int, request: int) -> None:
        """Measure the call, if it is the first one of the turn."""
        if self._call is None:
            self._call = (session, request)

    def call_over(self, session: int, request: int, *, answered: bool) -> None:
        """Note that the call has an answer, or that its session has ended."""
        call = (session, request)
        if call == self._call:
            self._call = None
        since = self._since.pop(call, None)
        if since is not None and answered:
            self._calls.add(self._clock.now - since)

    def turn_ends(self, now: float, wall: float) -> None:
        """Note when the turn's event reaches its subscribers, and its call is sent.

        wall: `now` in seconds since 1970. An event's id tells when its shard has accepted it.
        """
        if self.event:
            self._deliveries.add(wall - EPOCH - self.event // SHARDS / TICKS)
            self.event = 0
        if self._call is not None:
            self._since[self._call] = now
            self._call = None

    def take(self) -> dict[str, Buckets]:
        """Return the histograms of a report, and begin again."""
        return {"call_seconds": self._calls.take(), "delivery_seconds": self._deliveries.take()}
