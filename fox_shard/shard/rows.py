"""Rows: how a shard's state is written into its store.

Owns: the keys and values of all rows, in both directions. Never: the store; when rows are written.

The first byte of a row's key tells the kind of the row:

| key | value |
|---|---|
| `k` realm NUL topic | the retained key: its `Event`, without a fence |
| `u` realm NUL topic | an unannounced change of that key: `UnannouncedRow` |
| `q` arrival | a publish that waits: `Waiter` |
| `g` publication | a waiter that was let through and whose publisher may not know: `GrantRow` |
| `h` realm NUL publication | a recorded event: its `Event`, without a fence and retain options |
| `t` realm NUL topic | `TrimMarks`: up to which ids the topic's recorded events may be missing |
| `s` realm NUL log | the same for an event log, named by eight bytes; says that the log has begun |
| `n` | the publication id below which ids are of earlier generations of files |
| `w` session | the will of an MQTT session: `WillRow` |
| `w` session number | a testament of a WAMP session: `WillRow`; number: see `frames.Will` |
| `p` peer | the peer's identity, and its highest rseq whose effects are in the store: `PeerRow` |
| `o` peer NUL rseq | outcomes of recorded frames: (rseq, publication id) of each; rseq: the first |
| `e` reducer | a reducer: `ReducerRow` |
| `f` reducer arrival | an event that waits for the reducer: `QueuedEvent` |
| `x` shard NUL rseq | a frame for that shard that may not be in that shard's store: `OutboxFrame` |
| `l` shard | the last rseq that was given to a frame for that shard |
| `d` realm NUL step | `DefinitionRow`: the realm's schema; step: `a` active, `n` the next one |
| `a` realm NUL build | a build of an aggregate: `BuildRow` |
| `b` realm NUL build NUL topic NUL place | what a row contributes to a group: `ContributionRow` |
| `i` realm NUL build NUL topic | the group's key is not what its contributions make |
| `c` | the ceiling of the publication clock |

The place of a contribution in its group is the number of the edge, NUL, and the row's topic.

Frames of this shard for itself have a row `x` NUL number, the name being "": those that go with a
request, and those that another number of shards has brought here.

Realms, builds, topics and peers contain no NUL; numbers in keys are eight bytes, big endian, so
that rows of one kind are in the order of their numbers.
"""

from typing import Final

from msgspec import Struct, msgpack

from fox_shard.backplane.frames import Event, OutboxFrame, Publish, RetainOptions, sent_bytes

KEY: Final = b"k"
WILL: Final = b"w"
UNANNOUNCED: Final = b"u"
WAITER: Final = b"q"
GRANT: Final = b"g"
RECORDED: Final = b"h"
TOPIC_MARKS: Final = b"t"
LOG_MARKS: Final = b"s"
RESHARDED: Final = b"n"
PEER: Final = b"p"
OUTCOMES: Final = b"o"
REDUCER: Final = b"e"
QUEUED: Final = b"f"
OUTBOX: Final = b"x"
LAST: Final = b"l"
DEFINITION: Final = b"d"
BUILD: Final = b"a"
CONTRIBUTION: Final = b"b"
UNWRITTEN: Final = b"i"
CEILING: Final = b"c"


KeyRef = tuple[str, str]
"""Realm and topic of a key."""

Condition = tuple[int | None, bytes | None]
"""The condition of a publish: `RetainOptions.when_id` and `RetainOptions.when`."""


class Waiter(Struct, array_like=True, gc=False):
    """A publish that waits for its condition; also a row of the store.

    arrival: an id of the publication clock, which gives all waiters their order. gateway,
    incarnation: those of the publisher's session.
    """

    arrival: int
    gateway: str
    incarnation: int
    publish: Publish

    @property
    def retain(self) -> RetainOptions:
        """The publish's retain options; every waiter has them, since they contain the condition."""
        retain = self.publish.retain
        assert retain is not None
        return retain

    @property
    def ref(self) -> KeyRef:
        """The key at which the publish waits."""
        return (self.publish.realm, self.publish.topic)

    @property
    def condition(self) -> Condition:
        """The condition for which the publish waits."""
        return (self.retain.when_id, self.retain.when)


