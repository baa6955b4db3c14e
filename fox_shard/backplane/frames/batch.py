"""Batches: what one ZeroMQ message carries.

Owns: the union of all frames, the msgpack form of a batch, and the version of the protocol.
Never: what a frame means.
"""

from typing import TypeAlias

from msgspec import Struct, msgpack

from fox_shard.backplane.frames.calls import (
    Announce,
    Call,
    CallError,
    Cancel,
    Failed,
    Forward,
    Forwarded,
    Interrupt,
    Invocation,
    Register,
    Registered,
    Result,
    Revoked,
    Unregister,
    Unregistered,
    Yield,
)
from fox_shard.backplane.frames.links import Ask, Hello, Reached, SyncEnd
from fox_shard.backplane.frames.publishing import Event, Publish, Published, Refused
from fox_shard.backplane.frames.sessions import Join, Kill, Leave, Present, Report, Trouble, Will
from fox_shard.backplane.frames.subscribing import (
    Again,
    CaughtUp,
    More,
    NotSubscribed,
    Paused,
    Recall,
    Recalled,
    Recorded,
    Retained,
    Selected,
    Settled,
    Subscribe,
    Subscribed,
    Unsubscribe,
)

VERSION = 3
"""Changes whenever a frame changes; see `Hello`."""

Frame: TypeAlias = (
    Publish
    | Event
    | Again
    | Settled
    | Published
    | Refused
    | Subscribe
    | Subscribed
    | NotSubscribed
    | Retained
    | Recorded
    | Paused
    | More
    | CaughtUp
    | Selected
    | Unsubscribe
    | Recall
    | Recalled
    | Register
    | Registered
    | Unregister
    | Unregistered
    | Revoked
    | Announce
    | Call
    | Invocation
    | Yield
    | Failed
    | Result
    | CallError
    | Cancel
    | Interrupt
    | Forward
    | Forwarded
    | Join
    | Leave
    | Will
    | Present
    | Kill
    | Report
    | Trouble
    | Ask
    | Reached
    | Hello
    | SyncEnd
)


class Batch(Struct, array_like=True, gc=False):
    """What one ZeroMQ message carries: frames, and the state of the other direction.

    source: the sender's name. epoch: of the sender's link end; target: of the receiver's (0: not
    known yet). first: sequence number of the first frame; the others follow without a hole.
    handled, passed: sequence numbers of the other direction (architecture: links). durable: the
    reliable number up to which the receiver of this batch may forget. prompt: somebody waits for
    `handled` of this batch. reliable: indexes of the reliable frames, numbered from `rfirst` on.
    forgotten: the reliable number up to which the sender has heard that it may forget.
    """

    source: str
    epoch: int
    target: int
    first: int
    handled: int
    passed: int
    durable: int
    prompt: bool
    rfirst: int = 0
    reliable: list[int] = []
    frames: list[Frame] = []
    forgotten: int = 0


encode = msgpack.Encoder().encode
decode = msgpack.Decoder(Batch).decode
