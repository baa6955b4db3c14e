"""Calls in several parts (WAMP #rpc-progressive-call-invocations), in a gateway.

Owns: what all parts of a call have in common, and to which shard they go. Never: when parts are
legal (see `wamp.progressive_calls`), answers.
"""

from typing import Final, final

from fox_shard.backplane.frames import CONTINUATION, CONTINUES, Call, Fence

COMMON: Final = ~(CONTINUES | CONTINUATION)
"""The flags of a call that all its parts have."""


@final
class OpenCall:
    """A call in several parts that has not been answered.

    shard: where its parts go. first: the first one, without its arguments. complete: the last part
    has been sent.
    """

    __slots__ = ("complete", "first", "shard")

    def __init__(self, shard: int, first: Call) -> None:
        self.shard = shard
        self.first = first
        self.complete = False


@final
class OpenCalls:
    """The calls in several parts of one gateway's sessions.

    All parts go to the shard to which the first one went, even if another one answers the call:
    only so do they come in order.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        # (session id, request) -> call.
        self._calls: dict[tuple[int, int], OpenCall] = {}

    @property
    def idle(self) -> bool:
        """Whether there are none."""
        return not self._calls

    def begin(self, shard: int, call: Call) -> None:
        """Note that further parts of the call follow."""
        first = Call(
            call.realm,
            call.procedure,
            call.session,
            call.request,
            0,
            call.flags & COMMON,
            call.timeout,
            0,
            b"",
            caller=call.caller,
            attributes=call.attributes,
        )
        self._calls[call.session, call.request] = OpenCall(shard, first)

    def open(self, session: int, request: int) -> OpenCall | None:
        """Return a call of which further parts may be sent; None: it is over."""
        found = self._calls.get((session, request))
        return None if found is None or found.complete else found

    def end(self, session: int, request: int) -> OpenCall | None:
        """Forget a call that is over, and return it, if there was one."""
        return self._calls.pop((session, request), None)

    def through(self, shard: int) -> list[tuple[int, int]]:
        """Return (session, request) of the calls whose parts go to that shard."""
        return [key for key, call in self._calls.items() if call.shard == shard]


def further_part(
    first: Call,
    order: int,
    encoding: int,
    args: bytes,
    kwargs: bytes,
    fence: Fence | None,
    *,
    last: bool,
) -> Call:
    """Return a further part of the call that began with `first`. last: no other one follows."""
    return Call(
        first.realm,
        first.procedure,
        first.session,
        first.request,
        order,
        first.flags | CONTINUATION | (0 if last else CONTINUES),
        first.timeout,
        encoding,
        args,
        kwargs,
        first.caller,
        fence,
        first.attributes,
    )
