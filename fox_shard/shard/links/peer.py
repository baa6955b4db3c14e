"""Peers: the other processes, as a shard sees them.

Owns: what the shard keeps for each peer. Never: decisions.
"""

from collections import deque
from enum import Enum
from typing import Final, final

from fox_shard.backplane.attached import is_attached
from fox_shard.backplane.frames import FenceQuery, Frame
from fox_shard.backplane.link import Link
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.deliveries import Deliveries


class Kind(Enum):
    """The kind of a process: the first word of its name."""

    GATEWAY = "gateway"
    SHARD = "shard"
    COORDINATOR = "coordinator"


GATEWAY: Final = Kind.GATEWAY
SHARD: Final = Kind.SHARD
"""Kinds that are asked for with every batch (see `terms.NOTHING`)."""


@final
class Peer:
    """A gateway, another shard, or the coordinator."""

    __slots__ = (
        "applied",
        "attached",
        "caught_up",
        "deliveries",
        "fence_queries",
        "followers_behind",
        "kind",
        "link",
        "may_repeat",
        "name",
        "resent",
        "settled",
        "synced",
        "waiting",
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = link.peer
        self.kind = Kind(link.peer.partition("-")[0])
        # Whether this is a gateway beyond the configured ones, which comes and goes.
        self.attached = is_attached(link.peer)
        self.deliveries = Deliveries(link, through_shards=self.kind is Kind.SHARD)
        # Whether the peer has finished its replay in the present pair.
        self.synced = False
        # Whether, after that, all frames that it sent again have been handled.
        self.caught_up = False
        # The highest reliable number of a handled frame.
        self.applied = 0
        # Queries about this peer's frames that wait for its replay, with the links of the askers.
        self.fence_queries: list[tuple[Link, FenceQuery]] = []
        # Frames that wait for the end of the sync, or for a turn with enough budget; and those that
        # were sent again in the replay.
        self.waiting: deque[Arrival] = deque()
        self.resent: list[Arrival] = []
        # The publication id that the peer was last told in `Settled`; 0: none in this pair.
        self.settled = 0
        # How many selectors' followers at the gateway are still being sent what they missed.
        self.followers_behind = 0
        # Whether the peer's frames may have outcomes: they were recorded before a restart, or come
        # from the coordinator, whose frames are recorded even if they change no key.
        self.may_repeat = self.kind is Kind.COORDINATOR

    @property
    def gone(self) -> bool:
        """Whether the peer is gone for good, or has never been here."""
        return self.link.lost_at is None and not self.link.open

    @property
    def incarnation(self) -> int:
        """The incarnation of the last pair, or from the store; 0: none is known."""
        return self.link.peer_incarnation

    def reply(self, frame: Frame) -> None:
        """Send the frame, unless the pair has ended: then the receiver is gone or was answered."""
        link = self.link
        if link.open:
            link.outbox.append(frame)
