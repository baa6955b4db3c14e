"""Calls of which further parts follow (WAMP #rpc-progressive-call-invocations), in a gateway.

Owns: what all parts of a call have in common, and to which shard they go. Never: when parts are
legal (see `wamp.progressive_calls`), answers.
"""

from typing import Final, final

from fox_shard.backplane.frames import CONTINUATION, CONTINUES, Call, Fence

COMMON: Final = ~(CONTINUES | CONTINUATION)
"""The flags of a call that all its parts have."""


@final
class OpenCalls:
    """The open calls of one gateway's sessions.

    All parts go to the shard to which the first one went, even if another one answers the call:
    only so do they come in order.
    """

    __slots__ = ("_first_parts",)

    def __init__(self) -> None:
        # (session id, request) -> (shard, the first part without its arguments).
        self._first_parts: dict[tuple[int, int], tuple[int, Call]] = {}

    @property
    def idle(self) -> bool:
        """Whether no call is open."""
        return not self._first_parts

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
        self._first_parts[call.session, call.request] = (shard, first)

    def shard(self, session: int, request: int) -> int | None:
        """Return the shard to which the parts of a call go; None: it is not open."""
        found = self._first_parts.get((session, request))
        return None if found is None else found[0]

    def part(
        self,
        session: int,
        request: int,
        order: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        fence: Fence | None,
        *,
        last: bool,
    ) -> Call:
        """Return a further part of an open call. last: the call is not open any more."""
        _, first = self._first_parts[session, request]
        if last:
            self.end(session, request)
        return Call(
            first.realm,
            first.procedure,
            session,
            request,
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

    def end(self, session: int, request: int) -> int | None:
        """Note that no further part of the call counts; return its shard, if it was open."""
        found = self._first_parts.pop((session, request), None)
        return None if found is None else found[0]

    def at(self, shard: int) -> list[tuple[int, int]]:
        """Return (session, request) of the open calls whose parts go to that shard."""
        return [key for key, (at, _) in self._first_parts.items() if at == shard]
