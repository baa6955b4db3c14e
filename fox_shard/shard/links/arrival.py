"""Frames of a peer that are to be handled.

Owns: which of them are reliable, and their numbers. Never: what they do.
"""

from bisect import bisect_left

from msgspec import Struct

from fox_shard.backplane.frames import Frame
from fox_shard.backplane.link import Link


class Arrival(Struct, gc=False):
    """Frames of one batch of a peer that are to be handled.

    last: number of the last one in its pair. durable: the highest reliable number of the batch, 0:
    it has none. marks: indexes of the reliable frames, numbered from `rfirst` on.
    """

    frames: list[Frame]
    last: int
    durable: int
    marks: list[int]
    rfirst: int

    @classmethod
    def of(cls, link: Link, frames: list[Frame]) -> "Arrival":
        """What `Link.receive` has just returned."""
        marks = link.marks
        durable = link.rfirst + len(marks) - 1 if marks else 0
        return cls(frames, link.received, durable, marks, link.rfirst)

    def rseq(self, index: int) -> int:
        """The reliable number of that frame; 0: it has none."""
        place = bisect_left(self.marks, index)
        if place < len(self.marks) and self.marks[place] == index:
            return self.rfirst + place
        return 0
