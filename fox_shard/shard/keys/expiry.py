"""When keys expire.

Owns: which key is to be looked at when. Never: keys, clocks.

A key may change before it expires, and then expires later, never, or sooner. So a time that has
come is only a reason to look at the key. There is one such time for each key, the soonest; whoever
looks says when the next is.
"""

from heapq import heappop, heappush
from typing import final

from fox_shard.deadline import NEVER
from fox_shard.shard.rows import Place


@final
class Expiry:
    """Times are seconds since 1970."""

    __slots__ = ("_heap", "_planned")

    def __init__(self) -> None:
        self._heap: list[tuple[float, Place]] = []
        self._planned: dict[Place, float] = {}

    def plan(self, place: Place, when: float) -> None:
        """Look at that key then, unless that is planned for an earlier time."""
        planned = self._planned.get(place)
        if planned is None or when < planned:
            self._planned[place] = when
            heappush(self._heap, (when, place))

    @property
    def next(self) -> float:
        """When there is something to look at."""
        return self._heap[0][0] if self._heap else NEVER

    def due(self, wall: float, limit: int) -> list[Place]:
        """The keys to be looked at by now, the earliest first, and no more than `limit`."""
        places: list[Place] = []
        heap = self._heap
        while heap and heap[0][0] <= wall and len(places) < limit:
            when, place = heappop(heap)
            if self._planned.get(place) == when:
                del self._planned[place]
                places.append(place)
        return places
