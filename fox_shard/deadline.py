"""The next time at which a process must act even if nothing arrives.

Owns: the earliest such time. Never: the clock.
"""

from typing import final

NEVER = float("inf")


@final
class Deadline:
    """The time of a process's next `tick`; its shell reads `at` at the end of each turn.

    Every part of the core that plans something calls `by`; `tick` itself sets `at` anew.
    """

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = NEVER

    def by(self, when: float) -> None:
        """Have `tick` called at `when` or earlier; `when` is monotonic seconds, like `now`."""
        if when < self.at:
            self.at = when
