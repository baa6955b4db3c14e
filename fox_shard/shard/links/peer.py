"""Another process, as a shard sees it.

Owns: what the shard keeps per peer. Never: decisions.
"""

from enum import Enum
from typing import final

from fox_shard.backplane.frames import Ask, Frame
from fox_shard.backplane.link import Link
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.deliveries import Passing


class Kind(Enum):
    """By the first word of a process's name."""

    GATEWAY = "gateway"
    SHARD = "shard"
    COORDINATOR = "coordinator"


@final
class Peer:
    """One gateway, other shard, or the coordinator."""

    __slots__ = (
        "applied",
        "asks",
        "careful",
        "kind",
        "link",
        "name",
        "passing",
        "resent",
        "settled",
        "synced",
        "waiting",
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = link.peer
        self.kind = Kind(link.peer.partition("-")[0])
        self.passing = Passing(link, through_shards=self.kind is Kind.SHARD)
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
