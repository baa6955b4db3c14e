"""The publication clock of a shard.

Owns: publication ids. Never: the time of day, which is an argument.

An id is `64·t + shard` with `t = max(last + 1, ticks of 2⁻¹⁷ s since 2024)`: strictly increasing in
a shard, unique across shards, roughly ordered by time across shards, below 2⁵³ until the year 2058.
WAMP wants ids of the global scope to be random (WAMP #ids); these are unique instead, and ordered,
so that they serve as cursors.
"""

from typing import final

from fox_shard.topics.ids import EPOCH, TICKS

AHEAD = 60 * TICKS
"""Ticks by which the ceiling is raised above the last `t`; raised again when half are left."""


@final
class PublicationClock:
    """A hybrid logical clock.

    ceiling: a `t` above those in use, which is stored; a restarted shard begins there. wall: the
    time of day in seconds since 1970.
    """

    __slots__ = ("_shard", "_t", "ceiling", "wall")

    def __init__(self, shard: int, wall: float = 0.0) -> None:
        self._shard = shard
        # The time of day that the clock was last told.
        self.wall = wall
        self._t = 0
        self.ceiling = 0

    def load(self, ceiling: int) -> None:
        """Begin at the stored ceiling: above all earlier ids, even if the time was set back."""
        self._t = self.ceiling = ceiling

    def raise_ceiling(self) -> bool:
        """Raise the ceiling if little is left below it; return whether it was raised.

        A raised ceiling has to be stored.
        """
        if self._t + AHEAD // 2 < self.ceiling:
            return False
        self.ceiling = self._t + AHEAD
        return True

    @property
    def last(self) -> int:
        """The highest id that may have been issued."""
        return self._t * 64 + self._shard

    def advance(self, wall: float) -> None:
        """Catch up with the time of day. wall: seconds since 1970. Once a batch is enough."""
        self.wall = wall
        self._t = max(self._t, int((wall - EPOCH) * TICKS))

    def next(self) -> int:
        """Return the next publication id."""
        self._t += 1
        return self._t * 64 + self._shard
