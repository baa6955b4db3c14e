"""The publication clock of a shard.

Owns: publication ids. Never: the time of day, which is an argument.

An id is `64·t + shard` with `t = max(last + 1, ticks of 2⁻¹⁷ s since 2024)`: strictly increasing in
a shard, unique across shards, roughly ordered by time across shards, below 2⁵³ until the year 2058.
WAMP asks for random ids in the global scope (#ids); these are unique instead, and positions.
"""

from typing import final

from fox_shard.topics.ids import EPOCH, TICKS

AHEAD = 60 * TICKS
"""How far the ceiling is raised above what has been issued; again when half of that is left."""


@final
class PublicationClock:
    """A hybrid logical clock. `t` below `ceiling` is stored as used: a restart begins there."""

    __slots__ = ("_shard", "_t", "ceiling", "wall")

    def __init__(self, shard: int, wall: float = 0.0) -> None:
        self._shard = shard
        # The time of day, when it was last heard of.
        self.wall = wall
        self._t = 0
        self.ceiling = 0

    def load(self, ceiling: int) -> None:
        """Begin above what was issued before the restart, also if the time of day was set back."""
        self._t = self.ceiling = ceiling

    def raise_ceiling(self) -> bool:
        """Raise it if little is left; returns whether it was raised, and has to be stored."""
        if self._t + AHEAD // 2 < self.ceiling:
            return False
        self.ceiling = self._t + AHEAD
        return True

    @property
    def last(self) -> int:
        """The last id that was issued, or could have been."""
        return self._t * 64 + self._shard

    def advance(self, wall: float) -> None:
        """Catch up with the time of day (seconds since 1970); once a batch is enough."""
        self.wall = wall
        self._t = max(self._t, int((wall - EPOCH) * TICKS))

    def next(self) -> int:
        """The next publication id."""
        self._t += 1
        return self._t * 64 + self._shard
