"""Frames of a peer that are to be handled.

Owns: which of the frames are reliable, and their numbers. Never: what the frames do.
"""

from bisect import bisect_left

from msgspec import Struct

from fox_shard.backplane.frames import Frame
from fox_shard.backplane.link import Link


class Arrival(Struct, gc=False):
    """The frames of one batch of a peer that are to be handled.

    last: the sequence number of the last frame. durable: the highest reliable number; 0: no frame
    is reliable. marks: the indexes of the reliable frames, whose numbers begin with `rfirst`.
    """

    frames: list[Frame]
    last: int
    durable: int
    marks: list[int]
    rfirst: int

    @classmethod
    def of(cls, link: Link, frames: list[Frame]) -> "Arrival":
        """Make an arrival of the frames that `Link.receive` has just returned."""
        marks = link.reliable_indexes
        durable = link.rfirst + len(marks) - 1 if marks else 0
        return cls(frames, link.received, durable, marks, link.rfirst)

    def rseq(self, index: int) -> int:
        """Return the reliable number of the frame at that index; 0: the frame is not reliable."""
        place = bisect_left(self.marks, index)
        if place < len(self.marks) and self.marks[place] == index:
            return self.rfirst + place
        return 0
