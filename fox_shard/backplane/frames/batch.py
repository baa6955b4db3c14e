"""Batches, each of which is the content of one ZeroMQ message.

Owns: the union of all frames, the msgpack form of a batch, and the version of the protocol.
Never: what a frame means.
"""

from typing import TypeAlias

from msgspec import Struct, msgpack

from fox_shard.backplane.frames.calls import CallFrame
from fox_shard.backplane.frames.inquiries import InquiryFrame
from fox_shard.backplane.frames.links import LinkFrame
from fox_shard.backplane.frames.memberships import MembershipFrame
from fox_shard.backplane.frames.outbox import OutboxFrame
from fox_shard.backplane.frames.publishing import PublishingFrame
from fox_shard.backplane.frames.reducing import ReducingFrame
from fox_shard.backplane.frames.sessions import SessionFrame
from fox_shard.backplane.frames.subscribing import SubscribingFrame
from fox_shard.backplane.frames.tables import TableFrame

VERSION = 10
"""The protocol's version, which changes whenever a frame changes (see `Hello`)."""

Frame: TypeAlias = (
    PublishingFrame
    | SubscribingFrame
    | InquiryFrame
    | CallFrame
    | ReducingFrame
    | SessionFrame
    | MembershipFrame
    | LinkFrame
    | OutboxFrame
    | TableFrame
)


class Batch(Struct, array_like=True, gc=False):
    """Frames of one direction of a link, with the state of the opposite direction.

    source: the sender's name. epoch: of the sender's link end; target: of the receiver's (0: not
    known yet). first: sequence number of the first frame; the others follow without a hole.
    handled, delivered: the sequence numbers up to which the frames of the opposite direction are
    that. durable: the reliable number up to which the receiver of this batch may forget its frames.
    prompt: a process waits until this batch is confirmed. reliable: indexes of the reliable frames,
    which are numbered from `rfirst` on. forgotten: the reliable number up to which the sender knows
    that it may forget. withheld: what is handled gives no credit back yet.
    """

    source: str
    epoch: int
    target: int
    first: int
    handled: int
    delivered: int
    durable: int
    prompt: bool
    rfirst: int = 0
    reliable: list[int] = []
    frames: list[Frame] = []
    forgotten: int = 0
    withheld: bool = False


encode = msgpack.Encoder().encode
decode = msgpack.Decoder(Batch).decode
