"""Frames: subscriptions, replays of keys and history, and events for selections.

Owns: the frames of subscriptions and of replays. Never: behaviour.
"""

from msgspec import Struct

from fox_shard.backplane.frames.publishing import Audience, Event


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
    selection: Selection | None = None
    after: list[int] | None = None
    floor: int = 0
    start_topic: str = ""
    start_id: int = 0
    once: bool = False


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


class Unsubscribe(Struct, array_like=True, tag=8, gc=False):
    """The gateway's last session left `pattern`: gateway to one or all shards. Not answered.

    selection: id of the `Selection`, 0: there was none.
    """

    realm: str
    pattern: str
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


class Again(Struct, array_like=True, tag=9, gc=False):
    """An event, or change, that may have been sent already: by a restarted shard, to each gateway.

    Its publication was committed, but its publisher may not have been told so.
    """

    event: Event | Selected


class Settled(Struct, array_like=True, tag=16, gc=False):
    """All events up to that id that concern the gateway are before this frame: shard to gateway.

    What comes as `Again` up to there is old. Not answered.
    """

    publication: int
