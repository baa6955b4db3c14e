"""The registrar: registrations on one shard.

Owns: which sessions may be callees of which procedures, and announcing patterns to all shards.
Never: calls.
"""

from collections.abc import Callable
from typing import final

from fox_shard.backplane.frames import (
    Frame,
    PatternAnnounced,
    Register,
    Registered,
    Revoked,
    Unregister,
    Unregistered,
)
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.refusals import refused
from fox_shard.errors import (
    NoSuchRegistration,
    ProcedureAlreadyExists,
    ProcedureExistsWithDifferentPolicy,
    Refusal,
)
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.procedures import Callee, Procedure
from fox_shard.topics.pattern import Pattern


@final
class Registrar:
    """The registrations of all realms on this shard."""

    __slots__ = ("_callees", "_clock", "_dealer", "_other_shards", "_placement", "_retired")

    def __init__(
        self,
        dealer: Dealer,
        placement: Placement,
        other_shards: Callable[[], list[Peer]],
        clock: PublicationClock,
    ) -> None:
        self._clock = clock
        self._dealer = dealer
        self._placement = placement
        self._other_shards = other_shards
        # Session -> its registrations here, in order.
        self._callees: dict[int, dict[Callee, None]] = {}
        # Session -> callees whose registrations ended while they were busy; they may still answer.
        self._retired: dict[int, dict[Callee, None]] = {}

    def register(self, peer: Peer, register: Register, replies: list[Frame]) -> None:
        """Register a callee.

        replies: the list to which `Registered` or `Refused` is added, to be sent when all shards
        know of the registration. A replayed registration is not answered, but may be `Revoked`.
        """
        try:
            procedure = self._procedure_for(register)
        except Refusal as refusal:
            session = register.session
            if register.replay:
                # Another session took the procedure while the link with that gateway was broken.
                peer.reply(Revoked(session, register.registration, "wamp.registration.revoked"))
            else:
                replies.append(refused(Register, session, register.request, refusal))
            return
        if register.created:
            procedure.created = min(procedure.created, register.created)
        callee = Callee(
            peer,
            register.session,
            procedure,
            register.concurrency,
            reroutes=register.reroutes and procedure.invoke != "single",
        )
        procedure.callees.add(callee)
        self._callees.setdefault(register.session, {})[callee] = None
        if not register.replay:
            replies.append(Registered(register.session, register.request, register.registration))
        self._dealer.invocations.serve_queue(procedure)

    def _procedure_for(self, register: Register) -> Procedure:
        """Return the procedure to which the callee may be added. Raises Refusal."""
        procedures = self._dealer.procedures(register.realm)
        procedure = procedures.by_text.get(register.pattern)
        if procedure is None:
            pattern = Pattern.parse(register.pattern)
            created = register.created or self._clock.wall
            procedure = Procedure(
                register.realm, pattern, register.registration, register.invoke, created
            )
            procedures.add(procedure)
            self._announce(procedure, gone=False)
        elif register.force:
            self._revoke_all(procedure)
            procedure.invoke = register.invoke
        elif procedure.invoke != register.invoke:
            raise ProcedureExistsWithDifferentPolicy(
                f"the procedure is registered with invoke={procedure.invoke!r}, "
                f"not {register.invoke!r}: use the same policy, or force_reregister"
            )
        elif procedure.invoke == "single" or procedure.callees.of(register.session):
            raise ProcedureAlreadyExists(
                "the procedure is registered already: unregister it first, register all its "
                "callees with a sharing policy such as invoke='roundrobin', or force_reregister"
            )
        return procedure

    def _revoke_all(self, procedure: Procedure) -> None:
        """Revoke the registrations of all callees (WAMP #rpc-registration-revocation).

        Running invocations may still be answered.
        """
        for callee in list(procedure.callees):
            self._retire(callee)
            callee.peer.reply(
                Revoked(callee.session, procedure.registration, "wamp.registration.revoked")
            )

    def _retire(self, callee: Callee) -> None:
        """End the callee's registration; keep the callee while it is busy."""
        callee.procedure.callees.remove(callee)
        callees = self._callees[callee.session]
        del callees[callee]
        if not callees:
            del self._callees[callee.session]
        if callee.running:
            callee.retired = self._retired.setdefault(callee.session, {})
            callee.retired[callee] = None

    def unregister(self, unregister: Unregister, replies: list[Frame]) -> None:
        """End a registration. replies: the list to which `Unregistered` or `Refused` is added."""
        session, request = unregister.session, unregister.request
        procedure = self._dealer.procedures(unregister.realm).by_text.get(unregister.pattern)
        callee = procedure and procedure.callees.of(session)
        if not callee:
            refusal = NoSuchRegistration("this session has no registration of that id")
            replies.append(refused(Unregister, session, request, refusal))
            return
        replies.append(Unregistered(session, request))
        self._remove(callee)

    def _remove(self, callee: Callee) -> None:
        """End a registration, and the procedure if it was the last one."""
        self._retire(callee)
        procedure = callee.procedure
        if procedure.callees:
            self._dealer.invocations.serve_queue(procedure)
            return
        self._dealer.procedures(procedure.realm).discard(procedure)
        self._announce(procedure, gone=True)
        self._dealer.invocations.last_callee_left(procedure)

    def session_ended(self, session: int) -> None:
        """End the registrations of a session, and fail the calls that it was busy with."""
        for callee in list(self._callees.get(session, ())):
            self._dealer.left_callees.callee_left(callee)
            self._remove(callee)
        # Those of which calls are still to be refused are among these now.
        for callee in list(self._retired.pop(session, ())):
            self._dealer.left_callees.callee_left(callee)

    def sessions_of(self, peer: Peer) -> list[int]:
        """Return the sessions of that gateway that have registrations or invocations here."""
        busy = {session: callees for session, callees in self._retired.items() if callees}
        sessions = {**busy, **self._callees}
        return [
            session for session, callees in sessions.items() if next(iter(callees)).peer is peer
        ]

    # Announcing patterns to all shards

    def _announce(self, procedure: Procedure, *, gone: bool) -> None:
        """Tell the other shards of a pattern registration, or (gone) of its end."""
        if not procedure.pattern.is_exact:
            frame = PatternAnnounced(procedure.realm, procedure.pattern.text, gone)
            for shard in self._other_shards():
                shard.reply(frame)

    def announcements(self) -> list[Frame]:
        """Return the frames that tell another shard of this shard's patterns."""
        return [
            PatternAnnounced(procedure.realm, procedure.pattern.text, gone=False)
            for procedures in self._dealer.realms.values()
            for procedure in procedures.by_text.values()
            if not procedure.pattern.is_exact
        ]

    def announced(self, announce: PatternAnnounced) -> None:
        """Note that another shard has, or no longer has, callees for a pattern."""
        procedures = self._dealer.procedures(announce.realm)
        pattern = Pattern.parse(announce.pattern)
        if announce.gone:
            procedures.withdraw(pattern)
        else:
            procedures.announce(pattern)

    def link_broken(self, shard: int) -> None:
        """Forget the patterns whose home is that shard: it announces them again when it returns."""
        for realm, procedures in self._dealer.realms.items():
            for pattern in procedures.announced():
                if self._placement.shard_of(realm, pattern.text) == shard:
                    procedures.withdraw(pattern)