class WillRow(Struct, array_like=True, gc=False):
    """A will of a session. gateway, incarnation: those of the session."""

    gateway: str
    incarnation: int
    publish: Publish


class GrantRow(Struct, array_like=True, gc=False):
    """The event of a grant. gateway, incarnation: those of the publisher's session."""

    gateway: str
    incarnation: int
    event: Event


class UnannouncedRow(Struct, array_like=True, gc=False):
    """The last change of a key that some gateway may not have heard of.

    publication: the id of the change; 0: the change has none yet, the key expired while the shard
    was down. removed: why the key is gone (see `change`); "": the key has a value. computed: the
    change was an event, too, that nobody publishes again (see `frames.COMPUTED`).
    """

    publication: int
    removed: str
    computed: bool = False


class PeerRow(Struct, array_like=True, gc=False):
    """How far a peer's reliable frames are recorded.

    identity: see `Link`. watermark: the highest reliable number whose effects are in the store; -1:
    the gateway's incarnation `identity` is gone.
    """

    identity: int
    watermark: int


class ReducerRow(Struct, array_like=True, gc=False):
    """A reducer, of whom events may be queued. The fields are those of `frames.RegisterReducer`.

    webhook: the configuration has made it, and is what counts.
    """

    realm: str
    pattern: str
    mission: str
    durable: str
    webhook: bool = False


class QueuedEvent(Struct, array_like=True, gc=False):
    """An event that waits for a reducer.

    reducer: its id. arrival: an id of the publication clock, which gives the reducer's events their
    order. topic: that of the key, or, where the key is another shard's, of the event.
    """

    reducer: int
    arrival: int
    topic: str
    event: Event

    @property
    def size(self) -> int:
        """The bytes for which the event counts."""
        publish = self.event.publish
        return OVERHEAD + len(publish.topic) + sent_bytes(publish)


OVERHEAD: Final = 1500
"""Bytes for which each queued event counts in addition to what its publisher has sent.

Measured: 600 on one topic, 1,800 on a topic of its own."""


class DefinitionRow(Struct, array_like=True, gc=False):
    """A schema of a realm. version, text: see `DefineTables`."""

    version: int
    text: str


class BuildRow(Struct, array_like=True, gc=False):
    """A build of an aggregate, on one shard.

    table: the aggregate's name. scanned: the last row of this shard that has been looked at; None:
    all rows have contributed. heard: the numbers of the shards all of whose rows have contributed.
    stage: see `tables.builds`.
    """

    table: str
    scanned: str | None
    heard: list[int]
    stage: int


ContributionRow = tuple[int, tuple[str | None, ...]]
"""The version of a contribution, and its numbers (see `frames.Contribution`)."""

encode: Final = msgpack.Encoder().encode
decode_build: Final = msgpack.Decoder(BuildRow).decode
decode_contribution: Final = msgpack.Decoder(ContributionRow).decode
decode_event: Final = msgpack.Decoder(Event).decode
decode_will: Final = msgpack.Decoder(WillRow).decode
decode_waiter: Final = msgpack.Decoder(Waiter).decode
decode_grant: Final = msgpack.Decoder(GrantRow).decode
decode_unannounced: Final = msgpack.Decoder(UnannouncedRow).decode
decode_peer: Final = msgpack.Decoder(PeerRow).decode
decode_outcomes: Final = msgpack.Decoder(list[tuple[int, int]]).decode
decode_outbox_frame: Final = msgpack.Decoder(OutboxFrame).decode
decode_last: Final = msgpack.Decoder(int).decode
decode_marks: Final = msgpack.Decoder(list[int]).decode
decode_resharded: Final = msgpack.Decoder(int).decode
decode_reducer: Final = msgpack.Decoder(ReducerRow).decode
decode_queued: Final = msgpack.Decoder(QueuedEvent).decode
decode_definition: Final = msgpack.Decoder(DefinitionRow).decode
decode_ceiling: Final = msgpack.Decoder(int).decode


def key(realm: str, topic: str) -> bytes:
    """Return the row key of a retained key."""
    return b"k%b\0%b" % (realm.encode(), topic.encode())


def will(session: int, number: int = 0) -> bytes:
    """Return the row key of a session's will. number: see `frames.Will`."""
    return WILL + session.to_bytes(8, "big") + (number.to_bytes(8, "big") if number else b"")


