"""The internal protocol: every frame that crosses a link between processes.

Owns: the vocabulary, its numbers (tags) and its msgpack form. Never: behaviour.

A frame is a msgpack array whose first element is its tag; the fields follow in the order in which
they are written here. Frames travel in a `Batch`, which is what one ZeroMQ message carries. Change
`VERSION` whenever a frame changes: processes of different versions refuse each other in `Hello`.

Each docstring says who sends the frame, to whom, and what answers it.
"""

from typing import TypeAlias

from msgspec import Struct, msgpack

VERSION = 3

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

# Bits of `Call.flags`.
PROGRESS = 1
"""The caller receives progressive results (`receive_progress`)."""
DISCLOSE_CALLER = 2


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


class Settled(Struct, array_like=True, tag=16, gc=False):
    """All events up to that id that concern the gateway are before this frame: shard to gateway.

    What comes as `Again` up to there is old. Not answered.
    """

    publication: int


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


class Subscribe(Struct, array_like=True, tag=5, gc=False):
    """The gateway wants the events of `pattern` (its text): gateway to one or all shards.

    token: the gateway's number for the request (0: no answer wanted), answered by `Subscribed` or
    `NotSubscribed`. replay: first the retained keys that match, as `Retained`, of the topics behind
    `start_topic`. after: then the recorded events, as `Recorded`, whose ids are beyond those in the
    list that come from the same shard (id mod 64), or else beyond `floor`; and beyond `start_id`.
    Behind both `CaughtUp`, if either is wanted. once: the replay alone, it is no subscription.
    Idempotent. Without a token, of who follows: recorded events beyond `start_id` were not seen.
    """

    token: int
    realm: str
    pattern: str
    replay: bool
    selection: "Selection | None" = None
    after: list[int] | None = None
    floor: int = 0
    start_topic: str = ""
    start_id: int = 0
    once: bool = False


class Selection(Struct, array_like=True, gc=False):
    """A subscription that is not simply to all events; they come as `Selected`.

    id: of the subscription. state: changes of keys instead of events. filter: what the document
    must contain, an object in msgpack, b"": anything. follow: recorded events come in the order of
    their ids, so that who follows knows by one id how far he is.
    """

    id: int
    state: bool = False
    filter: bytes = b""
    follow: bool = False


class Subscribed(Struct, array_like=True, tag=6, gc=False):
    """The subscription stands, behind its replay: shard to gateway."""

    token: int


class NotSubscribed(Struct, array_like=True, tag=31, gc=False):
    """The subscription cannot be made: shard to gateway. `Unsubscribe` is due all the same.

    oldest: the lowest id from which on the history is complete, where it is not complete enough.
    selection: without a token, of those who follow and cannot be told what they have missed.
    """

    token: int
    uri: str
    message: str
    oldest: int
    selection: int = 0


class Retained(Struct, array_like=True, tag=7, gc=False):
    """One retained key for the `Subscribe` of that token: shard to gateway.

    ahead: it comes before its turn, because something is about to happen to `topic`. No event:
    there is no such key (yet).
    """

    token: int
    event: Event | None
    ahead: bool = False
    topic: str = ""


class Recorded(Struct, array_like=True, tag=18, gc=False):
    """One event of the history, for the `Subscribe` of that token: shard to gateway."""

    token: int
    event: Event


class Paused(Struct, array_like=True, tag=34, gc=False):
    """There is more to be replayed, when the gateway says `More`: shard to gateway."""

    token: int


class More(Struct, array_like=True, tag=30, gc=False):
    """The subscriber can take more of its replay, or (enough) wants no more: gateway to shard.

    Answered by what follows and `Paused` or `CaughtUp`; `enough` is not answered.
    """

    token: int
    enough: bool = False


class CaughtUp(Struct, array_like=True, tag=19, gc=False):
    """All that was to be replayed is before this frame, live events are behind it: to gateway.

    publication: recorded events up to that id are before it, too; 0: they were not wanted.
    """

    token: int
    publication: int = 0


class Selected(Struct, array_like=True, tag=17, gc=False):
    """An event, or (state) the change of a key, for those selections: shard to gateway.

    removed: why the key is no more (`deleted`, `expired`, `weak`, or `filter`: it does not match
    any longer); the event is what it was then, and its audience who is told. known: there was a key
    before, for that audience: who may see it, but not the new value, is told that it is `deleted`.
    """

    event: Event
    selections: list[int]
    removed: str = ""
    known: bool = False
    audience: Audience | None = None
    state: bool = False
    follow: bool = False


