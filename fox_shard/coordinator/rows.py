"""The coordinator's rows: how its state is written into its store.

Owns: the keys and values of all rows, both ways. Never: a store, or when something is written.

| key | value |
|---|---|
| `s` gateway NUL session | a session: its `SessionRecord` |
| `p` gateway | its incarnation, and the highest rseq of it whose effects are in the store |
| `x` shard NUL rseq | a frame for that shard that is not known to be in its store |
| `n` shard | the last rseq of frames for that shard |
| `g` | the generation of the layout that the frames are for |

Names contain no NUL; numbers in keys are eight bytes, big endian.
"""

from typing import Final

from msgspec import Struct, msgpack

from fox_shard.backplane.frames import Publish
from fox_shard.coordinator.sessions import SessionRecord

SESSION: Final = b"s"
GATEWAY: Final = b"p"
OUTBOX: Final = b"x"
LAST: Final = b"n"
GENERATION: Final = b"g"


class GatewayRow(Struct, array_like=True, gc=False):
    """How far a gateway's reliable frames are in this store."""

    incarnation: int
    watermark: int


encode: Final = msgpack.Encoder().encode
decode_session: Final = msgpack.Decoder(SessionRecord).decode
decode_gateway: Final = msgpack.Decoder(GatewayRow).decode
decode_frame: Final = msgpack.Decoder(Publish).decode
decode_number: Final = msgpack.Decoder(int).decode


def session(gateway: str, number: int) -> bytes:
    """Of one session."""
    return b"s%b\0%b" % (gateway.encode(), number.to_bytes(8, "big"))


def gateway(name: str) -> bytes:
    """Of a gateway's watermark."""
    return GATEWAY + name.encode()


def outbox(shard: str, rseq: int) -> bytes:
    """Of a frame on its way to a shard."""
    return b"x%b\0%b" % (shard.encode(), rseq.to_bytes(8, "big"))


def last(shard: str) -> bytes:
    """Of the counter of frames for a shard."""
    return LAST + shard.encode()


def name_of(key: bytes) -> str:
    """The gateway or shard in a row's key."""
    return key[1:].partition(b"\0")[0].decode()


def number_of(key: bytes) -> int:
    """The number at the end of a row's key."""
    return int.from_bytes(key[-8:], "big")
