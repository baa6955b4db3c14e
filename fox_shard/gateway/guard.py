"""The guard: requests of sessions in realms with roles, checked before they are carried out.

Owns: which permissions a request needs, and how a session is told that it lacks one. Never: the
rules (see `authorization`); carrying requests out; asking an authorizer (see `asking_guard`): what
neither a rule nor an answer decides raises Undecided, and has no effect yet.

What a session gets is checked elsewhere: events when the receivers of a topic are found (see
`pubsub.members`), keys, rows and history when they are shown (`pubsub.fanout.visible`).
"""

from typing import Final, final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    DISCLOSE,
    DISCLOSE_CALLER,
    UNSEEN,
    Audience,
    Identity,
    Publish,
    Register,
    RetainOptions,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.refusals import call_error, refused
from fox_shard.errors import NotAuthorized, Refusal
from fox_shard.gateway.authorization.answers import Question, Undecided
from fox_shard.gateway.authorization.rules import (
    CALL,
    DISCLOSED,
    NO_TRUST_LEVEL,
    PUBLISH,
    REGISTER,
    SUBSCRIBE,
    UNDECIDED,
    Extent,
)
from fox_shard.gateway.authorization.trust import with_trust_level
from fox_shard.gateway.pubsub.permitted import check_publish, check_row
from fox_shard.gateway.pubsub.publishing import Publishing
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.rpc.reductions import Reductions
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.pattern import EXACT, Pattern

COUNTED: Final = "not_authorized"
"""The name under which refusals are counted."""


