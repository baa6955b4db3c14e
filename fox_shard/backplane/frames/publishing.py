"""Frames: a publication, its event and its answers.

Owns: the frames of a publish and its flags. Never: behaviour.
"""

from typing import Final, TypeAlias

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
"""The MQTT QoS of the publication; neither bit: QoS 0, or a WAMP publication (see `qos`)."""
EMPTY = 64
"""The event is empty, so with RETAIN it erases the key. Set by the gateway."""

RECORDED = 128
"""The publication is in the shard's store, and may come again, as `Again`. Set by the shard."""

CONDITION = 256
"""`Publish.retain` has a condition."""

TRACE = 512
"""The event is to be recorded in its topic's history, even where no rule says so. The shard sets
this bit on every event that it records there."""

REDUCES = 2048
"""The event is queued for a reducer. Set by the shard."""

RELIABLE_EVENT = 1024
"""The event is a reliable frame although nobody waits for `Published`: a will, or a meta event."""

COMPUTED = 4096
"""The shard itself has made the event, a row of an aggregate. So nobody would publish it again."""

WILL = 8192
"""The publication is a will with the number `request` (see `Will`); its shard has a copy."""

UNSEEN = 16384
"""The publisher may not see the key that `RetainOptions.patch` changes, so a refusal must tell
nothing of what is stored. Set by the gateway."""


class Fence(Struct, array_like=True, gc=False):
    """The frames that must have arrived before an event or invocation may be delivered.

    origin: name of the gateway whose session sent the frame. marks: for each other shard where that
    session has frames that may not be delivered yet, (shard number, the origin's epoch of its link
    to that shard, sequence number there).
    """

    origin: str
    marks: list[tuple[int, int, int]]


class Identity(Struct, array_like=True, gc=False):
    """A session's identity, as disclosed to others (WAMP `publisher_authid`, `caller_authid` …)."""

    authid: str
    authrole: str


ANONYMOUS: Final = Identity("anonymous", "anonymous")
"""The identity of a client that has not said who it is."""


class Audience(Struct, array_like=True, gc=False):
    """Black- and whitelists of a publication (WAMP #pubsub-subscriber-blackwhite-listing).

    None: the publisher gave no such list. An empty `eligible` list admits nobody.
    """

    exclude: list[int] | None = None
    exclude_authid: list[str] | None = None
    exclude_authrole: list[str] | None = None
    eligible: list[int] | None = None
    eligible_authid: list[str] | None = None
    eligible_authrole: list[str] | None = None


class RetainOptions(Struct, array_like=True, gc=False):
    """How a publication becomes a key, and the condition on which it is published.

    seconds: the key's lifetime, 0: for ever. expires: the end of it, in seconds since 1970, 0:
    never; set by the shard. when_id: the publication id that the key must have (0: there must be no
    key). when: an object in msgpack that the key's document must contain, or nil: there must be no
    key. None: no such condition. watch: a publish whose condition does not hold waits until it
    does. patch: the document is merged into the key's (RFC 7386). sequence: the key is a child of
    the topic, named after the publication id. private: only the publisher is shown the key.

    weak: the key is erased when the publishing session ends. will: the key takes this value (as
    `Publish.args` in msgpack) instead; None: no will. gateway, incarnation: of that session; set by
    the shard.

    reduced: the id of the event from which a reducer made this value; 0: no reducer did. Set by the
    shard.
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
    reduced: int = 0

    @property
    def owned(self) -> bool:
        """Whether the key, or the waiting publish, ends with the publisher's session."""
        return self.weak or self.watch or self.will is not None


class Publish(Struct, array_like=True, tag=1, gc=False):
    """A publication: the publisher's gateway (or the coordinator) to the topic's shard.

    session: the publisher (0: the router itself). request: the publisher's number for the answer.
    order: counts the frames that this session has sent to any shard; events of one publisher are
    delivered in this order. encoding, args, kwargs: see `payloads`. publisher: disclosed identity.
    attributes: what of the options the event's details have, a dict in msgpack; None: nothing. With
    ACKNOWLEDGE answered by `Published` or `Refused`.
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
    retain: RetainOptions | None = None
    attributes: bytes | None = None


class Event(Struct, array_like=True, tag=2, gc=False):
    """A publication with its id: shard to each gateway that has a subscriber. Not answered."""

    publication: int
    publish: Publish


class Published(Struct, array_like=True, tag=3, gc=False):
    """Publications of one session are stored, if necessary, and delivered: shard to gateway.

    requests[i] became publications[i], in the order of publishing.
    """

    session: int
    requests: list[int]
    publications: list[int]


class Refused(Struct, array_like=True, tag=4, gc=False):
    """A Publish, Register or Unregister failed: shard to gateway.

    kind: the tag of the refused frame. message: a sentence. publication: if a condition failed, the
    id of the key's value (0: there is no key); -1 if no condition failed, or the key is private.
    """

    session: int
    request: int
    kind: int
    uri: str
    message: str
    publication: int = -1


LISTED_BYTES: Final = 50
"""Bytes that each element of a list of receivers takes, besides its characters."""


def sent_bytes(publish: Publish) -> int:
    """Return the bytes of what the publisher has sent, besides the topic."""
    size = len(publish.args) + len(publish.kwargs)
    if publish.attributes is not None:
        size += len(publish.attributes)
    if publish.retain is not None:
        size += len(publish.retain.when or b"") + len(publish.retain.will or b"")
    return size if publish.audience is None else size + audience_bytes(publish.audience)


def audience_bytes(audience: Audience) -> int:
    """Return the bytes of the lists, of what the publisher has sent."""
    size = LISTED_BYTES * (len(audience.exclude or ()) + len(audience.eligible or ()))
    for names in (
        audience.exclude_authid,
        audience.exclude_authrole,
        audience.eligible_authid,
        audience.eligible_authrole,
    ):
        if names:
            size += LISTED_BYTES * len(names) + sum(map(len, names))
    return size


def qos(flags: int) -> int:
    """Return the MQTT QoS in `Publish.flags`: 0, 1 or 2."""
    return (flags >> 4) & 3


PublishingFrame: TypeAlias = Publish | Event | Published | Refused
"""The frames of this module, in the order of their tags."""
