"""Another process, as a shard sees it.

Owns: what the shard keeps per peer. Never: decisions.
"""

from bisect import bisect_left
from enum import Enum
from typing import TYPE_CHECKING, final

from msgspec import Struct

from fox_shard.backplane.frames import Ask, Frame
from fox_shard.backplane.link import Link
from fox_shard.shard.links.deliveries import Passing
from fox_shard.topics.pattern import Pattern

if TYPE_CHECKING:
    from fox_shard.shard.pubsub.replay import Replay
    from fox_shard.shard.pubsub.selectors import Selector

Wanted = tuple[str, str, int]
"""A subscription: its realm, the text of its pattern, the id of its selection, 0: it has none."""


class Kind(Enum):
    """By the first word of a process's name."""

    GATEWAY = "gateway"
    SHARD = "shard"
    COORDINATOR = "coordinator"


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


@final
class Peer:
    """One gateway, other shard, or the coordinator."""

    __slots__ = (
        "absent",
        "applied",
        "asks",
        "careful",
        "forwarded",
        "kind",
        "link",
        "name",
        "passing",
        "replays",
        "resent",
        "settled",
        "stale",
        "stale_wills",
        "subscriptions",
        "synced",
        "waiting",
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = link.peer
        self.kind = Kind(link.peer.partition("-")[0])
        self.passing = Passing(link, through_shards=self.kind is Kind.SHARD)
        self.subscriptions: dict[Wanted, Pattern | Selector] = {}
        # Those that it has not yet told again since it is back.
        self.stale: set[Wanted] = set()
        # Token -> the replay that is under way.
        self.replays: dict[int, Replay] = {}
        self.stale_wills: set[int] = set()
        # Of its sessions that have something at keys, those that it has not yet told again.
        self.absent: set[int] = set()
        # Session -> its last forwarded call: (number of its batch's last frame, home).
        self.forwarded: dict[int, tuple[int, int]] = {}
        self.synced = False
        # The highest reliable number that was handled.
        self.applied = 0
        # Questions about this peer's frames that wait for its replay.
        self.asks: list[tuple[Link, Ask]] = []
        # Batches that wait for the end of the replay, and what was sent again in it.
        self.waiting: list[Arrival] = []
        self.resent: list[Arrival] = []
        # The publication id that was last said to it in `Settled`.
        self.settled = 0
        # Its frames may be recorded already, or are even if they change no key.
        self.careful = self.kind is Kind.COORDINATOR

    @property
    def gone(self) -> bool:
        """Has it gone for good, or never been here?"""
        return self.link.lost_at is None and not self.link.open

    @property
    def incarnation(self) -> int:
        """Of the last pair, or as the store has it; 0: none is known."""
        return self.link.peer_incarnation

    def reply(self, frame: Frame) -> None:
        """Send, unless the pair has ended: then whom it was for has gone, or has been answered."""
        if self.link.open:
            self.link.send(frame)
