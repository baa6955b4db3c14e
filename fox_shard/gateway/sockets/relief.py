"""What waits for all clients of a gateway together, in bounded memory.

Owns: when it is looked at how much that is, and which clients are ended. Never: sockets.

Each client may let `outbound_limit` wait, and there may be very many. To add up what waits takes a
while, so it is done when so much has been written that it may be too much.
"""

from collections.abc import Iterable
from typing import Final, TypeVar, final

C = TypeVar("C")

SHARE: Final = 8
"""How many times what may wait is written in parts between two looks."""


@final
class Relief:
    """The sum of all clients. most: bytes that may wait for all of them together."""

    __slots__ = ("_most", "written")

    def __init__(self, most: int) -> None:
        self._most = most
        # Bytes since the last look.
        self.written = 0

    @property
    def is_due(self) -> bool:
        """Whether so much has been written that it is time to look."""
        return self.written * SHARE > self._most

    def fullest(self, clients: Iterable[tuple[int, C]]) -> list[C]:
        """Return the clients to be ended. clients: all, each with the bytes that wait for it.

        These are those for whom most waits, until no more than what is allowed waits for the rest.
        """
        self.written = 0
        waiting = [one for one in clients if one[0]]
        surplus = sum(size for size, _ in waiting) - self._most
        if surplus <= 0:
            return []
        ended = []
        for size, client in sorted(waiting, key=lambda one: one[0], reverse=True):
            ended.append(client)
            surplus -= size
            if surplus <= 0:
                break
        return ended
