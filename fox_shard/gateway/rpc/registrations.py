"""Callees: their registrations, and the invocations they have.

Owns: which registration is confirmed, which shard waits for which invocation. Never: a wire format.
"""

from typing import final

from fox_shard.backplane.frames import (
    Failed,
    Interrupt,
    Invocation,
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
from fox_shard.gateway.sessions.ordering import Order
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern


@final
class Unconfirmed:
    """One session's registrations for one procedure that are not answered, and what came before.

    requests: how many they are. invocations: with the shards they are from. revoked: each is about
    the first of the registrations that is then confirmed.
    """

    __slots__ = ("invocations", "requests", "revoked")

    def __init__(self) -> None:
        self.requests = 0
        self.invocations: list[tuple[Invocation, int]] = []
        self.revoked: list[Revoked] = []


@final
class Registrations:
    """Of all sessions of a gateway."""

    __slots__ = (
        "_early",
        "_interrupted",
        "_links",
        "_order",
        "_registering",
        "_sessions",
        "_unregistering",
    )

    def __init__(self, links: list[Link], order: Order, sessions: dict[int, Session]) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._order = order
        self._sessions = sessions
        # Registrations that are not confirmed.
        self._registering: dict[tuple[int, int], Register] = {}
        # (session, registration) -> what came before it was confirmed.
        self._early: dict[tuple[int, int], Unconfirmed] = {}
        # (shard, its number for the invocation) -> an interrupt that came before it (was let go).
        self._interrupted: dict[tuple[int, int], Interrupt] = {}
        # UNREGISTER requests that are not answered -> the shard that is asked.
        self._unregistering: dict[tuple[int, int], int] = {}

    @property
    def idle(self) -> bool:
        """No registration waits to be confirmed."""
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
    ) -> None:
        """Answered by the session's `registered` or `refused`."""
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
        )
        self._registering[session.id, request] = frame
        self._early.setdefault((session.id, frame.registration), Unconfirmed()).requests += 1
        session.shards |= 1 << shard
        link.send(frame)

    def registered(self, frame: Registered) -> None:
        """Remember it: it is told to the shard again when that restarts."""
        register = self._registering.pop((frame.session, frame.request), None)
        session = self._sessions.get(frame.session)
        if session is None or register is None:
            return
        if session.registrations is None:
            session.registrations = {}
        register.replay, register.force = True, False
        session.registrations[frame.registration] = register
        session.registered(frame.request, frame.registration)
        self._let_go(register)

    def _let_go(self, register: Register) -> None:
        """The registration is confirmed or refused: what came before that is late enough now."""
        key = (register.session, register.registration)
        early = self._early.get(key)
        if early is None:
            return
        early.requests -= 1
        if not early.requests:
            del self._early[key]
        elif not register.replay:
            return  # refused: what came is for another
        invocations, early.invocations = early.invocations, []
        for invocation, shard in invocations:
            self.invoke(invocation, shard)
        if early.revoked and register.replay:
            self.revoked(early.revoked.pop(0))

    def unregister(self, session: Session, request: int, registration: int) -> None:
        """Answered by the session's `unregistered` or `refused`."""
        register = (session.registrations or {}).get(registration)
        if register is None:
            unknown = NoSuchRegistration(f"this session has no registration {registration}")
            session.refused(refused(Unregister, session.id, request, unknown))
            return
        shard = self._home(session, register)
        link = self._links[shard]
        if not link.open:
            self._disown(session, registration)
            session.unregistered(request)
            return
        self._unregistering[session.id, request] = shard
        link.send(Unregister(register.realm, session.id, request, register.pattern, registration))
        self._disown(session, registration)

    @staticmethod
    def _disown(session: Session, registration: int) -> None:
        if session.registrations is not None:
            session.registrations.pop(registration, None)

    def _home(self, session: Session, register: Register) -> int:
        pattern = Pattern.parse(register.pattern)
        return session.realm.shard_of(pattern.topic if pattern.is_exact else pattern.text)

    def unregistered(self, frame: Unregistered) -> None:
        """As asked."""
        self._unregistering.pop((frame.session, frame.request), None)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.unregistered(frame.request)

    def refused(self, frame: Refused) -> None:
        """A register or unregister failed."""
        register = self._registering.pop((frame.session, frame.request), None)
        self._unregistering.pop((frame.session, frame.request), None)
        session = self._sessions.get(frame.session)
        if session is not None:
            session.refused(frame)
        if register is not None:
            self._let_go(register)

    def revoked(self, frame: Revoked) -> None:
        """Another callee took the procedure over."""
        session = self._sessions.get(frame.session)
        if session is None:
            return
        early = self._early.get((frame.session, frame.registration))
        if early is not None and frame.registration not in (session.registrations or ()):
            early.revoked.append(frame)
            return
        self._disown(session, frame.registration)
        session.revoked(frame.registration, frame.reason)

    # Invocations

    def invoke(self, frame: Invocation, shard: int) -> None:
        """To the callee."""
        session = self._sessions.get(frame.callee)
        if session is None:
            gone = Canceled("the callee left before it answered")
            error = call_error(0, 0, gone)
            self._links[shard].send(Failed(frame.invocation, error.uri, MSGPACK, error.args))
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
        """To the callee, if it is still busy with it."""
        session = self._sessions.get(frame.callee)
        if session is None:
            return
        for request, out in (session.invocations or {}).items():
            if out == (shard, frame.invocation):
                session.interrupt(request, frame)
                return
        if self._order.held or self._early:
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
        """A callee's result. Of an invocation that is over: ignored."""
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
        """A callee's error. Of an invocation that is over: ignored."""
        out = session.invocations.pop(request, None) if session.invocations else None
        if out is not None:
            shard, invocation = out
            self._links[shard].send(Failed(invocation, uri, encoding, args, kwargs))

    # Ends

    def leave(self, session: Session) -> None:
        """The session has ended; the shards are told elsewhere."""
        for key in [key for key in self._registering if key[0] == session.id]:
            del self._registering[key]
        for key in [key for key in self._unregistering if key[0] == session.id]:
            del self._unregistering[key]
        for key in [key for key in self._early if key[0] == session.id]:
            # They find out that the callee has left.
            for invocation, shard in self._early.pop(key).invocations:
                self.invoke(invocation, shard)

    def lost(self, shard: int) -> None:
        """The pair with that shard has ended: nobody waits for what it invoked."""
        for early in self._early.values():
            early.invocations = [one for one in early.invocations if one[1] != shard]
        for key in [key for key in self._interrupted if key[0] == shard]:
            del self._interrupted[key]
        for session in list(self._sessions.values()):
            for request in [r for r, o in (session.invocations or {}).items() if o[0] == shard]:
                if session.invocations is not None:
                    del session.invocations[request]
        self._fail_registering(shard)

    def _fail_registering(self, shard: int) -> None:
        down = Unavailable(f"shard-{shard} went down: register again soon")
        for (sender, request), register in list(self._registering.items()):
            session = self._sessions.get(sender)
            if session is not None and self._home(session, register) == shard:
                self.refused(refused(Register, sender, request, down))
        # That is not registered any more, and is not told to the shard again.
        for (sender, request), at in list(self._unregistering.items()):
            if at == shard:
                self.unregistered(Unregistered(sender, request))

    def replay(self, shard: int) -> list[Register]:
        """The registrations that shard must know."""
        return [
            register
            for session in self._sessions.values()
            for register in (session.registrations or {}).values()
            if self._home(session, register) == shard
        ]
