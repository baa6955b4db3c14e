"""Calls of `fox.schema.…` that wait for their turns.

Owns: that one call is handled in a turn, and how many may wait. Never: what a call does (see
`schemas`).

To read a schema takes up to some tenths of a second. A client that sends hundreds of them at once
must not keep the coordinator from its heartbeats, and others from joining.
"""

from collections import deque
from typing import Final, final

from fox_shard.backplane.frames import Call
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.refusals import call_error
from fox_shard.coordinator.schemas import Effects, Schemas
from fox_shard.errors import Canceled, QueueFull

MOST_WAITING: Final = 100
"""Calls that may wait for their turns, or for their schemas to take effect."""


@final
class SchemaCalls:
    """The calls that wait, in the order in which they came."""

    __slots__ = ("_schemas", "_waiting", "limit_counts")

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        # The limit is no setting.
        self.limit_counts = LimitCounts(("schema_calls",))
        self._waiting: deque[tuple[str, Call]] = deque()

    @property
    def busy(self) -> bool:
        """Whether `go_on` has something to do."""
        return bool(self._waiting)

    def add(self, gateway: str, call: Call) -> Effects:
        """Let a call wait for its turn, or refuse it."""
        if len(self._waiting) + self._schemas.waiting >= MOST_WAITING:
            self.limit_counts.add("schema_calls")
            full = QueueFull(f"{MOST_WAITING} calls of {call.procedure} and others wait already.")
            return [(gateway, call_error(call.session, call.request, full))]
        self._waiting.append((gateway, call))
        return []

    def go_on(self, now: float) -> Effects:
        """Handle the first call; call once a turn. now: monotonic seconds."""
        return self._schemas.call(*self._waiting.popleft(), now) if self._waiting else []

    def cancel(self, gateway: str, session: int, request: int) -> Effects:
        """Answer a call that is canceled, whether it still waits or its schema is under way."""
        for one in self._waiting:
            if one[0] == gateway and (one[1].session, one[1].request) == (session, request):
                self._waiting.remove(one)
                refusal = Canceled("The call was canceled before it was looked at.")
                return [(gateway, call_error(session, request, refusal))]
        return self._schemas.cancel(gateway, session, request)

    def gateway_gone(self, gateway: str) -> None:
        """Forget the calls of a gateway with which the pair has ended."""
        self._waiting = deque(one for one in self._waiting if one[0] != gateway)
        self._schemas.gateway_gone(gateway)
