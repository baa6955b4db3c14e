"""Callees: registrations and invocations.

Owns: which registration is confirmed, which shard waits for which invocation. Never: a wire format.
"""

from typing import final

from fox_shard.backplane.frames import (
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
from fox_shard.errors import Canceled, NoSuchRegistration, Unavailable
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern


@final
class PendingRegistrations:
    """One session's unanswered registrations of one procedure, and what came before the answers.

    requests: the number of registrations. invocations: each with the shard it came from. revoked:
    each revokes the first of the registrations that is then confirmed.
    """

    __slots__ = ("invocations", "requests", "revoked")

    def __init__(self) -> None:
        self.requests = 0
        self.invocations: list[tuple[Invocation, int]] = []
        self.revoked: list[Revoked] = []


@final
class Registrations:
    """The registrations and invocations of one gateway's sessions."""

    __slots__ = (
        "_early",
        "_interrupted",
        "_links",
        "_ordering",
        "_registering",
        "_sessions",
        "_unregistering",
    )

    def __init__(self, links: list[Link], ordering: Ordering, sessions: dict[int, Session]) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._ordering = ordering
        self._sessions = sessions
        # (session id, request) -> registration that is not confirmed.
        self._registering: dict[tuple[int, int], Register] = {}
        # (session id, registration id) -> what came before it was confirmed.
        self._early: dict[tuple[int, int], PendingRegistrations] = {}
        # (shard, its number for the invocation) -> interrupt of an invocation that is held back.
        self._interrupted: dict[tuple[int, int], Interrupt] = {}
        # (session id, request) of an unanswered UNREGISTER -> the shard that is asked.
        self._unregistering: dict[tuple[int, int], int] = {}

    @property
    def idle(self) -> bool:
        """Whether every REGISTER and UNREGISTER is answered."""
        return not (self._registering or self._unregistering)

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
    ) -> None:
        """Register a callee. `registered` or `refused` answers.

        invoke, concurrency, force, disclose: see `frames.Register`.
        """
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
        )
        self._registering[session.id, request] = frame
        self._early.setdefault(
            (session.id, frame.registration), PendingRegistrations()
        ).requests += 1
        session.shards |= 1 << shard
        link.send(frame)

    def registered(self, frame: Registered) -> None:
        """Confirm a registration, and keep it to replay it to the shard."""
        register = self._registering.pop((frame.session, frame.request), None)
        session = self._sessions.get(frame.session)
        if session is None or register is None:
            return
        if session.registrations is None:
            session.registrations = {}
        register.replay, register.force = True, False
        session.registrations[frame.registration] = register
        session.registered(frame.request, frame.registration)
        self._release_early(register)

    def _release_early(self, register: Register) -> None:
        """Handle what came before a registration was answered. register.replay: it is confirmed."""
        key = (register.session, register.registration)
        early = self._early.get(key)
        if early is None:
            return
        early.requests -= 1
        if not early.requests:
            del self._early[key]
        elif not register.replay:
            return  # refused: what came is for another request
        invocations, early.invocations = early.invocations, []
        for invocation, shard in invocations:
            self.invoke(invocation, shard)
        if early.revoked and register.replay:
            self.revoked(early.revoked.pop(0))

    def unregister(self, session: Session, request: int, registration: int) -> None:
        """Unregister a callee. `unregistered` or `refused` answers."""
        register = (session.registrations or {}).get(registration)
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
        self._unregistering[session.id, request] = shard
        link.send(Unregister(register.realm, session.id, request, register.pattern, registration))
        self._remove(session, registration)

    @staticmethod
    def _remove(session: Session, registration: int) -> None:
        if session.registrations is not None:
            session.registrations.pop(registration, None)

    def _home(self, session: Session, register: Register) -> int:
        """Return the number of the shard that has the registration."""
        pattern = Pattern.parse(register.pattern)
        return session.realm.shard_of(pattern.topic if pattern.is_exact else pattern.text)

    def unregistered(self, frame: Unregistered) -> None:
        """Tell the session that a registration is gone, as it asked."""
        self._unregistering.pop((frame.session, frame.request), None)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.unregistered(frame.request)

    def refused(self, frame: Refused) -> None:
        """Tell the session that a register or unregister failed."""
        register = self._registering.pop((frame.session, frame.request), None)
        self._unregistering.pop((frame.session, frame.request), None)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.refused(frame)
        if register is not None:
            self._release_early(register)

    def revoked(self, frame: Revoked) -> None:
        """Tell the session that another callee has taken its procedure over."""
        session = self._sessions.get(frame.session)
        if session is None:
            return
        early = self._early.get((frame.session, frame.registration))
        if early is not None and frame.registration not in (session.registrations or ()):
            early.revoked.append(frame)
            return
        self._remove(session, frame.registration)
        session.revoked(frame.registration, frame.reason)

    # Invocations

    def invoke(self, frame: Invocation, shard: int) -> None:
        """Pass an invocation on to the callee, or answer it if the callee has left.

        An invocation of a registration that is not confirmed yet is held back.
        """
        session = self._sessions.get(frame.callee)
        if session is None:
            gone = Canceled("the callee left before it answered")
            error = call_error(0, 0, gone)
            self._links[shard].send(
                InvocationError(frame.invocation, error.uri, MSGPACK, error.args)
            )
            return
        if self._early:
            early = self._early.get((session.id, frame.registration))
            if early is not None and frame.registration not in (session.registrations or ()):
                early.invocations.append((frame, shard))
                return
        session.next_invocation += 1
        if session.invocations is None:
            session.invocations = {}
        session.invocations[session.next_invocation] = (shard, frame.invocation)
        session.invocation(session.next_invocation, frame.registration, frame.call)
        if self._interrupted:
            interrupt = self._interrupted.pop((shard, frame.invocation), None)
            if interrupt is not None:
                session.interrupt(session.next_invocation, interrupt)

    def interrupt(self, frame: Interrupt, shard: int) -> None:
        """Pass an interrupt on to the callee, unless the invocation is over.

        While invocations are held back, an interrupt may be for one of them, and is kept for it.
        """
        session = self._sessions.get(frame.callee)
        if session is None:
            return
        for request, out in (session.invocations or {}).items():
            if out == (shard, frame.invocation):
                session.interrupt(request, frame)
                return
        if self._ordering.held_frames or self._early:
            self._interrupted[shard, frame.invocation] = frame
        else:
            self._interrupted.clear()

    def yield_(
        self,
        session: Session,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        *,
        progress: bool,
    ) -> None:
        """Pass on a callee's result, unless the invocation is over."""
        invocations = session.invocations
        out = invocations and invocations.get(request)
        if not invocations or not out:
            return
        if not progress:
            del invocations[request]
        shard, invocation = out
        self._links[shard].outbox.append(Yield(invocation, progress, encoding, args, kwargs))

    def invocation_error(
        self, session: Session, request: int, uri: str, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Pass on a callee's error, unless the invocation is over."""
        out = session.invocations.pop(request, None) if session.invocations else None
        if out is not None:
            shard, invocation = out
            self._links[shard].send(InvocationError(invocation, uri, encoding, args, kwargs))

    # Ends

    def session_ended(self, session: Session) -> None:
        """Forget what concerns a session that has ended. `SessionRegistry` tells the shards."""
        for key in [key for key in self._registering if key[0] == session.id]:
            del self._registering[key]
        for key in [key for key in self._unregistering if key[0] == session.id]:
            del self._unregistering[key]
        for key in [key for key in self._early if key[0] == session.id]:
            # `invoke` answers them, since the callee has left.
            for invocation, shard in self._early.pop(key).invocations:
                self.invoke(invocation, shard)

    def link_broken(self, shard: int) -> None:
        """Drop the invocations of that shard, and answer the requests to it: the pair has ended."""
        for early in self._early.values():
            early.invocations = [one for one in early.invocations if one[1] != shard]
        for key in [key for key in self._interrupted if key[0] == shard]:
            del self._interrupted[key]
        for session in list(self._sessions.values()):
            for request in [r for r, o in (session.invocations or {}).items() if o[0] == shard]:
                if session.invocations is not None:
                    del session.invocations[request]
        self._answer_requests(shard)

    def _answer_requests(self, shard: int) -> None:
        """Refuse the REGISTERs that the shard has not answered, and confirm the UNREGISTERs."""
        down = Unavailable(f"shard-{shard} went down: register again soon")
        for (sender, request), register in list(self._registering.items()):
            session = self._sessions.get(sender)
            if session is not None and self._home(session, register) == shard:
                self.refused(refused(Register, sender, request, down))
        # These registrations are gone, as the shard is not told of them again.
        for (sender, request), at in list(self._unregistering.items()):
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
