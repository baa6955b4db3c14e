"""The clocks of a shard: the publication clock, and the time of day that it believes.

Owns: publication ids, and which time of day is absurd. Never: the time of day, which is an
argument.

An id is `64·t + shard` with `t = max(last + 1, ticks of 2⁻¹⁷ s since 2024)`: strictly increasing in
a shard, unique across shards, roughly ordered by time across shards, below 2⁵³ until the year 2058.
WAMP wants ids of the global scope to be random (WAMP #ids); these are unique instead, and ordered,
so that they serve as cursors.

Ids never go back, so a clock that is wrong for one moment would spoil them for ever. An absurd time
is therefore refused, and the shard goes on with the last good one.
"""

from datetime import UTC, datetime
from typing import Final, final

from fox_shard.topics.ids import EPOCH, MAX_ID, SHARDS, TICKS

AHEAD = 60 * TICKS
"""Ticks by which the ceiling is raised above the last `t`; raised again when half are left."""

LAST: Final = MAX_ID // SHARDS
"""The highest `t` of a valid id."""

RESERVE: Final = 4 * 366 * 86_400
"""Seconds at the end of the range that the time of day never uses, so that `t` can go on counting:
17 million millions of ids for each shard."""

LATEST: Final = EPOCH + LAST // TICKS - RESERVE
"""In the year 2054: times of day from then on are absurd. Seconds since 1970."""

HIGHEST: Final = (LATEST - EPOCH) * TICKS
"""The highest `t` that comes from the time of day."""

JUMP: Final = 86_400.0
"""Seconds: a time of day that jumps ahead by more is believed only after `PATIENCE`."""

PATIENCE: Final = 600.0
"""Seconds for which such a time of day must be told before it is believed."""


@final
class TimeOfDay:
    """The time of day, as far as it can be believed.

    offset: seconds from monotonic time to it. known: a plausible time has been told.
    """

    __slots__ = ("_claim", "_refusing", "_since", "known", "offset")

    def __init__(self, now: float) -> None:
        """now: monotonic seconds."""
        self.offset = EPOCH - now
        self.known = False
        # The offset that is told and not believed yet, and since when.
        self._claim = 0.0
        self._since = now
        self._refusing = False

    def begin_at(self, ceiling: int, now: float) -> None:
        """Begin with the last time that the store knows, unless a plausible one has been told."""
        if not self.known:
            self.offset = EPOCH + max(0, ceiling - AHEAD) / TICKS - now

    def tell(self, wall: float, now: float) -> str:
        """Take the time of day that the machine tells.

        wall: seconds since 1970. Returns a sentence if it is refused now, or believed again; "":
        nothing has changed.
        """
        offset = wall - now
        if not EPOCH <= wall < LATEST:
            return self._refuse(wall, now, "which is absurd")
        if self.known and offset > self.offset + JUMP:
            if not self._refusing or abs(offset - self._claim) > JUMP:
                self._claim, self._since = offset, now
            if now < self._since + PATIENCE:
                return self._refuse(wall, now, "which is more than a day ahead")
        self.offset = offset
        self.known = True
        if self._refusing:
            self._refusing = False
            return f"the machine's clock says {_text(wall)}, and is believed again"
        return ""

    def _refuse(self, wall: float, now: float, why: str) -> str:
        if self._refusing:
            return ""
        self._refusing = True
        mine = _text(now + self.offset)
        return f"the machine's clock says {_text(wall)}, {why}: this shard goes on from {mine}"


def _text(wall: float) -> str:
    """Return a time as text. wall: seconds since 1970; centuries that nobody sees are cut off."""
    return f"{datetime.fromtimestamp(min(max(wall, 0.0), 2e11), UTC):%Y-%m-%dT%H:%M:%SZ}"


@final
class PublicationClock:
    """A hybrid logical clock.

    ceiling: a `t` above those in use, which is stored; a restarted shard begins there. wall: the
    time of day in seconds since 1970.
    """

    __slots__ = ("_durable", "_shard", "_t", "_target", "ceiling", "wall")

    def __init__(self, shard: int, wall: float = 0.0) -> None:
        self._shard = shard
        # The time of day that the clock was last told, also as ticks.
        self.wall = wall
        self._target = 0
        self._t = 0
        self.ceiling = 0
        # The ceiling that is known to be stored: time alone does not lead beyond it.
        self._durable = 0

    def load(self, ceiling: int) -> None:
        """Begin at the stored ceiling: above all earlier ids, even if the time was set back.

        Earlier versions could leave the range of ids. Then there is nothing above, and new ids are
        below those, but valid.
        """
        if ceiling > LAST:
            ceiling = HIGHEST
        self._t = self.ceiling = self._durable = ceiling

    def begin(self) -> None:
        """Begin with the time of day: there is no stored ceiling, and no earlier id."""
        self.advance(self.wall)
        self._t = self._target

    def raise_ceiling(self) -> bool:
        """Raise the ceiling if little is left below it; return whether it was raised.

        A raised ceiling has to be stored.
        """
        highest = self._target if self._target > self._t else self._t
        if highest + AHEAD // 2 < self.ceiling:
            return False
        self.ceiling = highest + AHEAD
        return True

    def ceiling_is_durable(self) -> None:
        """Note that the present ceiling is stored."""
        self._durable = self.ceiling

    @property
    def last(self) -> int:
        """The highest id that may have been issued."""
        return self._t * 64 + self._shard

    def advance(self, wall: float) -> None:
        """Catch up with the time of day. wall: seconds since 1970. Once a batch is enough.

        If the time has jumped beyond the stored ceiling, the ids follow when a higher one is
        stored. So no id that a crash could forget comes from the time alone.
        """
        self.wall = wall
        target = int((wall - EPOCH) * TICKS)
        self._target = target = HIGHEST if target > HIGHEST else target
        if target > self._durable:
            target = self._durable
        if target > self._t:
            self._t = target

    def next(self) -> int:
        """Return the next publication id."""
        self._t += 1
        return self._t * 64 + self._shard