class Again(Struct, array_like=True, tag=9, gc=False):
    """An event, or change, that may have been sent already: by a restarted shard, to each gateway.

    Its publication was committed, but its publisher may not have been told so.
    """

    event: Event | Selected


class Unsubscribe(Struct, array_like=True, tag=8, gc=False):
    """The gateway's last session left `pattern`: gateway to one or all shards. Not answered.

    selection: id of the `Selection`, 0: there was none.
    """

    realm: str
    pattern: str
    selection: int = 0


class Recall(Struct, array_like=True, tag=32, gc=False):
    """The gateway wants recorded events of `pattern` (its text): gateway to one or all shards.

    Those whose ids are `first`, `last` or between them, the lowest ids first, or (reverse) the
    highest; no more than `limit`. token: the gateway's number for it. Answered by `Recalled`.
    """

    token: int
    realm: str
    pattern: str
    first: int
    last: int
    limit: int
    reverse: bool = False


class Recalled(Struct, array_like=True, tag=33, gc=False):
    """Recorded events, in the order that was asked for: shard to gateway. more: there are others.

    These may be fewer than the limit all the same; ask again for those behind the last.
    """

    token: int
    events: list[Event]
    more: bool


class Register(Struct, array_like=True, tag=10, gc=False):
    """A callee's registration, gateway to the home shard. `Registered` or `Refused`.

    pattern: text of the pattern. registration: its id (see `topics.ids`). invoke: WAMP invocation
    policy. concurrency: invocations out at once, 0: unlimited. force: `force_reregister`.
    replay: told again after a restart; the callee is not answered.
    """

    realm: str
    session: int
    request: int
    pattern: str
    registration: int
    invoke: str
    concurrency: int
    force: bool
    replay: bool


class Registered(Struct, array_like=True, tag=11, gc=False):
    """Shard to gateway, when every shard knows of the registration."""

    session: int
    request: int
    registration: int


class Unregister(Struct, array_like=True, tag=12, gc=False):
    """Gateway to home shard. `Unregistered` or `Refused`."""

    realm: str
    session: int
    request: int
    pattern: str
    registration: int


class Unregistered(Struct, array_like=True, tag=13, gc=False):
    """The registration is gone, as asked: shard to gateway."""

    session: int
    request: int


class Revoked(Struct, array_like=True, tag=14, gc=False):
    """The router took a registration away (`force_reregister`): shard to gateway."""

    session: int
    registration: int
    reason: str


class Announce(Struct, array_like=True, tag=15, gc=False):
    """A pattern registration exists (or, with `gone`, no longer): home to all other shards."""

    realm: str
    pattern: str
    gone: bool


class Call(Struct, array_like=True, tag=20, gc=False):
    """A call, from the caller's gateway to the procedure's shard (or the coordinator).

    timeout: milliseconds, 0: none. caller: disclosed identity. Answered by any number of
    progressive `Result`s (if PROGRESS), then one `Result` or `CallError`; a `Forwarded` before
    that names another shard that answers instead.
    """

    realm: str
    procedure: str
    session: int
    request: int
    order: int
    flags: int
    timeout: int
    encoding: int
    args: bytes
    kwargs: bytes = b""
    caller: Identity | None = None
    fence: Fence | None = None


class Invocation(Struct, array_like=True, tag=21, gc=False):
    """A call on its way to a callee: shard to the callee's gateway. `Yield` or `Failed`.

    invocation: the shard's number for it.
    """

    invocation: int
    callee: int
    registration: int
    call: Call


class Yield(Struct, array_like=True, tag=22, gc=False):
    """A callee's result: its gateway to the shard of the invocation."""

    invocation: int
    progress: bool
    encoding: int
    args: bytes
    kwargs: bytes = b""


class Failed(Struct, array_like=True, tag=23, gc=False):
    """A callee's ERROR: its gateway to the shard of the invocation."""

    invocation: int
    uri: str
    encoding: int
    args: bytes
    kwargs: bytes = b""


class Result(Struct, array_like=True, tag=24, gc=False):
    """To the caller's gateway."""

    session: int
    request: int
    progress: bool
    encoding: int
    args: bytes
    kwargs: bytes = b""


