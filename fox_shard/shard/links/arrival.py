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
    left_out: how many frames of the batch were left out, because they were applied before.
    """

    frames: list[Frame]
    last: int
    durable: int
    marks: list[int]
    rfirst: int
    left_out: int = 0

    @classmethod
    def of(cls, link: Link, frames: list[Frame]) -> "Arrival":
        """Make an arrival of the frames that `Link.receive` has just returned."""
        marks = link.reliable_indexes
        durable = link.rfirst + len(marks) - 1 if marks else 0
        return cls(frames, link.received, durable, marks, link.rfirst, link.left_out)

    def rseq(self, index: int) -> int:
        """Return the reliable number of the frame at that index; 0: the frame is not reliable."""
        place = bisect_left(self.marks, index)
        if place < len(self.marks) and self.marks[place] == index:
            return self.rfirst + place
        return 0

    def split(self, end: int) -> tuple["Arrival", "Arrival"]:
        """Split the frames into those before the index `end` and the rest.

        Frames that were left out may have been anywhere, so all of them count as part of the rest.
        """
        inside = [mark for mark in self.marks if mark < end]
        outside = [mark - end for mark in self.marks if mark >= end]
        rfirst = self.rfirst + len(inside)
        frames = self.frames
        left_out = self.left_out
        last = self.last - len(frames) + end - left_out
        durable = rfirst - 1 if inside else 0
        first = Arrival(frames[:end], last, durable, inside, self.rfirst)
        durable = self.durable if outside else 0
        return first, Arrival(frames[end:], self.last, durable, outside, rfirst, left_out)
