"""Invocations that nobody waits for any more: their calls were canceled, or have timed out.

Owns: which they are, the oldest of a callee first. Never: what becomes of them.

The callee's answer to one of them still counts, as it has room for another call then. A callee that
never answers must not make them accumulate.
"""

from typing import final


@final
class Abandoned:
    """The abandoned invocations of one gateway's sessions."""

    __slots__ = ("_limit", "_of_session")

    def __init__(self, limit: int) -> None:
        """limit: how many a session may have."""
        self._limit = limit
        # Session id -> the session's numbers for the invocations, in order.
        self._of_session: dict[int, dict[int, None]] = {}

    @property
    def idle(self) -> bool:
        """Whether there are none."""
        return not self._of_session

    def add(self, session: int, request: int) -> int | None:
        """Add an invocation. Returns the one to give up for it, as the session has too many."""
        requests = self._of_session.setdefault(session, {})
        requests[request] = None
        if len(requests) <= self._limit:
            return None
        oldest = next(iter(requests))
        self.remove(session, oldest)
        return oldest

    def remove(self, session: int, request: int) -> None:
        """Remove an invocation that is over, if it is among them."""
        requests = self._of_session.get(session)
        if requests is not None and requests.pop(request, self) is None and not requests:
            del self._of_session[session]

    def session_ended(self, session: int) -> None:
        """Forget the invocations of a callee that has left."""
        self._of_session.pop(session, None)
