"""Batches that are handed over within one process.

Owns: how a batch gets to a peer without being decoded. Never: what a batch means.

The sender encodes each batch, because the bytes count as credit, and that costs little. For a peer
in the same process the batch itself comes along, so that nobody has to decode it. Its frames then
belong to both ends, and neither may change them. Only reliable frames are decoded: the sender keeps
those to send them again, and shards note in a publish what becomes of it.
"""

from typing import final

from fox_shard.backplane.frames import Batch, decode


@final
class Parcel(bytes):
    """The bytes of a batch, with the batch that they are of."""

    batch: Batch


def parcel_of(data: bytes, batch: Batch) -> bytes:
    """Return the encoded batch as it is given to a peer in the same process.

    batch: its frames are the sender's list, which is emptied soon.
    """
    if batch.reliable:
        return data
    parcel = Parcel(data)
    batch.frames = batch.frames[:]
    batch.reliable = []
    parcel.batch = batch
    return parcel


def batch_of(data: bytes) -> Batch:
    """Return the batch, whoever has sent it. Raises DecodeError."""
    return data.batch if type(data) is Parcel else decode(data)
