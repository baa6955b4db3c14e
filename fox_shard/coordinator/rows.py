"""The coordinator's rows: the form of its state in its store.

Owns: encoding and decoding the keys and values of all rows. Never: a store, or when something is
written.

| key | value |
|---|---|
| `s` gateway NUL session | a `SessionRecord` |
| `p` gateway | the gateway's incarnation, and its highest rseq whose effects are in this store |
| `x` shard NUL rseq | a frame for that shard that may not be in the shard's store yet |
| `n` shard | the last rseq that was given to a frame for that shard |
| `d` realm | `SchemaRow`: the realm's schema, and those that are on their way to the shards |
| `w` realm NUL kind | `CensusRow`: a census for meta events |
| `m` realm NUL kind NUL number session id | `MemberRow`; number: that of its census |
| `g` | the generation of the shard files that the frames are for |

Names contain no NUL; numbers in keys are eight bytes, big endian.
"""

from typing import Final

from msgspec import Struct, msgpack

from fox_shard.backplane.frames import Publish
from fox_shard.coordinator.session_record import SessionRecord

SESSION: Final = b"s"
GATEWAY: Final = b"p"
OUTBOX: Final = b"x"
LAST: Final = b"n"
SCHEMA: Final = b"d"
CENSUS: Final = b"w"
MEMBER: Final = b"m"
GENERATION: Final = b"g"


class GatewayRow(Struct, array_like=True, gc=False):
    """How far this store has the effects of a gateway's reliable frames.

    watermark: an rseq; GONE: this incarnation is gone, and not let in again.
    """

    incarnation: int
    watermark: int


GONE: Final = -1


class SchemaRow(Struct, array_like=True, gc=False):
    """The schema of a realm.

    version, text: of the schema that all shards have stored; 0: there is none. next_version,
    next_text: of the one that shards are to store; 0: there is none. file: hash of the configured
    file's text that was last taken over. waiting_text: of the schema whose turn comes when all
    shards work by the one before; empty: there is none.
    """

    version: int = 0
    text: str = ""
    next_version: int = 0
    next_text: str = ""
    file: str = ""
    waiting_text: str = ""


class CensusRow(Struct, array_like=True, gc=False):
    """A census. ready: all memberships there were at its beginning are stored."""

    number: int
    ready: bool


class MemberRow(Struct, array_like=True, gc=False):
    """A membership of a session. pattern, invoke, created: see `frames.Membership`."""

    pattern: str
    invoke: str
    created: float


encode: Final = msgpack.Encoder().encode
decode_session: Final = msgpack.Decoder(SessionRecord).decode
decode_gateway: Final = msgpack.Decoder(GatewayRow).decode
decode_frame: Final = msgpack.Decoder(Publish).decode
decode_schema: Final = msgpack.Decoder(SchemaRow).decode
decode_census: Final = msgpack.Decoder(CensusRow).decode
decode_member: Final = msgpack.Decoder(MemberRow).decode
decode_number: Final = msgpack.Decoder(int).decode


def session(gateway: str, number: int) -> bytes:
    """Return the key of a session's row."""
    return b"s%b\0%b" % (gateway.encode(), number.to_bytes(8, "big"))


def gateway(name: str) -> bytes:
    """Return the key of the row with a gateway's watermark."""
    return GATEWAY + name.encode()


def outbox(shard: str, rseq: int) -> bytes:
    """Return the key of a frame in the outbox of a shard."""
    return b"x%b\0%b" % (shard.encode(), rseq.to_bytes(8, "big"))


def last(shard: str) -> bytes:
    """Return the key of the row with the last rseq for a shard."""
    return LAST + shard.encode()


def schema(realm: str) -> bytes:
    """Return the key of the row with a realm's schema."""
    return SCHEMA + realm.encode()


def census(realm: str, kind: str) -> bytes:
    """Return the key of the row of a census."""
    return b"w%b\0%b" % (realm.encode(), kind.encode())


def member(realm: str, kind: str, number: int, session: int, id_: int) -> bytes:
    """Return the key of the row of a membership."""
    numbers = number.to_bytes(8, "big") + session.to_bytes(8, "big") + id_.to_bytes(8, "big")
    return b"m%b\0%b\0%b" % (realm.encode(), kind.encode(), numbers)


def census_of(key: bytes) -> tuple[str, str]:
    """Return the realm and the kind in the key of a census or of a membership."""
    realm, _, rest = key[1:].partition(b"\0")
    return realm.decode(), rest.partition(b"\0")[0].decode()


def member_of(key: bytes) -> tuple[int, int, int]:
    """Return the census's number, the session and the id in the key of a membership."""
    census_number, session_id, id_ = key[-24:-16], key[-16:-8], key[-8:]
    return (
        int.from_bytes(census_number, "big"),
        int.from_bytes(session_id, "big"),
        int.from_bytes(id_, "big"),
    )


def name_of(key: bytes) -> str:
    """Return the name of the gateway, shard or realm in a row's key."""
    return key[1:].partition(b"\0")[0].decode()


def number_of(key: bytes) -> int:
    """Return the session id or rseq at the end of a row's key."""
    return int.from_bytes(key[-8:], "big")
