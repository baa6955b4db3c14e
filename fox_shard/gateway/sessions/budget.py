"""How much of what the shards send is passed on to clients in one turn of a gateway.

Owns: the units. Never: the work; time.

The shards decide how much comes at once, and the subscribers how much that becomes: so frames are
counted, and the deliveries that they cause. A unit is about a microsecond, as in `clients.turns`.
"""

from collections.abc import Collection
from typing import Final, final

from fox_shard.gateway.sessions.realm import Realm

TURN_UNITS: Final = 20_000
"""Units of one turn."""

FRAME: Final = 2
"""Units of one frame, or of one publish that is confirmed."""

PARTS: Final = 8
"""Deliveries at quality of service 0 that are one unit together."""

ASSURED: Final = 3 * PARTS
"""What a delivery at quality of service 1 or 2 costs more, in the same measure."""


@final
class DeliveryBudget:
    """What is left of the present turn's units; 0 or less: nothing.

    units: those of a whole turn.
    """

    __slots__ = ("_counted", "_realms", "left", "units")

    def __init__(self, realms: Collection[Realm] = (), units: int = TURN_UNITS) -> None:
        """realms: those of the gateway, which count deliveries."""
        self._realms = realms
        # The deliveries until now, in parts of a unit.
        self._counted = 0
        self.left = self.units = units

    def begin_turn(self) -> None:
        """Begin a turn, with all units."""
        self.left = self.units

    def spend(self, frames: int) -> int:
        """Take the units of so many frames, and of the deliveries since the last; return them."""
        counted = 0
        for realm in self._realms:
            counted += realm.deliveries + realm.assured * ASSURED
        units = frames * FRAME + (counted - self._counted) // PARTS
        self._counted = counted
        self.left -= units
        return units