def will_number(key: bytes) -> int:
    """Return the number of the will in its row key."""
    return int.from_bytes(key[9:], "big")


def unannounced(realm: str, topic: str) -> bytes:
    """Return the row key of a key's unannounced change."""
    return b"u%b\0%b" % (realm.encode(), topic.encode())


def key_ref_of(key: bytes) -> KeyRef:
    """Return the key that a row with key `k…` or `u…` is about."""
    realm, topic = realm_and_rest(key)
    return realm, topic.decode()


def waiter(arrival: int) -> bytes:
    """Return the row key of a publish that waits."""
    return WAITER + arrival.to_bytes(8, "big")


def grant(publication: int) -> bytes:
    """Return the row key of a grant. publication: the id that the publish got."""
    return GRANT + publication.to_bytes(8, "big")


def recorded(realm: str, publication: int) -> bytes:
    """Return the row key of a recorded event."""
    return b"h%b\0%b" % (realm.encode(), publication.to_bytes(8, "big"))


def topic_marks(realm: str, topic: str) -> bytes:
    """Return the row key of a topic's trim marks."""
    return b"t%b\0%b" % (realm.encode(), topic.encode())


def log_marks(realm: str, log: bytes) -> bytes:
    """Return the row key of an event log's trim marks. log: the name of the log, eight bytes."""
    return b"s%b\0%b" % (realm.encode(), log)


ACTIVE: Final = b"a"
NEXT: Final = b"n"


def definition(realm: str, step: bytes) -> bytes:
    """Return the row key of a realm's schema. step: ACTIVE or NEXT."""
    return b"d%b\0%b" % (realm.encode(), step)


def build(realm: str, build: str) -> bytes:
    """Return the row key of a build."""
    return b"a%b\0%b" % (realm.encode(), build.encode())


def contribution(realm: str, build: str, topic: str, place: str) -> bytes:
    """Return the row key of a contribution to the group with that topic."""
    return f"b{realm}\0{build}\0{topic}\0{place}".encode()


def unwritten(realm: str, build: str, topic: str) -> bytes:
    """Return the row key that says that a group's key has yet to be written."""
    return f"i{realm}\0{build}\0{topic}".encode()


def group_of(key: bytes) -> tuple[str, str, str, str]:
    """Return realm, build and topic in a row key `b…` or `i…`, and the place, if it has one."""
    realm, name, topic, *place = key[1:].decode().split("\0", 3)
    return realm, name, topic, place[0] if place else ""


def realm_and_rest(key: bytes) -> tuple[str, bytes]:
    """Return the realm in a row key, and the bytes behind it. For kinds with a realm only."""
    realm, _, rest = key[1:].partition(b"\0")
    return realm.decode(), rest


def peer(name: str) -> bytes:
    """Return the row key of a peer's watermark."""
    return PEER + name.encode()


def peer_of(key: bytes) -> str:
    """Return the name of the peer in the row key of a watermark, of outcomes, or of an outbox."""
    return key[1:].partition(b"\0")[0].decode()


def outcomes(name: str, rseq: int) -> bytes:
    """Return the row key of the outcomes of one batch of a peer.

    rseq: the reliable number of the first frame that has an outcome.
    """
    return b"o%b\0%b" % (name.encode(), rseq.to_bytes(8, "big"))


def reducer(id_: int) -> bytes:
    """Return the row key of a reducer."""
    return REDUCER + id_.to_bytes(8, "big")


def reducer_of(key: bytes) -> int:
    """Return the id of the reducer in its row key."""
    return int.from_bytes(key[1:9], "big")


def queued(reducer: int, arrival: int) -> bytes:
    """Return the row key of an event that waits for a reducer."""
    return QUEUED + reducer.to_bytes(8, "big") + arrival.to_bytes(8, "big")


def outbox(name: str, rseq: int) -> bytes:
    """Return the row key of a frame for that shard. name: "": for this shard itself."""
    return b"x%b\0%b" % (name.encode(), rseq.to_bytes(8, "big"))


def last(name: str) -> bytes:
    """Return the row key of the last rseq for that shard."""
    return LAST + name.encode()


def number_of(key: bytes) -> int:
    """Return the reliable number at the end of the row key of an outbox."""
    return int.from_bytes(key[-8:], "big")
