"""Invocations that nobody waits for any more: their calls were canceled, or have timed out.

Owns: which they are, and how long they count. Never: what becomes of them.

The callee's answer to one of them still counts, as it has room for another call then. A callee that
never answers must not make them accumulate. One that was told so need not answer
(WAMP #rpc-call-canceling, mode `killnowait`), and so must not stay busy for ever.
"""

from collections.abc import Callable
from typing import final

from fox_shard.gateway.clients.timers import Timers


@final
class Abandoned:
    """The abandoned invocations of one gateway's sessions."""

    __slots__ = ("_give_up", "_limit", "_of_session", "_patience", "_timers", "_told")

    def __init__(
        self, limit: int, patience: float, timers: Timers, give_up: Callable[[int, int], None]
    ) -> None:
        """limit: how many a session may have. patience: seconds for the answer of a callee that
        was told that none is needed. give_up: called with a session and its number for an
        invocation, which is removed already.
        """
        self._limit = limit
        self._patience = patience
        self._timers = timers
        self._give_up = give_up
        # Session id -> the session's numbers for the invocations, in order.
        self._of_session: dict[int, dict[int, None]] = {}
        # Session id -> those of which the callee was told -> until when they count, ascending. A
        # session that is here has one timer.
        self._told: dict[int, dict[int, float]] = {}

    @property
    def idle(self) -> bool:
        """Whether there are none."""
        return not self._of_session

    def add(self, session: int, request: int, now: float, *, told: bool) -> None:
        """Add an invocation. The oldest one is given up if the session has too many."""
        requests = self._of_session.setdefault(session, {})
        requests[request] = None
        if told:
            due = now + self._patience
            if session not in self._told:
                self._told[session] = {}
                self._look_at(due, session)
            self._told[session].setdefault(request, due)
        if len(requests) > self._limit:
            oldest = next(iter(requests))
            self.remove(session, oldest)
            self._give_up(session, oldest)

    def remove(self, session: int, request: int) -> None:
        """Remove an invocation that is over, if it is among them."""
        requests = self._of_session.get(session)
        if requests is not None and requests.pop(request, self) is None and not requests:
            del self._of_session[session]
        if session in self._told:
            self._told[session].pop(request, None)

    def session_ended(self, session: int) -> None:
        """Forget the invocations of a callee that has left."""
        self._of_session.pop(session, None)
        if session in self._told:
            self._told[session].clear()

    def _look_at(self, due: float, session: int) -> None:
        self._timers.at(due, lambda now: self._look(session, now))

    def _look(self, session: int, now: float) -> None:
        """Give up those of a session whose time is over."""
        told = self._told[session]
        while told:
            request, due = next(iter(told.items()))
            if due > now:
                self._look_at(due, session)
                return
            self.remove(session, request)
            self._give_up(session, request)
        del self._told[session]
