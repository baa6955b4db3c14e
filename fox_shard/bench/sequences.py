"""Which numbered messages have come, and which not.

Owns: the next number of each sender, gaps. Never: messages.
"""

from typing import Final, final

SENDERS: Final = 10_000
"""Senders whose numbers are followed, at most; messages of others are only counted."""

GAPS: Final = 100_000
"""Missing numbers that are remembered, because they may still come; all others are lost."""


@final
class Sequences:
    """Numbers 0, 1, 2, … of any number of senders.

    received: different messages. duplicates: messages that had come before.
    """

    __slots__ = ("_from_start", "_lost", "_missing", "_next", "duplicates", "received")

    def __init__(self, *, from_start: bool) -> None:
        """from_start: whether each sender begins with 0; else, with what comes first."""
        self._from_start = from_start
        self._next: dict[str, int] = {}
        self._missing: set[tuple[str, int]] = set()
        self._lost = 0
        self.received = 0
        self.duplicates = 0

    @property
    def lost(self) -> int:
        """How many numbers are missing before one that has come."""
        return self._lost + len(self._missing)

    def take(self, sender: str, number: int) -> bool:
        """Note that a message has come. Returns whether it is no duplicate."""
        following = self._next.get(sender)
        if following is None:
            if len(self._next) == SENDERS:
                self.received += 1
                return True
            following = 0 if self._from_start else number
        if number < following:
            if (sender, number) not in self._missing:
                self.duplicates += 1
                return False
            self._missing.discard((sender, number))
        else:
            self._note_gap(sender, following, number)
            self._next[sender] = number + 1
        self.received += 1
        return True

    def _note_gap(self, sender: str, first: int, number: int) -> None:
        room = min(number - first, GAPS - len(self._missing))
        self._missing.update((sender, missing) for missing in range(number - room, number))
        self._lost += number - first - room
