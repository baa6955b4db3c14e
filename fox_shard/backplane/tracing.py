"""Spans of traced publishes and calls, as far as one process sees them.

Owns: which frames begin a span and which end it. Never: a clock, who collects the spans (see
`runtime.tracing`).

Clients send a `traceparent` (W3C Trace Context) as the custom attribute `_traceparent`, which
frames carry like any other attribute. Frames are looked at where they come in and go out, so the
cores know nothing of this, and without a tracer nothing is looked at.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, final

from fox_shard.backplane.attributes import read
from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    Call,
    CallError,
    CallMoved,
    Event,
    Forward,
    Frame,
    Invocation,
    InvocationError,
    Publish,
    Published,
    Refused,
    Result,
    SelectedEvent,
    Yield,
)

ATTRIBUTE: Final = "_traceparent"

MOST_OPEN: Final = 10_000
"""Spans that have begun and not ended; of more, the oldest ones are forgotten."""

_MARK: Final = ATTRIBUTE.encode()

_TRACEPARENT: Final = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_Key = tuple[str, str, int, int]
"""Kind of span, peer, session and request; or, of an invocation, its number and 0."""


class Span(NamedTuple):
    """What a process did for a publish or call.

    kind: `publish`, `event`, `call` or `invocation`. uri: topic or procedure. parent: the client's
    `traceparent`. start, end: monotonic seconds. error: a URI; "": none.
    """

    kind: str
    realm: str
    uri: str
    parent: str
    start: float
    end: float = 0.0
    error: str = ""


@final
class Tracer:
    """The spans of one process. The methods are called by `Links`, but for `take`."""

    def __init__(self) -> None:
        self._open: dict[_Key, Span] = {}
        # Spans that end with the turn, and those that have ended in it.
        self._of_turn: list[Span] = []
        self._ended: list[Span] = []

    def arrived(self, peer: str, frames: Sequence[Frame], now: float) -> None:
        """Look at the frames of a batch that has come from that peer."""
        for frame in frames:
            if type(frame) is Event:
                self._event(frame.publish, now)
            elif type(frame) is SelectedEvent:
                self._event(frame.event.publish, now)
            elif type(frame) is Forward:
                self._call(frame.call, now)
            else:
                self._look(peer, frame, now)

    def leaving(self, peer: str, frames: Sequence[Frame], now: float) -> None:
        """Look at the frames of a batch that goes to that peer."""
        for frame in frames:
            if type(frame) is CallMoved:
                self._end(("call", "", frame.session, frame.request), now)
            else:
                self._look(peer, frame, now)

    def take(self, now: float) -> list[Span]:
        """Return the spans that have ended in this turn, which is over."""
        if not (self._of_turn or self._ended):
            return []
        taken = self._ended + [span._replace(end=now) for span in self._of_turn]
        self._ended, self._of_turn = [], []
        return taken

    def _look(self, peer: str, frame: Frame, now: float) -> None:
        """Look at a frame that means the same in both directions."""
        if type(frame) is Publish:
            self._publish(frame, now)
        elif type(frame) is Call:
            self._call(frame, now)
        elif type(frame) is Invocation:
            key = ("invocation", peer, frame.invocation, 0)
            self._begin(key, frame.call.realm, frame.call.procedure, frame.call.attributes, now)
        elif self._open:
            self._answer(peer, frame, now)

    def _publish(self, frame: Publish, now: float) -> None:
        if frame.flags & ACKNOWLEDGE:
            key = ("publish", "", frame.session, frame.request)
            self._begin(key, frame.realm, frame.topic, frame.attributes, now)
        elif parent := _parent(frame.attributes):
            self._of_turn.append(Span("publish", frame.realm, frame.topic, parent, now))

    def _event(self, publish: Publish, now: float) -> None:
        if parent := _parent(publish.attributes):
            self._of_turn.append(Span("event", publish.realm, publish.topic, parent, now))

    def _call(self, frame: Call, now: float) -> None:
        key = ("call", "", frame.session, frame.request)
        self._begin(key, frame.realm, frame.procedure, frame.attributes, now)

    def _answer(self, peer: str, frame: Frame, now: float) -> None:
        match frame:
            case Published():
                for request in frame.requests:
                    self._end(("publish", "", frame.session, request), now)
            case Refused():
                self._end(("publish", "", frame.session, frame.request), now, frame.uri)
            case Result() if not frame.progress:
                self._end(("call", "", frame.session, frame.request), now)
            case CallError():
                self._end(("call", "", frame.session, frame.request), now, frame.uri)
            case Yield() if not frame.progress:
                self._end(("invocation", peer, frame.invocation, 0), now)
            case InvocationError():
                self._end(("invocation", peer, frame.invocation, 0), now, frame.uri)
            case _:
                pass

    def _begin(self, key: _Key, realm: str, uri: str, attributes: bytes | None, now: float) -> None:
        if attributes is None or key in self._open or not (parent := _parent(attributes)):
            return
        if len(self._open) >= MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[key] = Span(key[0], realm, uri, parent, now)

    def _end(self, key: _Key, now: float, error: str = "") -> None:
        span = self._open.pop(key, None)
        if span is not None:
            self._ended.append(span._replace(end=now, error=error))


def _parent(attributes: bytes | None) -> str:
    """Return the `traceparent` among the attributes; "": there is none, or it is not one."""
    if attributes is None or _MARK not in attributes:
        return ""
    parent = read(attributes).get(ATTRIBUTE)
    return parent if isinstance(parent, str) and _TRACEPARENT.fullmatch(parent) else ""
