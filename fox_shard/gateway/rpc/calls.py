"""Callers: calls, until they are answered.

Owns: which shard answers which call. Never: a wire format; callees (see `registrations`).
"""

from collections.abc import Callable
from typing import final

from fox_shard.backplane.attributes import is_passthru
from fox_shard.backplane.frames import (
    CONTINUES,
    Call,
    CallError,
    CallMoved,
    Cancel,
    Fence,
    Identity,
    Result,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import call_error
from fox_shard.errors import FeatureNotSupported, Refusal, Unavailable
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.limits import Limits
from fox_shard.gateway.clients.sampled_times import SampledTimes
from fox_shard.gateway.rpc.open_calls import OpenCalls, further_part
from fox_shard.gateway.rpc.own_calls import OwnCalls
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.session import Session

COORDINATOR = -1
"""In place of a shard's number: the coordinator answers the call."""

LOCAL = -2
"""In place of a shard's number: this gateway answers the call itself, after asking shards."""

OF_COORDINATOR = ("wamp.session.", "fox.schema.")
"""The beginnings of the names of the procedures that the coordinator answers."""

LocalProcedure = Callable[[Session, int, int, bytes, bytes], None]
"""A procedure of the gateway's own: session, request, encoding, args, kwargs. Raises Refusal."""


@final
class Calls:
    """The unanswered calls of one gateway's sessions."""

    __slots__ = (
        "_backpressure",
        "_canceled",
        "_coordinator",
        "_limits",
        "_links",
        "_open_calls",
        "_ordering",
        "_own",
        "_reopened",
        "_sessions",
        "_times",
        "local_procedures",
    )

    def __init__(
        self,
        links: list[Link],
        coordinator: Link,
        ordering: Ordering,
        sessions: dict[int, Session],
        limits: Limits,
        own: OwnCalls,
        backpressure: Backpressure,
        times: SampledTimes,
    ) -> None:
        """links: to the shards, by number. own: the gateway's own calls, answered like these."""
        self._own = own
        self._times = times
        self._limits = limits
        self._backpressure = backpressure
        self._links = links
        self._coordinator = coordinator
        self._ordering = ordering
        self._sessions = sessions
        self._open_calls = OpenCalls()
        # Procedures that this gateway answers itself, by name.
        self.local_procedures: dict[str, LocalProcedure] = {}
        # (session id, request) -> mode of CANCEL, for the shard to which the call may have moved.
        self._canceled: dict[tuple[int, int], str] = {}
        # (session id, request) -> shards with which a pair has begun since the call was made. A
        # shard drops the calls of its earlier pairs, so a call that has moved there may be lost.
        self._reopened: dict[tuple[int, int], set[int]] = {}

    @property
    def idle(self) -> bool:
        """Whether no call is open, and nothing is kept for calls that may move to other shards."""
        kept = self._canceled or self._reopened
        return not kept and self._open_calls.idle and self._times.idle

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
        attributes: bytes | None = None,
    ) -> None:
        """Call a procedure. `result` or `call_error` answers. timeout: milliseconds, 0: none."""
        realm = session.realm
        calls = session.calls
        if calls is None:
            calls = session.calls = {}
        local = procedure in self.local_procedures
        passthru = attributes is not None and is_passthru(attributes)
        refusal = self._why_not(calls, procedure, flags, local=local, passthru=passthru)
        if refusal is not None:
            session.call_error(call_error(session.id, request, refusal))
            return
        if local:
            self._call_here(
                session, request, self.local_procedures[procedure], encoding, args, kwargs
            )
            return
        if procedure.startswith(OF_COORDINATOR):
            shard, link = COORDINATOR, self._coordinator
        else:
            shard = realm.shard_of(procedure)
            link = self._links[shard]
        if not link.open:
            down = Unavailable(f"{link.peer} is down: call again soon")
            session.call_error(call_error(session.id, request, down))
            return
        session.order += 1
        frame = Call(
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
            None if shard == COORDINATOR else self._fence(session, shard),
            attributes,
        )
        if flags & CONTINUES:
            self._open_calls.begin(shard, frame)
        number = link.send(frame)
        calls[request] = shard
        self._times.call_sent(session.id, request)
        self._sent(session, shard, number)
        session.traffic.calls += 1

    def _why_not(
        self, calls: dict[int, int], procedure: str, flags: int, *, local: bool, passthru: bool
    ) -> Refusal | None:
        """Return why a session cannot make one more call; None: it can. calls: its others."""
        if len(calls) >= self._limits.calls:
            return self._limits.refuse("max_calls", "unanswered calls", self._limits.calls)
        if (passthru or flags & CONTINUES) and (local or procedure.startswith(OF_COORDINATOR)):
            what = "payload passthru mode" if passthru else "progressive call invocations"
            return FeatureNotSupported(f"{procedure} is the router's own, and takes no {what}")
        return None

    def _fence(self, session: Session, shard: int) -> Fence | None:
        if session.last_shard == shard and session.unconfirmed is None:
            return None
        return self._ordering.fence(session, shard)

    def continue_call(
        self,
        session: Session,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        *,
        last: bool,
    ) -> None:
        """Send a further part of a call, unless the call is over. last: no other one follows."""
        call = self._open_calls.open(session.id, request)
        if call is None:
            return
        session.order += 1
        fence = self._fence(session, call.shard)
        part = further_part(call.first, session.order, encoding, args, kwargs, fence, last=last)
        self._sent(session, call.shard, self._links[call.shard].send(part))
        call.complete = last
        session.traffic.calls += 1

    def _sent(self, session: Session, shard: int, number: int) -> None:
        """Note what was sent, and do not read the caller on while the shard has no credit."""
        if shard != COORDINATOR:
            session.last_seq = number
            session.shards |= 1 << shard
        self._backpressure.sent(session.connection, shard)

    def give_up(self, session: Session, request: int, refusal: Refusal) -> None:
        """Cancel a call, one of whose parts is refused, and answer it with that error."""
        self.cancel(session, request, "killnowait")
        self.call_error(call_error(session.id, request, refusal))

    def _call_here(
        self,
        session: Session,
        request: int,
        do: LocalProcedure,
        encoding: int,
        args: bytes,
        kwargs: bytes,
    ) -> None:
        if session.calls is None:
            session.calls = {}
        session.calls[request] = LOCAL
        session.traffic.calls += 1
        try:
            do(session, request, encoding, args, kwargs)
        except Refusal as refusal:
            self.call_error(call_error(session.id, request, refusal))

    def take_back(self, session: Session, request: int) -> None:
        """Forget a call of a local procedure that is to be made again."""
        if session.calls is not None and session.calls.pop(request, None) is not None:
            session.traffic.calls -= 1

    def cancel(self, session: Session, request: int, mode: str) -> None:
        """Cancel a call, unless it is over. mode: `skip`, `kill` or `killnowait`."""
        shard = session.calls.get(request) if session.calls else None
        if shard is None or shard == LOCAL:
            return
        if shard == COORDINATOR:
            self._coordinator.send(Cancel(session.id, request, mode))
        else:
            self._canceled[session.id, request] = mode
            self._links[shard].send(Cancel(session.id, request, mode))
        self._backpressure.sent(session.connection, shard)

    def call_moved(self, frame: CallMoved) -> None:
        """Note that another shard answers the call."""
        session = self._sessions.get(frame.session)
        if session is None and self._own.moved(frame):
            return
        link = self._links[frame.shard]
        if session is None or session.calls is None or frame.request not in session.calls:
            if link.open:
                # The caller waits no longer. This shard was not told so, as it was not known yet.
                link.send(Cancel(frame.session, frame.request, "killnowait"))
            return
        key = (frame.session, frame.request)
        if (
            not link.open
            or link.peer_incarnation != frame.incarnation
            or frame.shard in self._reopened.get(key, ())
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
        """Pass a result on to the session, unless the call is over."""
        session = self._sessions.get(frame.session)
        if session is None:
            self._own.result(frame)
            return
        if not session.calls or frame.request not in session.calls:
            return
        if not frame.progress:
            self._answered(session, frame.request)
        session.result(frame)

    def call_error(self, frame: CallError) -> None:
        """Pass an error on to the session, unless the call is over."""
        session = self._sessions.get(frame.session)
        if session is None:
            self._own.call_error(frame)
            return
        if not session.calls or frame.request not in session.calls:
            return
        self._answered(session, frame.request)
        session.call_error(frame)

    def _answered(self, session: Session, request: int) -> None:
        if session.calls is not None:
            del session.calls[request]
        if not self._times.idle:
            self._times.call_over(session.id, request, answered=True)
        if self._canceled:
            self._canceled.pop((session.id, request), None)
        if self._reopened:
            self._reopened.pop((session.id, request), None)
        if not self._open_calls.idle:
            call = self._open_calls.end(session.id, request)
            if call is not None and not call.complete and self._links[call.shard].open:
                # That shard may only pass the parts on, and not know that the call is over.
                self._links[call.shard].send(Cancel(session.id, request, "killnowait"))

    # Ends

    def session_ended(self, session: Session) -> None:
        """Forget the calls of a session that has ended. `SessionRegistry` tells the shards."""
        for request in session.calls or ():
            self._canceled.pop((session.id, request), None)
            self._reopened.pop((session.id, request), None)
            self._open_calls.end(session.id, request)
            self._times.call_over(session.id, request, answered=False)

    def link_broken(self, shard: int) -> None:
        """Fail the calls at that shard (or the coordinator), with which the pair has ended."""
        link = self._coordinator if shard == COORDINATOR else self._links[shard]
        down = Unavailable(f"{link.peer} went down with the call: call again soon")
        if shard != COORDINATOR:
            self._own.link_broken(shard)
        for session in list(self._sessions.values()):
            for request in [r for r, s in (session.calls or {}).items() if s == shard]:
                self.call_error(call_error(session.id, request, down))
        # Another shard answers these, but parts of them may be lost.
        for sender, request in self._open_calls.through(shard):
            self.give_up(self._sessions[sender], request, down)

    def link_opened(self, shard: int) -> None:
        """Note that a pair with that shard begins: calls that moved there before are lost."""
        self._own.link_opened(shard)
        for session in self._sessions.values():
            for request, at in (session.calls or {}).items():
                if at not in (shard, COORDINATOR, LOCAL):
                    self._reopened.setdefault((session.id, request), set()).add(shard)
