"""Frames: the beginning of a pair, and questions about fences.

Owns: the frames of the link itself, and of fences. Never: behaviour.
"""

from typing import TypeAlias

from msgspec import Struct


class FenceQuery(Struct, array_like=True, tag=50, gc=False):
    """A fence needs the frames of `origin` up to `seq`: gateway to shard.

    origin: a gateway's name. epoch: of the origin's end of its link to this shard. Answered by
    `FencePassed` once the frames have had their effects.
    """

    origin: str
    epoch: int
    seq: int


class FencePassed(Struct, array_like=True, tag=51, gc=False):
    """The effects of the frames of `origin` up to `seq` precede this frame: shard to gateway.

    epoch: as in `FenceQuery`. seq: the highest id there is if that pair has ended.
    """

    origin: str
    epoch: int
    seq: int


class Hello(Struct, array_like=True, tag=60, gc=False):
    """The first frame of a pair, in both directions; alone in its batch.

    incarnation: the process's. identity: of the numbering of its reliable frames, which is that of
    the store that keeps them, or else the incarnation. reply: this answers the peer's `Hello`.
    version, generation, shards: of the protocol and the layout; a mismatch is refused. gone: the
    receiver's incarnation that the sender has declared gone last and does not let in again, or 0.
    missed: the sender has started since the last pair, and ended its sync without the receiver.
    known: the receiver's incarnation with which this incarnation of the sender was last linked, or
    0. refusal: why the sender does not let the receiver in, in words.
    """

    incarnation: int
    identity: int
    reply: bool
    version: int
    generation: int
    shards: int
    gone: int = 0
    missed: bool = False
    known: int = 0
    refusal: str = ""


class SyncEnd(Struct, array_like=True, tag=61, gc=False):
    """The end of a replay and of what is sent again, in both directions of every new pair.

    Only shards and the coordinator use this frame.
    """


LinkFrame: TypeAlias = FenceQuery | FencePassed | Hello | SyncEnd
"""The frames of this module, in the order of their tags."""
