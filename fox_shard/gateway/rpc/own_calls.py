"""The gateway's own calls, which no session has made.

Owns: which shard answers which of them, and what an answer means. Never: timeouts, and how many
calls there may be (see `consulting.consultations`); who is called, and why.

Each call has a caller of its own, a random session id that no session has, so no call waits behind
another one. The callee is told `fox.gateway` as authid and authrole, which no client can have: a
procedure that must answer nobody else can look at that.
"""

from typing import Any, Final, final

from fox_shard.backplane.frames import (
    DISCLOSE_CALLER,
    Call,
    CallError,
    CallMoved,
    Cancel,
    Identity,
    Result,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import RandomSource
from fox_shard.documents.payloads import MSGPACK, decode, encode
from fox_shard.errors import InvalidPayload, NoSuchProcedure, Refusal, Timeout, Unavailable
from fox_shard.gateway.consulting.outcomes import Advice, NoAdvice, Told, Why

CALLER: Final = Identity("fox.gateway", "fox.gateway")
"""Who calls, as the callee is told."""

MAX_ANSWER_BYTES: Final = 1 << 16
"""Bytes of an answer that is looked at."""

REQUEST: Final = 1
"""The request number of every call, as each has a caller of its own."""

WHY: Final[dict[str, Why]] = {
    NoSuchProcedure.uri: "no_callee",
    Unavailable.uri: "down",
    Timeout.uri: "timeout",
}


@final
class OwnCall:
    """One call. shard: which answers it. reopened: as in `Calls`."""

    __slots__ = ("reopened", "shard", "told")

    def __init__(self, shard: int, told: Told) -> None:
        self.shard = shard
        self.told = told
        self.reopened: set[int] = set()


@final
class OwnCalls:
    """The unanswered calls of one gateway."""

    __slots__ = ("_calls", "_links", "_placement", "_rng")

    def __init__(self, links: list[Link], placement: Placement, rng: RandomSource) -> None:
        """links: to the shards, by number. rng: for the callers' ids."""
        self._links = links
        self._placement = placement
        self._rng = rng
        self._calls: dict[int, OwnCall] = {}

    def __len__(self) -> int:
        """Return how many calls are unanswered."""
        return len(self._calls)

    def call(
        self,
        realm: str,
        procedure: str,
        args: list[Any],
        kwargs: dict[str, Any],
        timeout: float,
        told: Told,
    ) -> int:
        """Call a procedure, and return the caller's number. timeout: seconds, for the shard."""
        caller = self._rng.randrange(1, 1 << 53)
        shard = self._placement.shard_of(realm, procedure)
        link = self._links[shard]
        if not link.open:
            told(NoAdvice("down", f"{link.peer} is down", Unavailable.uri))
            return caller
        try:
            sent = encode(args, kwargs, MSGPACK)
        except Refusal as refusal:
            told(NoAdvice("error", refusal.message, refusal.uri))
            return caller
        self._calls[caller] = OwnCall(shard, told)
        milliseconds = max(1, round(timeout * 1000))
        link.send(
            Call(
                realm,
                procedure,
                caller,
                REQUEST,
                1,
                DISCLOSE_CALLER,
                milliseconds,
                MSGPACK,
                *sent,
                CALLER,
            )
        )
        return caller

    def cancel(self, number: int) -> None:
        """Cancel a call, if it is not over: `told` will not be called."""
        call = self._calls.pop(number, None)
        if call is not None and self._links[call.shard].open:
            self._links[call.shard].send(Cancel(number, REQUEST, "killnowait"))

    # Answers

    def result(self, frame: Result) -> None:
        """Tell a result; ignore one that belongs to no call."""
        call = self._calls.pop(frame.session, None)
        if call is None:
            return
        size = len(frame.args) + len(frame.kwargs)
        if size > MAX_ANSWER_BYTES:
            call.told(NoAdvice("unreadable", f"the answer has {size} bytes: {MAX_ANSWER_BYTES} are "
                               "allowed"))  # fmt: skip
            return
        try:
            args, _ = decode(frame.encoding, frame.args, frame.kwargs)
        except InvalidPayload as refusal:
            call.told(NoAdvice("unreadable", refusal.message, refusal.uri))
            return
        call.told(Advice(args[0] if args else None))

    def call_error(self, frame: CallError) -> None:
        """Tell an error; ignore one that belongs to no call."""
        call = self._calls.pop(frame.session, None)
        if call is not None:
            text = _text(frame)
            message = f"{frame.uri}: {text}" if text else frame.uri
            call.told(NoAdvice(WHY.get(frame.uri, "error"), message, frame.uri))

    def moved(self, frame: CallMoved) -> bool:
        """Note that another shard answers the call. Returns whether there is such a call."""
        call = self._calls.get(frame.session)
        if call is None:
            return False
        link = self._links[frame.shard]
        lost = link.peer_incarnation != frame.incarnation or frame.shard in call.reopened
        if lost or not link.open:
            del self._calls[frame.session]
            call.told(NoAdvice("down", f"{link.peer} went down with the call", Unavailable.uri))
        else:
            call.shard = frame.shard
        return True

    # Links

    def link_broken(self, shard: int) -> None:
        """Fail the calls at that shard, with which the pair has ended."""
        down = NoAdvice("down", f"shard-{shard} went down with the call", Unavailable.uri)
        for caller in [one for one, call in self._calls.items() if call.shard == shard]:
            self._calls.pop(caller).told(down)

    def link_opened(self, shard: int) -> None:
        """Note that a pair with that shard begins: calls that moved there before are lost."""
        for call in self._calls.values():
            if call.shard != shard:
                call.reopened.add(shard)


def _text(frame: CallError) -> str:
    """Return what the error says, cut, "" if that cannot be read."""
    if len(frame.args) > MAX_ANSWER_BYTES:
        return ""
    try:
        args, _ = decode(frame.encoding, frame.args, b"")
    except InvalidPayload:
        return ""
    return args[0][:400] if args and isinstance(args[0], str) else ""
