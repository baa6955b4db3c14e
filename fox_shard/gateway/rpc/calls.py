"""Callers: their calls, until they are answered.

Owns: which shard answers which call. Never: a wire format; callees (see `registrations`).
"""

from collections.abc import Callable
from typing import final

from fox_shard.backplane.frames import (
    Call,
    CallError,
    Cancel,
    Forwarded,
    Identity,
    Result,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import call_error
from fox_shard.errors import Refusal, Unavailable
from fox_shard.gateway.sessions.ordering import Order
from fox_shard.gateway.sessions.session import Session

COORDINATOR = -1
"""In place of a shard's number: the coordinator answers the session meta procedures."""

HERE = -2
"""In place of a shard's number: the gateway answers itself, when it has asked around."""

META = "wamp.session."

Here = Callable[[Session, int, int, bytes, bytes], None]
"""A procedure of the gateway's own: session, request, encoding, args, kwargs. Raises Refusal."""


@final
class Calls:
    """Of all sessions of a gateway."""

    __slots__ = (
        "_canceled",
        "_coordinator",
        "_doubts",
        "_links",
        "_order",
        "_sessions",
        "here",
    )

    def __init__(
        self, links: list[Link], coordinator: Link, order: Order, sessions: dict[int, Session]
    ) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._coordinator = coordinator
        self._order = order
        self._sessions = sessions
        self.here: dict[str, Here] = {}
        # Calls -> how they were canceled: the shard to which they are forwarded has to hear it.
        self._canceled: dict[tuple[int, int], str] = {}
        # Calls -> shards that would have forgotten them, had they been forwarded there by then.
        self._doubts: dict[tuple[int, int], set[int]] = {}

    @property
    def idle(self) -> bool:
        """No call waits for news of where it has gone."""
        return not (self._canceled or self._doubts)

    def call(
        self,
        session: Session,
        request: int,
        procedure: str,
        flags: int,
        timeout: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        caller: Identity | None,
    ) -> None:
        """Answered by the session's `result` or `call_error`. timeout: milliseconds, 0: none."""
        realm = session.realm
        if procedure in self.here:
            self._call_here(session, request, self.here[procedure], encoding, args, kwargs)
            return
        if procedure.startswith(META):
            shard, link = COORDINATOR, self._coordinator
        else:
            shard = realm.shard_of(procedure)
            link = self._links[shard]
        if not link.open:
            down = Unavailable(f"{link.peer} is down: call again soon")
            session.call_error(call_error(session.id, request, down))
            return
        session.order += 1
        fence = None
        if shard != COORDINATOR and (session.lane != shard or session.unpassed is not None):
            fence = self._order.fence(session, shard)
        number = link.send(
            Call(
                realm.name,
                procedure,
                session.id,
                request,
                session.order,
                flags,
                timeout,
                encoding,
                args,
                kwargs,
                caller,
                fence,
            )
        )
        if session.calls is None:
            session.calls = {}
        session.calls[request] = shard
        if shard != COORDINATOR:
            session.lane_seq = number
            session.shards |= 1 << shard
        session.traffic.calls += 1

    def _call_here(
        self, session: Session, request: int, do: Here, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        if session.calls is None:
            session.calls = {}
        session.calls[request] = HERE
        session.traffic.calls += 1
        try:
            do(session, request, encoding, args, kwargs)
        except Refusal as refusal:
            self.call_error(call_error(session.id, request, refusal))

    def cancel(self, session: Session, request: int, mode: str) -> None:
        """mode: `skip`, `kill` or `killnowait`. A call that is over is ignored."""
        shard = session.calls.get(request) if session.calls else None
        if shard is None or shard in (COORDINATOR, HERE):
            return
        self._canceled[session.id, request] = mode
        self._links[shard].send(Cancel(session.id, request, mode))

    def forwarded(self, frame: Forwarded) -> None:
        """Another shard answers the call."""
        session = self._sessions.get(frame.session)
        link = self._links[frame.shard]
        if session is None or session.calls is None or frame.request not in session.calls:
            if link.open:
                # Nobody waits for it any more; the home was not told, for it was not known.
                link.send(Cancel(frame.session, frame.request, "killnowait"))
            return
        key = (frame.session, frame.request)
        if (
            not link.open
            or link.peer_incarnation != frame.incarnation
            or frame.shard in self._doubts.get(key, ())
        ):
            down = Unavailable(f"{link.peer} went down with the call: call again soon")
            self.call_error(call_error(frame.session, frame.request, down))
            return
        session.calls[frame.request] = frame.shard
        session.shards |= 1 << frame.shard
        mode = self._canceled.get(key)
        if mode is not None:
            link.send(Cancel(frame.session, frame.request, mode))

    def result(self, frame: Result) -> None:
        """To the session, if it still waits."""
        session = self._sessions.get(frame.session)
        if session is None or not session.calls or frame.request not in session.calls:
            return
        if not frame.progress:
            self._answered(session, frame.request)
        session.result(frame)

    def call_error(self, frame: CallError) -> None:
        """To the session, if it still waits."""
        session = self._sessions.get(frame.session)
        if session is None or not session.calls or frame.request not in session.calls:
            return
        self._answered(session, frame.request)
        session.call_error(frame)

    def _answered(self, session: Session, request: int) -> None:
        if session.calls is not None:
            del session.calls[request]
        if self._canceled:
            self._canceled.pop((session.id, request), None)
        if self._doubts:
            self._doubts.pop((session.id, request), None)

    # Ends

    def leave(self, session: Session) -> None:
        """The session has ended; the shards are told elsewhere."""
        for request in session.calls or ():
            self._canceled.pop((session.id, request), None)
            self._doubts.pop((session.id, request), None)

    def lost(self, shard: int) -> None:
        """The pair with that shard (or the coordinator) has ended: what was out there fails."""
        link = self._coordinator if shard == COORDINATOR else self._links[shard]
        down = Unavailable(f"{link.peer} went down with the call: call again soon")
        for session in list(self._sessions.values()):
            for request in [r for r, s in (session.calls or {}).items() if s == shard]:
                self.call_error(call_error(session.id, request, down))

    def opened(self, shard: int) -> None:
        """The pair with that shard is new: it knows no call that was forwarded to it before."""
        for session in self._sessions.values():
            for request, at in (session.calls or {}).items():
                if at not in (shard, COORDINATOR, HERE):
                    self._doubts.setdefault((session.id, request), set()).add(shard)
