"""Another process, as a shard sees it.

Owns: what the shard keeps per peer. Never: decisions.
"""

from enum import Enum
from typing import final

from fox_shard.backplane.frames import Ask, Frame
from fox_shard.backplane.link import Link
from fox_shard.shard.passing import Passing
from fox_shard.topics.pattern import Pattern


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
        "forwarded",
        "incarnation",
        "kind",
        "link",
        "lost_at",
        "name",
        "passing",
        "stale",
        "subscriptions",
        "synced",
        "waiting",
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = link.peer
        self.kind = Kind(link.peer.partition("-")[0])
        self.passing = Passing(link, through_shards=self.kind is Kind.SHARD)
        self.incarnation = 0
        # (realm, pattern text) -> pattern
        self.subscriptions: dict[tuple[str, str], Pattern] = {}
        # Those that it has not yet told again since it is back.
        self.stale: set[tuple[str, str]] = set()
        # Session -> its last forwarded call: (number of its batch's last frame, home).
        self.forwarded: dict[int, tuple[int, int]] = {}
        self.synced = False
        # The highest reliable number that was handled.
        self.applied = 0
        self.lost_at: float | None = None
        # Questions about this peer's frames that wait for its replay.
        self.asks: list[tuple[Link, Ask]] = []
        # Batches that wait for the end of the replay: (frames, last number, durable).
        self.waiting: list[tuple[list[Frame], int, int]] = []

    def reply(self, frame: Frame) -> None:
        """Send, unless the pair has ended: then whom it was for has gone, or has been answered."""
        if self.link.open:
            self.link.send(frame)
