"""Callees: registrations and invocations.

Owns: which registration is confirmed, which shard waits for which invocation. Never: a wire format.
"""

from collections.abc import Iterator
from typing import TypeVar, final

from fox_shard.backplane.frames import (
    CONTINUATION,
    CONTINUES,
    Interrupt,
    Invocation,
    InvocationError,
    Refused,
    Register,
    Registered,
    Revoked,
    Unregister,
    Unregistered,
    Yield,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import call_error, refused
from fox_shard.documents.payloads import MSGPACK
from fox_shard.errors import Canceled, NoSuchRegistration, Refusal, Unavailable
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.limits import Limits
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.rpc.abandoned import Abandoned
from fox_shard.gateway.rpc.early_invocations import EarlyInvocations
from fox_shard.gateway.rpc.reductions import Reductions
from fox_shard.gateway.sessions.memberships import REGISTRATION, Facts, Memberships
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern

T = TypeVar("T")


def _pop(of_session: dict[int, dict[int, T]], session: int, key: int) -> T | None:
    """Remove and return what a session has under a key, if there is anything."""
    values = of_session.get(session)
    if values is None:
        return None
    value = values.pop(key, None)
    if not values:
        del of_session[session]
    return value


def _facts(register: Register) -> Facts:
    """Return what is told of a registration."""
    return (
        register.session,
        register.registration,
        register.pattern,
        register.invoke,
        register.created,
    )


@final
class Registrations:
    """The registrations and invocations of one gateway's sessions."""

    __slots__ = (
        "_abandoned",
        "_backpressure",
        "_clock",
        "_early",
        "_interrupted",
        "_limits",
        "_links",
        "_memberships",
        "_open",
        "_ordering",
        "_reductions",
        "_registering",
        "_requests",
        "_sessions",
        "_unregistering",
    )

    def __init__(
        self,
        links: list[Link],
        ordering: Ordering,
        sessions: dict[int, Session],
        limits: Limits,
        reductions: Reductions,
        clock: Clock,
        memberships: Memberships,
        timers: Timers,
        backpressure: Backpressure,
    ) -> None:
        """links: to the shards, by number. memberships: is told who registers."""
        self._backpressure = backpressure
        self._clock = clock
        self._memberships = memberships
        memberships.source(REGISTRATION, self.memberships)
        self._limits = limits
        self._reductions = reductions
        self._links = links
        self._ordering = ordering
        self._sessions = sessions
        # Session id -> request -> registration that is not confirmed.
        self._registering: dict[int, dict[int, Register]] = {}
        self._early = EarlyInvocations(limits)
        # (shard, its number for the invocation) -> the session's number for it.
        self._requests: dict[tuple[int, int], int] = {}
        # Those among them of which further parts follow.
        self._open: set[tuple[int, int]] = set()
        # (shard, its number for the invocation) -> interrupt of an invocation that is held back.
        self._interrupted: dict[tuple[int, int], Interrupt] = {}
        self._abandoned = Abandoned(
            limits.abandoned, limits.interrupt_timeout, timers, self._give_up
        )
        # Session id -> request of an unanswered UNREGISTER -> the shard that is asked.
        self._unregistering: dict[int, dict[int, int]] = {}

    @property
    def idle(self) -> bool:
        """Whether every REGISTER and UNREGISTER is answered, and no invocation is abandoned."""
        return not (self._registering or self._unregistering) and self._abandoned.idle

    # Registrations

    def register(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        invoke: str,
        concurrency: int,
        *,
        force: bool,
        disclose: bool,
        reroutes: bool = False,
    ) -> None:
        """Register a callee. `registered` or `refused` answers.

        invoke, concurrency, force, disclose, reroutes: see `frames.Register`.
        """
        running = len(self._registering.get(session.id, ())) + len(self._reductions.of(session))
        limit = self._limits.of(self._limits.registrations, len(pattern.text))
        if len(session.registrations or ()) + running >= limit:
            refusal = self._limits.refuse(
                "max_registrations", "registrations", self._limits.registrations
            )
            session.refused(refused(Register, session.id, request, refusal))
            return
        if self._memberships.is_full:
            refusal = self._limits.refuse_change()
            session.refused(refused(Register, session.id, request, refusal))
            return
        realm = session.realm
        shard = realm.shard_of(pattern.topic if pattern.is_exact else pattern.text)
        link = self._links[shard]
        if not link.open:
            down = Unavailable(f"{link.peer} is down: register again soon")
            session.refused(refused(Register, session.id, request, down))
            return
        frame = Register(
            realm.name,
            session.id,
            request,
            pattern.text,
            pattern_id(realm.name, "registration", pattern.text),
            invoke,
            concurrency,
            force,
            replay=False,
            disclose=disclose,
            created=self._clock.wall,
            reroutes=reroutes,
        )
        self._registering.setdefault(session.id, {})[request] = frame
        self._early.asked(session.id, frame.registration)
        session.shards |= 1 << shard
        if session.answers is not None:
            session.answers.registers(pattern, frame.registration)
        link.send(frame)
        self._backpressure.sent(session.connection, shard)

    def registered(self, frame: Registered) -> None:
        """Confirm a registration, and keep it to replay it to the shard."""
        register = _pop(self._registering, frame.session, frame.request)
        session = self._sessions.get(frame.session)
        if session is None or register is None:
            return
        if session.registrations is None:
            session.registrations = {}
        register.replay, register.force = True, False
        session.registrations[frame.registration] = register
        self._memberships.began(register.realm, REGISTRATION, _facts(register))
        session.registered(frame.request, frame.registration)
        self._release_early(register)

    def _release_early(self, register: Register) -> None:
        """Handle what came before a registration was answered. register.replay: it is confirmed."""
        early = self._early.answered(register.session, register.registration)
        if early is None or (early.requests and not register.replay):
            return  # refused: what came is for another request
        for invocation, shard in self._early.take(early):
            self.invoke(invocation, shard)
        if early.revoked and register.replay:
            self.revoked(early.revoked.pop(0))

    def unregister(self, session: Session, request: int, registration: int) -> None:
        """Unregister a callee. `unregistered` or `refused` answers."""
        register = (session.registrations or {}).get(registration)
        if register is None and self._reductions.unregister(session, registration):
            session.unregistered(request)
            return
        if register is None:
            unknown = NoSuchRegistration(f"this session has no registration {registration}")
            session.refused(refused(Unregister, session.id, request, unknown))
            return
        shard = self._home(session, register)
        link = self._links[shard]
        if not link.open:
            self._remove(session, registration)
            session.unregistered(request)
            return
        self._unregistering.setdefault(session.id, {})[request] = shard
        link.send(Unregister(register.realm, session.id, request, register.pattern, registration))
        self._backpressure.sent(session.connection, shard)
        self._remove(session, registration)

    def _remove(self, session: Session, registration: int) -> None:
        if (session.registrations or {}).pop(registration, None) is not None:
            if session.answers is not None:
                session.answers.unregistered(registration)
            self._memberships.ended(session.realm.name, REGISTRATION, session.id, registration)

    def memberships(self, realm: str) -> Iterator[Facts | None]:
        """Yield the confirmed registrations in a realm, see `AllMemberships`."""
        for session in list(self._sessions.values()):
            if session.realm.name == realm and session.registrations:
                for register in list(session.registrations.values()):
                    lasts = self._sessions.get(session.id) is session and (
                        session.registrations.get(register.registration) is register
                    )
                    yield _facts(register) if lasts else None
            else:
                yield None

    def _home(self, session: Session, register: Register) -> int:
        """Return the number of the shard that has the registration."""
        pattern = Pattern.parse(register.pattern)
        return session.realm.shard_of(pattern.topic if pattern.is_exact else pattern.text)

    def unregistered(self, frame: Unregistered) -> None:
        """Tell the session that a registration is gone, as it asked."""
        _pop(self._unregistering, frame.session, frame.request)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.unregistered(frame.request)

    def refused(self, frame: Refused) -> None:
        """Tell the session that a register or unregister failed."""
        self._reductions.refused(frame)
        register = _pop(self._registering, frame.session, frame.request)
        _pop(self._unregistering, frame.session, frame.request)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.refused(frame)
        if register is not None:
            self._release_early(register)
            if session is not None and session.answers is not None:
                others = self._early.of(frame.session, register.registration)
                if others is None and register.registration not in (session.registrations or ()):
                    session.answers.unregistered(register.registration)

    def revoked(self, frame: Revoked) -> None:
        """Tell the session that another callee has taken its procedure over."""
        session = self._sessions.get(frame.session)
        if session is None:
            return
        early = self._early.of(frame.session, frame.registration)
        if early is not None and frame.registration not in (session.registrations or ()):
            early.revoked.append(frame)
            return
        self._remove(session, frame.registration)
        self._reductions.revoked(session, frame.registration)
        session.revoked(frame.registration, frame.reason)

    # Invocations

    def invoke(self, frame: Invocation, shard: int) -> None:
        """Pass an invocation on to the callee, or answer it if the callee has left.

        An invocation of a registration that is not confirmed yet is held back.
        """
        session = self._sessions.get(frame.callee)
        if session is None:
            self._interrupted.pop((shard, frame.invocation), None)
            self._fail(shard, frame.invocation, Canceled("the callee left before it answered"))
            return
        if self._early and self._hold(session, frame, shard):
            return
        if frame.call.flags & CONTINUATION:
            self._continue(session, frame, shard)
            return
        if session.invocations is None:
            session.invocations = {}
        elif len(session.invocations) >= self._limits.invocations:
            refusal = self._limits.refuse(
                "max_invocations", "unanswered invocations", self._limits.invocations
            )
            self._interrupted.pop((shard, frame.invocation), None)
            self._fail(shard, frame.invocation, refusal)
            return
        session.next_invocation += 1
        out = (shard, frame.invocation)
        session.invocations[session.next_invocation] = out
        self._note(out, session.next_invocation, frame)
        session.invocation(session.next_invocation, frame.registration, frame.call)
        interrupt = self._interrupted.pop(out, None) if self._interrupted else None
        if interrupt is not None:
            self._interrupt(session, session.next_invocation, interrupt)

    def _note(self, out: tuple[int, int], request: int, frame: Invocation) -> None:
        """Note an invocation, and whether further parts of its call follow."""
        self._requests[out] = request
        if frame.call.flags & CONTINUES:
            self._open.add(out)

    def _hold(self, session: Session, frame: Invocation, shard: int) -> bool:
        """Hold an invocation back, or refuse it, if its registration is not confirmed.

        Returns whether that is so.
        """
        early = self._early.of(session.id, frame.registration)
        if early is None or frame.registration in (session.registrations or ()):
            return False
        refusal = self._early.keep(early, frame, shard)
        if refusal is not None:
            self._fail(shard, frame.invocation, refusal)
        return True

    def _continue(self, session: Session, frame: Invocation, shard: int) -> None:
        """Pass a further part of a call on to the callee, unless the invocation is over."""
        out = (shard, frame.invocation)
        request = self._requests.get(out)
        if not frame.call.flags & CONTINUES:
            self._open.discard(out)
        if request is not None and request in (session.invocations or ()):
            session.invocation(request, frame.registration, frame.call)

    def _fail(self, shard: int, invocation: int, refusal: Refusal) -> None:
        """Answer an invocation of that shard in the callee's place."""
        error = call_error(0, 0, refusal)
        self._links[shard].send(InvocationError(invocation, error.uri, MSGPACK, error.args))

    def interrupt(self, frame: Interrupt, shard: int) -> None:
        """Pass an interrupt on to the callee, unless the invocation is over.

        An interrupt of an invocation that is held back is kept for it.
        """
        session = self._sessions.get(frame.callee)
        if session is None:
            return
        request = self._requests.get((shard, frame.invocation))
        if request is not None and request in (session.invocations or ()):
            self._interrupt(session, request, frame)
            return
        out = (shard, frame.invocation)
        if out in self._ordering.held_invocations or out in self._early.kept:
            self._interrupted[out] = frame

    def _interrupt(self, session: Session, request: int, frame: Interrupt) -> None:
        """Tell the callee to stop; what it does not answer is given up in the end (`Abandoned`)."""
        told = frame.mode != "skip" and session.interrupt(request, frame)
        if frame.over:
            self._end(session, request)
            return
        if frame.mode == "kill" or request not in (session.invocations or ()):
            return
        self._abandoned.add(session.id, request, self._clock.now, told=told)

    def _give_up(self, callee: int, request: int) -> None:
        """Take an invocation for answered, of which nobody waits for the answer."""
        session = self._sessions.get(callee)
        out = self._end(session, request) if session is not None else None
        if out is not None:
            self._fail(*out, Canceled("the callee did not answer"))

    def _end(self, session: Session, request: int) -> tuple[int, int] | None:
        """Forget an invocation that is over; return its shard, and that shard's number for it."""
        out = session.invocations.pop(request, None) if session.invocations else None
        if out is not None:
            self._requests.pop(out, None)
            self._open.discard(out)
            self._abandoned.remove(session.id, request)
        return out

    def yield_(
        self,
        session: Session,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        attributes: bytes | None = None,
        *,
        progress: bool,
    ) -> None:
        """Pass on a callee's, or a reducer's, result, unless the invocation is over."""
        invocations = session.invocations
        out = invocations and invocations.get(request)
        if not invocations or not out:
            self._reductions.yield_(session, request, encoding, args, progress=progress)
            return
        if not progress:
            self._end(session, request)
        shard, invocation = out
        self._links[shard].outbox.append(
            Yield(invocation, progress, encoding, args, kwargs, attributes)
        )
        if self._backpressure.congested:
            self._backpressure.sent(session.connection, shard)

    def invocation_error(
        self,
        session: Session,
        request: int,
        uri: str,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        attributes: bytes | None = None,
        *,
        reroute: bool = False,
    ) -> None:
        """Pass on a callee's, or a reducer's, error, unless the invocation is over.

        reroute: as in `InvocationError`.
        """
        out = self._end(session, request)
        if out is None:
            self._reductions.error(session, request, uri, encoding, args, kwargs)
            return
        shard, invocation = out
        self._links[shard].send(
            InvocationError(invocation, uri, encoding, args, kwargs, attributes, reroute)
        )
        self._backpressure.sent(session.connection, shard)

    # Ends

    def session_ended(self, session: Session) -> None:
        """Forget what concerns a session that has ended. `SessionRegistry` tells the shards."""
        self._registering.pop(session.id, None)
        self._unregistering.pop(session.id, None)
        self._abandoned.session_ended(session.id)
        for out in (session.invocations or {}).values():
            self._requests.pop(out, None)
            self._open.discard(out)
        for invocation, shard in self._early.session_ended(session.id):
            # `invoke` answers it, since the callee has left.
            self.invoke(invocation, shard)

    def link_broken(self, shard: int) -> None:
        """Drop the invocations of that shard, and answer the requests to it: the pair has ended."""
        self._early.link_broken(shard)
        for key in [key for key in self._interrupted if key[0] == shard]:
            del self._interrupted[key]
        for session in list(self._sessions.values()):
            for request, out in list((session.invocations or {}).items()):
                if out[0] == shard:
                    if out in self._open:
                        # The callee would wait for further parts for ever.
                        reason = Unavailable.uri
                        session.interrupt(
                            request, Interrupt(out[1], session.id, "killnowait", reason)
                        )
                    self._end(session, request)
        self._answer_requests(shard)

    def _answer_requests(self, shard: int) -> None:
        """Refuse the REGISTERs that the shard has not answered, and confirm the UNREGISTERs."""
        down = Unavailable(f"shard-{shard} went down: register again soon")
        for sender, registering in list(self._registering.items()):
            session = self._sessions.get(sender)
            for request, register in list(registering.items()):
                if session is not None and self._home(session, register) == shard:
                    self.refused(refused(Register, sender, request, down))
        # These registrations are gone, as the shard is not told of them again.
        for sender, unregistering in list(self._unregistering.items()):
            for request, at in list(unregistering.items()):
                if at == shard:
                    self.unregistered(Unregistered(sender, request))

    def replay(self, shard: int) -> list[Register]:
        """Return the registrations that the shard must know, when a pair with it begins."""
        return [
            register
            for session in self._sessions.values()
            for register in (session.registrations or {}).values()
            if self._home(session, register) == shard
        ]