class CallError(Struct, array_like=True, tag=25, gc=False):
    """The call's only, final answer: to the caller's gateway."""

    session: int
    request: int
    uri: str
    encoding: int
    args: bytes
    kwargs: bytes = b""


class Cancel(Struct, array_like=True, tag=26, gc=False):
    """Gateway to the shard that answers the call. mode: `skip`, `kill` or `killnowait`."""

    session: int
    request: int
    mode: str


class Interrupt(Struct, array_like=True, tag=27, gc=False):
    """Shard to the callee's gateway: stop that invocation.

    mode: `kill` (the callee's answer is awaited) or `killnowait`.
    reason: URI, e.g. `wamp.error.canceled` or `wamp.error.timeout`.
    """

    invocation: int
    callee: int
    mode: str
    reason: str


class Forward(Struct, array_like=True, tag=28, gc=False):
    """A call that matches a pattern registration: procedure's shard to the pattern's home.

    gateway: the caller's gateway, which the home answers directly. pattern: its text.
    """

    gateway: str
    pattern: str
    call: Call


class Forwarded(Struct, array_like=True, tag=29, gc=False):
    """`shard`, in its present `incarnation`, answers that call: procedure's shard to gateway."""

    session: int
    request: int
    shard: int
    incarnation: int


class Join(Struct, array_like=True, tag=40, gc=False):
    """A session began: gateway to coordinator.

    protocol: `wamp.2.json`, `mqtt.3.1.1` …; transport: `websocket`, `rawsocket`, `tcp`.
    client: MQTT client id, empty for WAMP. began: seconds since 1970. replay: told again; no news.
    """

    session: int
    realm: str
    authid: str
    authrole: str
    authmethod: str
    authprovider: str
    protocol: str
    transport: str
    peer: str
    client: str
    began: float
    replay: bool


class Leave(Struct, array_like=True, tag=41, gc=False):
    """A session ended: gateway to coordinator and to the shards that keep something of it.

    graceful: the client said goodbye (an MQTT will is dropped then, else published).
    """

    session: int
    graceful: bool


class Will(Struct, array_like=True, tag=42, gc=False):
    """What to publish when the session ends ungracefully: gateway to the shard of the topic."""

    publish: Publish


class Present(Struct, array_like=True, tag=46, gc=False):
    """The session lives, and may have something at that shard: gateway to shard, when it returns.

    Sessions of that gateway that are not told so by its `SyncEnd` have ended. Not answered.
    """

    session: int


class Kill(Struct, array_like=True, tag=43, gc=False):
    """End that session: coordinator to its gateway."""

    session: int
    reason: str
    message: str


class Report(Struct, array_like=True, tag=44, gc=False):
    """Counters (since the last report) and gauges of a process: to the coordinator."""

    counters: dict[str, int]
    gauges: dict[str, int]


class Trouble(Struct, array_like=True, tag=45, gc=False):
    """The shard's store does not work, or ("") works again: to each gateway. Not answered."""

    reason: str


class Ask(Struct, array_like=True, tag=50, gc=False):
    """Tell me when you have handled `seq` of origin's link: gateway to shard. `Reached`."""

    origin: str
    epoch: int
    seq: int


class Reached(Struct, array_like=True, tag=51, gc=False):
    """All that `origin` sent up to `seq` has had its effects, and they are before this frame."""

    origin: str
    epoch: int
    seq: int


class Hello(Struct, array_like=True, tag=60, gc=False):
    """Opens a pair of link ends, in both directions; alone in its batch.

    incarnation: of the process. identity: of what numbers its reliable frames: the incarnation, or
    the store that holds them. reply: the peer's hello was heard.
    generation, shards: of the layout; a mismatch is refused.
    """

    incarnation: int
    identity: int
    reply: bool
    version: int
    generation: int
    shards: int


class SyncEnd(Struct, array_like=True, tag=61, gc=False):
    """All state has been replayed: the gateway (or shard) to a shard, behind its replay."""


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


def qos(flags: int) -> int:
    """The MQTT quality of service in `Publish.flags`: 0, 1 or 2."""
    return (flags >> 4) & 3


encode = msgpack.Encoder().encode
decode = msgpack.Decoder(Batch).decode
