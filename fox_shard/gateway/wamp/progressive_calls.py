"""A caller's calls in several parts (WAMP #rpc-progressive-call-invocations).

Owns: which calls of a session are open, so that a CALL with their request id is a further part; and
which have ended before their last part, so that the parts that are still to come are ignored.
Never: sending parts (see `rpc.calls`).
"""

from typing import final

from fox_shard.errors import ProtocolViolation


@final
class OpenCall:
    """A call of which further parts follow. passthru: its payloads are in passthru mode."""

    __slots__ = ("passthru", "procedure")

    def __init__(self, procedure: str, *, passthru: bool) -> None:
        self.procedure = procedure
        self.passthru = passthru


@final
class ProgressiveCalls:
    """The calls in several parts of one session."""

    __slots__ = ("_ended", "_limit", "_open")

    def __init__(self, limit: int) -> None:
        """limit: how many ended calls are remembered; the oldest are forgotten."""
        self._limit = limit
        self._open: dict[int, OpenCall] = {}
        # In the order in which they ended.
        self._ended: dict[int, None] = {}

    def __contains__(self, request: int) -> bool:
        """Whether a CALL with that id is a further part."""
        return request in self._open or request in self._ended

    def begin(self, request: int, procedure: str, *, passthru: bool) -> None:
        """Note that further parts of the call follow."""
        self._open[request] = OpenCall(procedure, passthru=passthru)

    def further(self, request: int, procedure: str) -> OpenCall | None:
        """Return the call to which a part belongs; None: it has ended. Raises ProtocolViolation."""
        call = self._open.get(request)
        if call is not None and call.procedure != procedure:
            raise ProtocolViolation(
                f"CALL: the call with the request id {request} is one of {call.procedure}, not of "
                f"{procedure}"
            )
        return call

    def last_part(self, request: int) -> None:
        """Note that no further part of the call follows."""
        self._open.pop(request, None)
        self._ended.pop(request, None)

    def ended(self, request: int) -> None:
        """Note that the call has been answered, if it was open."""
        if self._open.pop(request, None) is not None:
            self.refused(request)

    def refused(self, request: int) -> None:
        """Note that a call of which further parts follow was refused."""
        self._ended[request] = None
        if len(self._ended) > self._limit:
            del self._ended[next(iter(self._ended))]
