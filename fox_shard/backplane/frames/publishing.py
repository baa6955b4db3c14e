"""Frames: a publication, its event and its answers.

Owns: the frames of a publish and its flags. Never: behaviour.
"""

from msgspec import Struct

# Bits of `Publish.flags`.
ACKNOWLEDGE = 1
"""The publisher waits for `Published` or `Refused`."""
RETAIN = 2
"""The event becomes its topic's key (an empty event erases the key)."""
EXCLUDE_ME = 4
"""The publishing session does not get its own event (WAMP #pubsub-pub-exclusion)."""
DISCLOSE = 8
"""The publisher is named in the event's details (WAMP #pubsub-publisher-identification)."""
QOS1 = 16
QOS2 = 32
"""MQTT quality of service of the publication; neither bit: 0, or a WAMP publication (see `qos`)."""
EMPTY = 64
"""The event is empty (no payload): with RETAIN it erases the key. Set by the gateway."""

RECORDED = 128
"""The publication is in the shard's store: it may come again, as `Again`. Set by the shard."""

CONDITION = 256
"""`Publish.keep` has a condition."""

TRACE = 512
"""The event is recorded in its topic's history, also where no rule says so. An event has it if it
is recorded: set by the shard."""

LAST = (1 << 53) - 1
"""The order of a will that a shard publishes: behind all that is held back of its session."""


class Fence(Struct, array_like=True, gc=False):
    """What must have arrived before the event or invocation that carries it may be delivered.

    origin: name of the gateway whose session sent the frame. marks: for each shard at which that
    session has frames that may not have passed yet, (shard number, the origin's epoch of its link
    to that shard, sequence number there).
    """

    origin: str
    marks: list[tuple[int, int, int]]


class Identity(Struct, array_like=True, gc=False):
    """Who a session is, as disclosed to others (WAMP `publisher_authid`, `caller_authid` …)."""

    authid: str
    authrole: str


class Audience(Struct, array_like=True, gc=False):
    """Black- and whitelists of a publication (WAMP #pubsub-subscriber-blackwhite-listing).

    None where the publisher gave no such list; an empty `eligible` list reaches nobody.
    """

    exclude: list[int] | None = None
    exclude_authid: list[str] | None = None
    exclude_authrole: list[str] | None = None
    eligible: list[int] | None = None
    eligible_authid: list[str] | None = None
    eligible_authrole: list[str] | None = None


class Keep(Struct, array_like=True, gc=False):
    """How a publication is to become a key, and what the key has to be before.

    seconds: after which the key is erased, 0: never. expires: when that is, in seconds since 1970,
    0: never; set by the shard. when_id: the publication id that the key must have (0: there must be
    no key). when: what its document must contain, an object in msgpack, or nil: there must be no
    key. None: no condition. watch: if the condition does not hold, the publish waits until it does.
    patch: the document is merged into the key's (RFC 7386). sequence: the key is the topic's child
    that is named after the publication's id. private: only the publisher is shown the key.

    weak: the key goes when the publishing session ends. will: then it takes this value instead (as
    `Publish.args` in msgpack, b"": none). That session is of that gateway in that incarnation;
    these two are set by the shard.
    """

    seconds: float = 0.0
    expires: float = 0.0
    when_id: int | None = None
    when: bytes | None = None
    weak: bool = False
    gateway: str = ""
    incarnation: int = 0
    will: bytes | None = None
    watch: bool = False
    patch: bool = False
    sequence: bool = False
    private: bool = False

    @property
    def owned(self) -> bool:
        """Does the key, or the publish that waits, end with the publisher's session?"""
        return self.weak or self.watch or self.will is not None


class Publish(Struct, array_like=True, tag=1, gc=False):
    """A publication, from the publisher's gateway (or the coordinator) to the topic's shard.

    session: the publisher (0: the router itself). request: its number for the acknowledgement.
    order: counts what this session sent, over all shards; events of one publisher are delivered in
    this order. encoding, args, kwargs: see `payloads`. Answered, with ACKNOWLEDGE, by `Published`
    or `Refused`.
    """

    realm: str
    topic: str
    session: int
    request: int
    order: int
    flags: int
    encoding: int
    args: bytes
    kwargs: bytes = b""
    publisher: Identity | None = None
    audience: Audience | None = None
    fence: Fence | None = None
    keep: Keep | None = None


class Event(Struct, array_like=True, tag=2, gc=False):
    """A publication with its id, from the shard to each gateway that has a subscriber."""

    publication: int
    publish: Publish


class Published(Struct, array_like=True, tag=3, gc=False):
    """Publications are safe, and delivered to all gateways concerned: shard to gateway.

    A run of one session's: requests[i] became publications[i], in the order of publishing.
    """

    session: int
    requests: list[int]
    publications: list[int]


class Refused(Struct, array_like=True, tag=4, gc=False):
    """A Publish, Register or Unregister failed: shard to gateway.

    kind: the tag of the refused frame. publication: the id of the key's value, where a condition
    failed (0: there is no key), else -1.
    """

    session: int
    request: int
    kind: int
    uri: str
    message: str
    publication: int = -1


def qos(flags: int) -> int:
    """The MQTT quality of service in `Publish.flags`: 0, 1 or 2."""
    return (flags >> 4) & 3
