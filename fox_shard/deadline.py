"""When a process has to do something although nothing arrives.

Owns: the earliest such time. Never: the clock.
"""

from typing import final

NEVER = float("inf")


@final
class Deadline:
    """One per process; whoever plans something says so here, and the shell looks here each turn."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = NEVER

    def by(self, when: float) -> None:
        """Be called (`tick`) by then, in the unit and origin of `now`."""
        if when < self.at:
            self.at = when