@final
class Guard:
    """The checks of one gateway. The methods are those of `Router`."""

    __slots__ = (
        "_calls",
        "_counts",
        "_publishing",
        "_reductions",
        "_registrations",
    )

    def __init__(
        self,
        counts: LimitCounts,
        publishing: Publishing,
        calls: Calls,
        registrations: Registrations,
        reductions: Reductions,
    ) -> None:
        self._counts = counts
        self._publishing = publishing
        self._calls = calls
        self._registrations = registrations
        self._reductions = reductions

    def publish(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes = b"",
        publisher: Identity | None = None,
        audience: Audience | None = None,
        retain: RetainOptions | None = None,
        attributes: bytes | None = None,
    ) -> None:
        """Publish, if the session may. Hot."""
        permissions = session.permissions
        if permissions is not None:
            try:
                if route.table is None:
                    decision = check_publish(permissions, session.answers, route.topic, flags)
                else:
                    row, decision = check_row(
                        session, permissions, route, flags, encoding, args, kwargs, retain
                    )
                    route, flags = row
            except Refusal as refusal:
                self._refuse_publish(session, flags, request, refusal)
                return
            if decision & DISCLOSED:
                flags |= DISCLOSE
                publisher = Identity(session.authid, session.authrole)
            if decision > NO_TRUST_LEVEL:
                attributes = with_trust_level(attributes, decision)
            if retain is not None and retain.patch and not decision & SUBSCRIBE:
                flags |= UNSEEN
        self._publishing.publish(
            session,
            route,
            flags,
            request,
            encoding,
            args,
            kwargs,
            publisher,
            audience,
            retain,
            attributes,
        )

    def publish_all(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        payloads: list[bytes],
    ) -> None:
        """Publish all payloads, if the session may."""
        permissions = session.permissions
        plain = permissions is None or (
            route.table is None
            and (decision := permissions.decide(route.topic)) & (PUBLISH | DISCLOSED) == PUBLISH
            and decision <= NO_TRUST_LEVEL
        )
        if plain:
            self._publishing.publish_all(session, route, flags, request, encoding, payloads)
            return
        step = 1 if flags & ACKNOWLEDGE else 0
        for number, args in enumerate(payloads):
            self.publish(session, route, flags, request + step * number, encoding, args)

    def _refuse_publish(self, session: Session, flags: int, request: int, refusal: Refusal) -> None:
        self._count(refusal)
        if flags & ACKNOWLEDGE:
            session.refused(refused(Publish, session.id, request, refusal))
        else:
            self._publishing.dropped += 1

    def may_will(self, session: Session, topic: str, flags: int) -> bool:
        """Whether the session may set an MQTT will, which is a publish by it."""
        if session.permissions is None:
            return True
        try:
            check_publish(session.permissions, session.answers, topic, flags)
        except Refusal as refusal:
            self._count(refusal)
            self._publishing.dropped += 1
            return False
        return True

    def may_subscribe(
        self, session: Session, request: int, pattern: Pattern, named: Pattern
    ) -> bool:
        """Whether the session may subscribe to anything that the pattern matches.

        named: what it has asked for, perhaps a table of which the pattern is all rows. If not, it
        is told so. If it may subscribe to a part, it gets that part.
        """
        permissions, answers = session.permissions, session.answers
        if permissions is None:
            return True
        session.connection.budget -= permissions.cost(SUBSCRIBE, pattern)
        try:
            if answers is not None and permissions.asks_about(pattern):
                # Rules decide only a part, if any.
                allowed = answers.decide(*_question(SUBSCRIBE, pattern)) & SUBSCRIBE > 0
            else:
                allowed = permissions.extent(SUBSCRIBE, pattern) is not Extent.NOTHING
            if not allowed:
                raise permissions.refusal(SUBSCRIBE, named.shown[0])
        except Refusal as refusal:
            self._count(refusal)
            session.not_subscribed(request, refusal.uri, refusal.message, 0)
            return False
        return True

    def _count(self, refusal: Refusal) -> None:
        """Count a refusal; questions without an answer are counted where they were asked."""
        if isinstance(refusal, NotAuthorized):
            self._counts.add(COUNTED)

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
        """Call a procedure, one of the server's own, too, if the session may."""
        permissions, answers = session.permissions, session.answers
        if permissions is not None:
            try:
                decision = permissions.decide(procedure)
                if decision & UNDECIDED and answers is not None:
                    decision = answers.decide(CALL, procedure)
                if not decision & CALL:
                    raise permissions.refusal(CALL, procedure)
            except Refusal as refusal:
                self._count(refusal)
                session.call_error(call_error(session.id, request, refusal))
                return
            if decision & DISCLOSED:
                flags |= DISCLOSE_CALLER
            if decision > NO_TRUST_LEVEL:
                attributes = with_trust_level(attributes, decision)
        try:
            self._calls.call(
                session,
                request,
                procedure,
                flags,
                timeout,
                encoding,
                args,
                kwargs,
                caller,
                attributes,
            )
        except Undecided:
            # The call is running, and the question is about a testament's topic.
            self._calls.take_back(session, request)
            raise

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
        """Register a callee, if the session may register all that the pattern matches."""
        if self._may_register(session, request, [(REGISTER, pattern)]):
            self._registrations.register(
                session,
                request,
                pattern,
                invoke,
                concurrency,
                force=force,
                disclose=disclose,
                reroutes=reroutes,
            )

    def register_reducer(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        mission: str,
        durable: str,
        invoke: str,
        concurrency: int,
        *,
        force: bool,
        webhook: bool = False,
    ) -> None:
        """Register a reducer, if the session may get its events, see its keys and set them.

        webhook: only if it may do everything, as the server's own worker may.
        """
        if webhook and session.permissions is not None:
            refusal = NotAuthorized("only the server itself posts the events of webhooks")
            self._count(refusal)
            session.refused(refused(Register, session.id, request, refusal))
            return
        keys = Pattern(EXACT, mission) if mission else pattern
        needed = [
            (REGISTER, pattern),
            (SUBSCRIBE, pattern),
            (SUBSCRIBE, keys),
            (PUBLISH, keys),
        ]
        if self._may_register(session, request, needed):
            self._reductions.register(
                session,
                request,
                pattern,
                mission,
                durable,
                invoke,
                concurrency,
                force=force,
                webhook=webhook,
            )

    def _may_register(
        self, session: Session, request: int, needed: list[tuple[int, Pattern]]
    ) -> bool:
        permissions, answers = session.permissions, session.answers
        if permissions is None:
            return True
        try:
            for action, pattern in needed:
                session.connection.budget -= permissions.cost(action, pattern)
                asked = answers is not None and permissions.asks_about(pattern)
                permissions.check_all(action, pattern, rest=asked)
                if answers is not None and asked:
                    allowed = answers.decide(*_question(action, pattern))
                    if not allowed & action:
                        raise permissions.refusal(action, pattern.shown[0])
        except Refusal as refusal:
            self._count(refusal)
            session.refused(refused(Register, session.id, request, refusal))
            return False
        return True


def _question(action: int, pattern: Pattern) -> Question:
    """Return the question about a pattern, which is asked by its URI."""
    uri, match = pattern.shown
    return action, uri, match
