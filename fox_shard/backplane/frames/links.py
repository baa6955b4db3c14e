"""Frames: greetings of link ends, and questions about fences.

Owns: the frames of the link itself, and of fences. Never: behaviour.
"""

from msgspec import Struct


class Ask(Struct, array_like=True, tag=50, gc=False):
    """Tell me when you have handled `seq` of origin's link: gateway to shard. `Reached`."""

    origin: str
    epoch: int
    seq: int


class Reached(Struct, array_like=True, tag=51, gc=False):
    """All that `origin` sent up to `seq` has had its effects, and they are before this frame."""

    origin: str
    epoch: int
    seq: int


class Hello(Struct, array_like=True, tag=60, gc=False):
    """Opens a pair of link ends, in both directions; alone in its batch.

    incarnation: of the process. identity: of what numbers its reliable frames: the incarnation, or
    the store that holds them. reply: the peer's hello was heard.
    generation, shards: of the layout; a mismatch is refused.
    """

    incarnation: int
    identity: int
    reply: bool
    version: int
    generation: int
    shards: int


class SyncEnd(Struct, array_like=True, tag=61, gc=False):
    """All state has been replayed: the gateway (or shard) to a shard, behind its replay."""
