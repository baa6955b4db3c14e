"""A shard's rows: how its state is written into its store.

Owns: the keys and values of all rows, both ways. Never: a store, or when something is written.

Each row's key begins with one byte that says what it is:

| key | value |
|---|---|
| `k` realm NUL topic | the retained key: its `Event`, without a fence |
| `u` realm NUL topic | a change of that key that somebody may not have heard of |
| `q` arrival | a publish that waits: `Waiter` |
| `g` publication | a publish that has waited: its publisher may not have heard of it |
| `h` realm NUL publication | a recorded event: its `Event`, without a fence and what was kept |
| `t` realm NUL topic | up to which ids the topic's recorded events may be missing (see `Marks`) |
| `s` realm NUL shelf | the same of a whole shelf, named by eight bytes; its having begun |
| `n` | publication ids below that are of earlier generations of files |
| `w` session | the will of a session: gateway, its incarnation, `Publish` |
| `p` peer | identity of the peer, the highest rseq of it whose effects are in the store |
| `o` peer NUL rseq | outcomes of recorded frames: (rseq, publication id) of each; rseq: the first |
| `c` | the ceiling of the publication clock |

Realms and peers contain no NUL; numbers in keys are eight bytes, big endian, so that rows of one
kind are in the order of their numbers.
"""

from typing import Final

from msgspec import Struct, msgpack

from fox_shard.backplane.frames import Event, Keep, Publish

KEY: Final = b"k"
WILL: Final = b"w"
UNTOLD: Final = b"u"
WAITER: Final = b"q"
GRANT: Final = b"g"
RECORDED: Final = b"h"
TOPIC_MARKS: Final = b"t"
SHELF_MARKS: Final = b"s"
RESHARDED: Final = b"n"
PEER: Final = b"p"
OUTCOMES: Final = b"o"
CEILING: Final = b"c"


Place = tuple[str, str]
"""Realm and topic of a key."""

Condition = tuple[int | None, bytes | None]
"""`Keep.when_id` and `Keep.when`."""


class Waiter(Struct, array_like=True, gc=False):
    """A publish that waits. arrival: an id that orders all there are. A row of the store.

    Its session is of that gateway, in that incarnation.
    """

    arrival: int
    gateway: str
    incarnation: int
    publish: Publish

    @property
    def keep(self) -> Keep:
        """It has one: else it would have nothing to wait for."""
        keep = self.publish.keep
        assert keep is not None
        return keep

    @property
    def place(self) -> Place:
        """The key that it waits at."""
        return (self.publish.realm, self.publish.topic)

    @property
    def condition(self) -> Condition:
        """What it waits for."""
        return (self.keep.when_id, self.keep.when)


class WillRow(Struct, array_like=True, gc=False):
    """The will of a session at that gateway, in that incarnation of it."""

    gateway: str
    incarnation: int
    publish: Publish


class GrantRow(Struct, array_like=True, gc=False):
    """The publisher is at that gateway, in that incarnation of it."""

    gateway: str
    incarnation: int
    event: Event


class UntoldRow(Struct, array_like=True, gc=False):
    """The last change of a key: its id, and why the key is no more (see `change`), "": it is."""

    publication: int
    removed: str


class PeerRow(Struct, array_like=True, gc=False):
    """How far a peer's reliable frames are in this store. identity: see `Link`."""

    identity: int
    watermark: int


encode: Final = msgpack.Encoder().encode
decode_event: Final = msgpack.Decoder(Event).decode
decode_will: Final = msgpack.Decoder(WillRow).decode
decode_waiter: Final = msgpack.Decoder(Waiter).decode
decode_grant: Final = msgpack.Decoder(GrantRow).decode
decode_untold: Final = msgpack.Decoder(UntoldRow).decode
decode_peer: Final = msgpack.Decoder(PeerRow).decode
decode_outcomes: Final = msgpack.Decoder(list[tuple[int, int]]).decode
decode_marks: Final = msgpack.Decoder(list[int]).decode
decode_resharded: Final = msgpack.Decoder(int).decode
decode_ceiling: Final = msgpack.Decoder(int).decode


def key(realm: str, topic: str) -> bytes:
    """Of a retained key."""
    return b"k%b\0%b" % (realm.encode(), topic.encode())


def will(session: int) -> bytes:
    """Of a session's will."""
    return WILL + session.to_bytes(8, "big")


def untold(realm: str, topic: str) -> bytes:
    """Of a key's change that somebody may not have heard of."""
    return b"u%b\0%b" % (realm.encode(), topic.encode())


def place_of(key: bytes) -> Place:
    """Which key a row of a key, or of its change, is about."""
    realm, topic = realm_and_rest(key)
    return realm, topic.decode()


def waiter(arrival: int) -> bytes:
    """Of a publish that waits."""
    return WAITER + arrival.to_bytes(8, "big")


def grant(publication: int) -> bytes:
    """Of a publish that has waited."""
    return GRANT + publication.to_bytes(8, "big")


def recorded(realm: str, publication: int) -> bytes:
    """Of a recorded event."""
    return b"h%b\0%b" % (realm.encode(), publication.to_bytes(8, "big"))


def topic_marks(realm: str, topic: str) -> bytes:
    """Of what of a topic's history may be missing."""
    return b"t%b\0%b" % (realm.encode(), topic.encode())


def shelf_marks(realm: str, shelf: bytes) -> bytes:
    """Of what of a shelf may be missing."""
    return b"s%b\0%b" % (realm.encode(), shelf)


def realm_and_rest(key: bytes) -> tuple[str, bytes]:
    """Of a row's key that has both."""
    realm, _, rest = key[1:].partition(b"\0")
    return realm.decode(), rest


def peer(name: str) -> bytes:
    """Of a peer's watermark."""
    return PEER + name.encode()


def peer_of(key: bytes) -> str:
    """Whose watermark or outcomes a row is about."""
    return key[1:].partition(b"\0")[0].decode()


def outcomes(name: str, rseq: int) -> bytes:
    """Of the outcomes of one batch of a peer, whose first recorded frame has that number."""
    return b"o%b\0%b" % (name.encode(), rseq.to_bytes(8, "big"))
