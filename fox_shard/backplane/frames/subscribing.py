"""Frames: subscriptions, replays of keys and history, and events for selectors.

Owns: the frames of subscriptions and of replays. Never: behaviour.
"""

from typing import TypeAlias

from msgspec import Struct

from fox_shard.backplane.frames.publishing import Audience, Event


class SelectorSpec(Struct, array_like=True, gc=False):
    """The selector of a subscription that is not to all events, which come as `SelectedEvent`.

    id: the subscription's. state: changes of keys instead of events. filter: what the document must
    match, an object in msgpack, b"": anything. follow: recorded events come in the order of their
    ids, so that one id says how far the follower has read.
    """

    id: int
    state: bool = False
    filter: bytes = b""
    follow: bool = False


class Subscribe(Struct, array_like=True, tag=5, gc=False):
    """The gateway wants the events of `pattern` (its text): gateway to one or all shards.

    token: the gateway's number for the request (0: no answer wanted), answered by `Subscribed` or
    `NotSubscribed`. replay: the matching keys come first, as `Retained`, those of topics beyond
    `start_topic`. after: the recorded events come next, as `Recorded`, those with ids beyond the id
    of the same origin (id mod 64) in the list, or beyond `floor` if it has none, and beyond
    `start_id`. `CaughtUp` ends the replay of either. once: only the replay is wanted, and there is
    no subscription. created: since when the gateway has the subscription, in seconds since 1970; 0:
    since now. Idempotent.

    Without a token, a follower has missed the recorded events beyond `start_id` (0: none), and they
    are sent again.
    """

    token: int
    realm: str
    pattern: str
    replay: bool
    selector: SelectorSpec | None = None
    after: list[int] | None = None
    floor: int = 0
    start_topic: str = ""
    start_id: int = 0
    once: bool = False
    created: float = 0.0


class Subscribed(Struct, array_like=True, tag=6, gc=False):
    """The subscription stands: shard to gateway. A first page of keys may precede this frame."""

    token: int


class NotSubscribed(Struct, array_like=True, tag=31, gc=False):
    """The subscription cannot be made: shard to gateway, which must still send `Unsubscribe`.

    oldest: the lowest id from which on the history is complete, if the error is a gap. selector: if
    token is 0, the id of the selector whose followers cannot be sent what they have missed.
    """

    token: int
    uri: str
    message: str
    oldest: int
    selector: int = 0


class Unsubscribe(Struct, array_like=True, tag=8, gc=False):
    """The gateway's last subscriber has left: gateway to one or all shards. Not answered.

    selector: id of the `SelectorSpec`, 0: there was none.
    """

    realm: str
    pattern: str
    selector: int = 0


class Retained(Struct, array_like=True, tag=7, gc=False):
    """One retained key for the `Subscribe` with that token: shard to gateway.

    ahead: the key comes before its turn, because `topic` is about to change. event: None if there
    is no such key (yet), or none that the subscription wants.
    """

    token: int
    event: Event | None
    ahead: bool = False
    topic: str = ""


class Recorded(Struct, array_like=True, tag=18, gc=False):
    """One event of the history for the `Subscribe` with that token: shard to gateway."""

    token: int
    event: Event


class Paused(Struct, array_like=True, tag=34, gc=False):
    """A page of the replay ends, and the next waits for `More`: shard to gateway."""

    token: int


class More(Struct, array_like=True, tag=30, gc=False):
    """The subscriber can take more of its replay, or (enough) wants no more: gateway to shard.

    Answered by the next page and `Paused` or `CaughtUp`; with `enough`, not answered.
    """

    token: int
    enough: bool = False


class CaughtUp(Struct, array_like=True, tag=19, gc=False):
    """The replay is complete, and live events follow: shard to gateway.

    publication: recorded events up to that id precede this frame; 0: they were not wanted.
    """

    token: int
    publication: int = 0


class SelectedEvent(Struct, array_like=True, tag=17, gc=False):
    """An event, or (state) a change of a key, for some selectors: shard to gateway.

    selectors: their ids. removed: "", or why the key is gone (`deleted`, `expired`, `weak`, or
    `filter`: it matches no longer); event then has the key's last value, whose audience is told.
    known: there was a key before, and sessions that could see it, being in `audience` (None: all),
    but may not see the new value, are told that it is `deleted`. reduced: the id of the event on
    which a reducer erased the key; 0: no reducer did.
    """

    event: Event
    selectors: list[int]
    removed: str = ""
    known: bool = False
    audience: Audience | None = None
    state: bool = False
    follow: bool = False
    reduced: int = 0


class ReadHistory(Struct, array_like=True, tag=32, gc=False):
    """The gateway wants recorded events of `pattern` (its text): gateway to one or all shards.

    first, last: the lowest and the highest id wanted. limit: how many events at most, the lowest
    ids first, or (reverse) the highest. token: the gateway's number for the request. Answered by
    `HistoryPage`.
    """

    token: int
    realm: str
    pattern: str
    first: int
    last: int
    limit: int
    reverse: bool = False


class HistoryPage(Struct, array_like=True, tag=33, gc=False):
    """Recorded events, in the order that was requested: shard to gateway.

    more: there are others beyond the last of these, which are to be requested again. A page may
    have fewer events than the limit.
    """

    token: int
    events: list[Event]
    more: bool


class Again(Struct, array_like=True, tag=9, gc=False):
    """An event, or change, that may have been sent before: a restarted shard to each gateway.

    The publication was committed, but its publisher may not have been told so. Not answered.
    """

    event: Event | SelectedEvent


class Settled(Struct, array_like=True, tag=16, gc=False):
    """All of the gateway's events up to that id precede this frame: shard to gateway.

    An `Again` up to that id has nothing new. Not answered.
    """

    publication: int


SubscribingFrame: TypeAlias = (
    Subscribe
    | Subscribed
    | Retained
    | Unsubscribe
    | Again
    | Settled
    | SelectedEvent
    | Recorded
    | CaughtUp
    | More
    | NotSubscribed
    | ReadHistory
    | HistoryPage
    | Paused
)
"""The frames of this module, in the order of their tags."""
