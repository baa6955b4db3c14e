"""The terms of links: their settings, and what can happen to them.

Owns: the settings of links, and the events that a link end reports. Never: a link.
"""

from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

ACKNOWLEDGED: Final = 8
REQUEST: Final = 16
SUBSCRIBE: Final = 32
KEY: Final = 32
"""How much work frames of clients are for a shard, beyond the 1 that each frame counts: an
acknowledged publish, a request that is no publish, one to subscribe, and a publish that concerns
the store."""


class LinkSettings(Struct, frozen=True):
    """The layout that both ends must agree on, and the limits of a link.

    shards, generation: the layout. heartbeat, peer_timeout: seconds. hands_over: the peers are in
    this process, and get batches as they are (see `parcel`). attached_…: how many attached gateways
    there may be (see `attached`), their `peer_timeout`, and the bytes that may be in flight to one
    of them.
    """

    shards: int
    generation: int = 0
    credit: int = 8 << 20
    """Bytes that may be in flight: sent, but not yet handled by the peer."""
    work_credit: int = 8000
    """Work that may be in flight from a gateway to a shard (see `KEY`). All clients' frames
    wait in this line, and as many small ones as there are bytes of credit for would take the shard
    seconds."""
    outbox_limit: int = 64 << 20
    """Bytes of frames that a shard's store keeps for one other shard, before requests that would
    add to them are refused."""
    heartbeat: float = 1.0
    peer_timeout: float = 5.0
    hands_over: bool = False
    attached_gateways: int = 64
    attached_timeout: float = 2.5
    attached_buffer: int = 32 << 20

    def for_attached(self) -> "LinkSettings":
        """Return the settings of the links of an attached gateway, at both ends.

        It is a process of its own, also beside a server that is one process.
        """
        return replace(self, peer_timeout=self.attached_timeout, hands_over=False)


class LinkEvent(Enum):
    """What happened to the pair when a batch came or time passed."""

    NONE = 0
    OPENED = 1
    """A new pair is open, and the owner must call `Link.resume`."""
    BROKEN = 2
    """The pair has ended."""
    REFUSED = 3
    """The peer has another layout or protocol version, or does not let this process in (see
    `Link.refusal`)."""
    DISOWNED = 4
    """The peer has declared this process's incarnation gone, and does not let it in again."""


NOTHING: Final = LinkEvent.NONE
"""The same for the hot paths: to read an attribute of an enum costs 0.1 µs (Python 3.11)."""
