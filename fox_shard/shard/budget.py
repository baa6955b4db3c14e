"""The budget of a shard's turn.

Owns: how much work one turn does for clients, before others have theirs. Never: the work; time.

Work is counted in units, not in time, so that the same batches always have the same effects. A unit
is about what it costs to look at one key: some microseconds.
"""

from typing import Final, final

TURN_UNITS: Final = 5000
"""Units of one turn: some hundredths of a second."""

SLICE_UNITS: Final = 1000
"""Units after which a long piece of work lets the next one of the same kind go on."""


def units_of(size: int) -> int:
    """Return the units for reading a payload. size: bytes."""
    return size >> 10


@final
class Budget:
    """What is left of the present turn's units; below 0 if the last piece of work cost more.

    units: those of a whole turn.
    """

    __slots__ = ("left", "units")

    def __init__(self, units: int = TURN_UNITS) -> None:
        self.left = self.units = units

    def spend(self, units: int) -> None:
        """Note that work of so many units was done."""
        self.left -= units

    def hold_back(self, units: int) -> int:
        """Leave no more than so many units; return the rest, which the caller adds again later."""
        rest = max(0, self.left - units)
        self.left -= rest
        return rest

    def leave_at_least(self, units: int) -> None:
        """Leave at least so many units, or those of a whole turn if a turn has fewer."""
        self.left = max(self.left, min(units, self.units))

    @property
    def exhausted(self) -> bool:
        """Whether further work has to wait for the next turn."""
        return self.left <= 0

    def begin_turn(self) -> None:
        """Begin a turn, with all units."""
        self.left = self.units
