"""What a link is configured with, and what can become of it.

Owns: the settings of links, and the events that a link end reports. Never: a link.
"""

from enum import Enum

from msgspec import Struct


class LinkSettings(Struct, frozen=True):
    """The layout that both ends must agree on, and the limits of a link.

    shards, generation: of the layout. heartbeat, peer_timeout: seconds.
    """

    shards: int
    generation: int = 0
    credit: int = 8 << 20
    """Bytes that may be sent and not yet be handled."""
    heartbeat: float = 1.0
    peer_timeout: float = 5.0


class LinkEvent(Enum):
    """What became of the pair."""

    NONE = 0
    OPENED = 1
    """A new pair: replay state, then `Link.resume`."""
    BROKEN = 2
    """The pair has ended."""
    REFUSED = 3
    """The peer's layout or protocol is another; see `Link.refusal`."""
