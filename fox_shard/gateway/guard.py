"""The guard: requests of sessions in realms with roles, checked before they are carried out.

Owns: which permissions a request needs, and how a session is told that it lacks one. Never: the
rules (see `authorization`); carrying requests out.

What a session gets is checked elsewhere: events when the receivers of a topic are found (see
`pubsub.members`), keys, rows and history when they are shown (`pubsub.fanout.visible`).
"""

from typing import Final, final

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    DISCLOSE,
    DISCLOSE_CALLER,
    Audience,
    Identity,
    Publish,
    Register,
    RetainOptions,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.refusals import call_error, refused
from fox_shard.errors import NotAuthorized, Refusal
from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.authorization.rules import (
    CALL,
    DISCLOSED,
    NO_TRUST_LEVEL,
    PUBLISH,
    REGISTER,
    SUBSCRIBE,
    Extent,
)
from fox_shard.gateway.authorization.trust import with_trust_level
from fox_shard.gateway.pubsub.publishing import Publishing
from fox_shard.gateway.pubsub.rows import find_row
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.rpc.reductions import Reductions
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.pattern import EXACT, Pattern

COUNTED: Final = "not_authorized"
"""The name under which refusals are counted."""


def check_publish(permissions: Permissions, topic: str, flags: int) -> int:
    """Return the decision about a topic; raise NotAuthorized unless it allows the publish.

    A condition tells whether the key meets it, so it needs the permission to subscribe, too.
    """
    decision = permissions.kept.get(topic)
    if decision is None:
        decision = permissions.decide(topic)
    if not decision & PUBLISH:
        raise permissions.refusal(PUBLISH, topic)
    if flags & CONDITION and not decision & SUBSCRIBE:
        raise permissions.refusal(SUBSCRIBE, topic)
    return decision


def check_table(session: Session, route: Route) -> None:
    """Raise NotAuthorized if the session may not publish to a row of the route's table at all.

    Other refusals tell the fields of the table's key, so they come later. route: with a table.
    """
    table, permissions = route.table, session.permissions
    assert table is not None
    if permissions is None:
        return
    if route.topic != table.name:
        permissions.check(PUBLISH, route.topic)
        return
    session.connection.budget -= permissions.cost(PUBLISH, table.rows)
    permissions.check_any(PUBLISH, table.rows)


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
                if route.table is not None:
                    check_table(session, route)
                    # The topic of the row counts, which may be made of the document.
                    route, flags = find_row(
                        session.realm, route, flags, encoding, args, kwargs, retain
                    )
                decision = check_publish(permissions, route.topic, flags)
            except Refusal as refusal:
                self._refuse_publish(session, flags, request, refusal)
                return
            if decision & DISCLOSED:
                flags |= DISCLOSE
                publisher = Identity(session.authid, session.authrole)
            if decision > NO_TRUST_LEVEL:
                attributes = with_trust_level(attributes, decision)
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
        if isinstance(refusal, NotAuthorized):
            self._counts.add(COUNTED)
        if flags & ACKNOWLEDGE:
            session.refused(refused(Publish, session.id, request, refusal))
        else:
            self._publishing.dropped += 1

    def may_will(self, session: Session, topic: str, flags: int) -> bool:
        """Whether the session may set an MQTT will, which is a publish by it."""
        if session.permissions is None:
            return True
        try:
            check_publish(session.permissions, topic, flags)
        except NotAuthorized:
            self._counts.add(COUNTED)
            return False
        return True

    def may_subscribe(self, session: Session, request: int, pattern: Pattern) -> bool:
        """Whether the session may subscribe to anything that the pattern matches.

        If not, it is told so. If it may subscribe to a part, it gets that part.
        """
        permissions = session.permissions
        if permissions is None:
            return True
        session.connection.budget -= permissions.cost(SUBSCRIBE, pattern)
        if permissions.extent(SUBSCRIBE, pattern) is not Extent.NOTHING:
            return True
        self._counts.add(COUNTED)
        refusal = permissions.refusal(SUBSCRIBE, pattern.shown[0])
        session.not_subscribed(request, refusal.uri, refusal.message, 0)
        return False

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
        permissions = session.permissions
        if permissions is not None:
            decision = permissions.decide(procedure)
            if not decision & CALL:
                self._counts.add(COUNTED)
                refusal = permissions.refusal(CALL, procedure)
                session.call_error(call_error(session.id, request, refusal))
                return
            if decision & DISCLOSED:
                flags |= DISCLOSE_CALLER
            if decision > NO_TRUST_LEVEL:
                attributes = with_trust_level(attributes, decision)
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
    ) -> None:
        """Register a reducer, if the session may get its events, see its keys and set them."""
        keys = Pattern(EXACT, mission) if mission else pattern
        needed = [
            (REGISTER, pattern),
            (SUBSCRIBE, pattern),
            (SUBSCRIBE, keys),
            (PUBLISH, keys),
        ]
        if self._may_register(session, request, needed):
            self._reductions.register(
                session, request, pattern, mission, durable, invoke, concurrency, force=force
            )

    def _may_register(
        self, session: Session, request: int, needed: list[tuple[int, Pattern]]
    ) -> bool:
        permissions = session.permissions
        if permissions is None:
            return True
        try:
            for action, pattern in needed:
                session.connection.budget -= permissions.cost(action, pattern)
                permissions.check_all(action, pattern)
        except NotAuthorized as refusal:
            self._counts.add(COUNTED)
            session.refused(refused(Register, session.id, request, refusal))
            return False
        return True
