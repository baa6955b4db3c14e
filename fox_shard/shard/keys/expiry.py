"""Expiry of keys.

Owns: when which key is to be checked. Never: keys, clocks.

A key may change before it expires, and then expires later, sooner, or never. So a planned time is
only a reason to check the key. Each key has at most one planned time, the soonest; the caller that
checks the key plans the next one.
"""

from heapq import heappop, heappush
from typing import final

from fox_shard.deadline import NEVER
from fox_shard.shard.rows import KeyRef


@final
class Expiry:
    """The planned times of one shard's keys, in seconds since 1970."""

    __slots__ = ("_heap", "_planned")

    def __init__(self) -> None:
        self._heap: list[tuple[float, KeyRef]] = []
        self._planned: dict[KeyRef, float] = {}

    def plan(self, ref: KeyRef, when: float) -> None:
        """Plan to check the key at that time, unless an earlier time is planned."""
        planned = self._planned.get(ref)
        if planned is None or when < planned:
            self._planned[ref] = when
            heappush(self._heap, (when, ref))

    @property
    def next(self) -> float:
        """When the next check may be due; `NEVER`: nothing is planned."""
        return self._heap[0][0] if self._heap else NEVER

    def due(self, wall: float, limit: int) -> list[KeyRef]:
        """Take the keys whose times have come, the earliest first and at most `limit`."""
        refs: list[KeyRef] = []
        heap = self._heap
        while heap and heap[0][0] <= wall and len(refs) < limit:
            when, ref = heappop(heap)
            if self._planned.get(ref) == when:
                del self._planned[ref]
                refs.append(ref)
        return refs
