"""Requests of WAMP clients, turned into calls of the router.

Owns: PUBLISH, SUBSCRIBE, UNSUBSCRIBE, CALL, CANCEL, REGISTER, UNREGISTER, YIELD, a callee's ERROR.
Never: the session's own state (see `states`), the router's messages (see `session`), bytes.

There is one function per message. A request that cannot be carried out is answered with ERROR, and
the session goes on. ProtocolViolation ends the session, which `states` does.
"""

from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONTINUES,
    DISCLOSE,
    EMPTY,
    RETAIN,
    Audience,
    Identity,
)
from fox_shard.documents.payloads import NONE, check_patch, is_empty
from fox_shard.errors import (
    InvalidArgument,
    InvalidUri,
    NoSuchSubscription,
    ProtocolViolation,
    Refusal,
    Unavailable,
)
from fox_shard.gateway.sessions.realm import Realm, Route
from fox_shard.gateway.sessions.uris import check_length
from fox_shard.gateway.wamp.attributes import check_passthru_payload
from fox_shard.gateway.wamp.messages import (
    CALL,
    CANCEL,
    ERROR,
    INVOCATION,
    NAMES,
    PUBLISH,
    REGISTER,
    SUBSCRIBE,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    YIELD,
    Call,
    Cancel,
    Error,
    Publish,
    Register,
    Subscribe,
    Unregister,
    Unsubscribe,
    Yield,
)
from fox_shard.gateway.wamp.options import DURABLE_LENGTH, PublishOptions
from fox_shard.gateway.wamp.session import WampSession
from fox_shard.gateway.wamp.unread import UnreadRequest
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import SEQUENCE_LENGTH, check_topic, is_reserved

VALID_URIS: Final = 10_000
"""How many valid URIs are cached."""


def unread(session: WampSession, head: UnreadRequest) -> None:
    """Refuse a request that is too deep or too large to be read."""
    kind, request, refusal = head.kind, head.request, head.refusal
    if kind == PUBLISH:
        options = session.serializer.options
        if options.acknowledges(head.options) if head.options else head.wanted:
            session.refuse(PUBLISH, request, refusal)
        else:
            session.router.limit_counts.add(refusal.limit)
        return
    if kind == CALL:
        if session.parts is not None and request in session.parts:
            session.router.limit_counts.add(refusal.limit)
            session.router.give_up_call(session, request, refusal)
            return
        _check_call(session, request)
        if head.options and session.serializer.options.continues(head.options):
            session.parts_refused(request)
    if kind in (YIELD, ERROR):
        _check_invocation(session, NAMES[kind], request)
        session.fail(request, refusal)
    if kind != ERROR:
        session.refuse(kind, request, refusal)


# Publish and subscribe


def publish(session: WampSession, message: Publish) -> None:
    """Handle [PUBLISH, Request|id, Options|dict, Topic|uri, …]. Hot: 0.9 µs including parsing."""
    serializer = session.serializer
    raw = bytes(message.options)
    try:
        args, kwargs = serializer.payload(message)
        reader = serializer.options.publish
        options = reader.cache.get(raw) or reader.read(raw)
        realm = session.realm
        route = realm.wamp_routes.get(message.topic) or _new_route(session, realm, message.topic)
        flags, audience, retain = options.flags, options.audience, options.retain
        attributes = options.attributes
        if attributes is not None and attributes.passthru:
            session.check_passthru("publisher")
            check_passthru_payload(serializer.encoding, args, kwargs)
        if flags & RETAIN or route.table is not None or (retain is not None and retain.patch):
            named = b"" if realm.headers else kwargs
            flags, audience = _check_key(session, message, route, options, args, named)
    except Refusal as refusal:
        # Without `acknowledge` the client expects no answer (WAMP #publish).
        if serializer.options.acknowledges(raw):
            session.refuse(PUBLISH, message.request, refusal)
        else:
            session.router.limit_counts.add(refusal.limit)
        return
    if flags & ACKNOWLEDGE:
        session.expect_published(message.request)
    session.router.publish(
        session,
        route,
        flags,
        message.request,
        serializer.encoding if args else NONE,
        args,
        kwargs,
        Identity(session.authid, session.authrole) if flags & DISCLOSE else None,
        audience,
        retain,
        None if attributes is None else attributes.packed,
    )


def _check_key(
    session: WampSession,
    message: Publish,
    route: Route,
    options: PublishOptions,
    args: bytes,
    kwargs: bytes,
) -> tuple[int, Audience | None]:
    """Check a publish that becomes a key; return its flags and audience. Raises Refusal.

    It has the option `retain`, or is about a row, which is always retained, or is a patch that
    lacks `retain`, which is told later: whether that is wrong tells whether there is a table.
    """
    retain, audience, encoding = options.retain, options.audience, session.serializer.encoding
    empty = is_empty(encoding, args, kwargs)
    flags = options.flags | (EMPTY if empty else 0) | (RETAIN if route.table is not None else 0)
    if retain is None:
        return flags, audience
    if retain.patch and not empty:
        check_patch(encoding, args, kwargs)
    if retain.sequence:
        check_length(session.router.settings, message.topic, SEQUENCE_LENGTH)
    return flags, _private_audience(session, audience) if retain.private else audience


def _private_audience(session: WampSession, audience: Audience | None) -> Audience:
    """Return the audience of a private key: the publishing session, unless its lists exclude it.

    All sessions are anonymous for now, so other sessions of the same client cannot be recognized.
    """
    if audience is None:
        return Audience(eligible=[session.id])
    admitted = audience.eligible is None or session.id in audience.eligible
    return replace(audience, eligible=[session.id] if admitted else [])


def _new_route(session: WampSession, realm: Realm, topic: str) -> Route:
    """Validate a topic and cache the route to it. Raises InvalidUri."""
    check_length(session.router.settings, topic)
    check_topic(topic)
    route = realm.route(topic)
    realm.wamp_routes[topic] = route
    return route


def subscribe(session: WampSession, message: Subscribe) -> None:
    """Handle [SUBSCRIBE, Request|id, Options|dict, Topic|uri]."""
    try:
        options = session.serializer.options.subscribe.read(bytes(message.options))
        check_length(session.router.settings, message.topic)
        pattern = Pattern.wamp(message.topic, options.match)
    except Refusal as refusal:
        session.refuse(SUBSCRIBE, message.request, refusal)
        return
    session.router.subscribe(session, message.request, pattern, 0, options.subscribe_options)


def unsubscribe(session: WampSession, message: Unsubscribe) -> None:
    """Handle [UNSUBSCRIBE, Request|id, SUBSCRIBED.Subscription|id]."""
    subscribed_to = session.subscribed_to
    name = subscribed_to.pop(message.subscription, None) if subscribed_to else None
    if name is None or not session.router.unsubscribe(session, name):
        unknown = NoSuchSubscription(f"this session has no subscription {message.subscription}")
        session.refuse(UNSUBSCRIBE, message.request, unknown)
        return
    session.send((UNSUBSCRIBED, message.request))


# Remote procedure calls: the caller


def call(session: WampSession, message: Call) -> None:
    """Handle [CALL, Request|id, Options|dict, Procedure|uri, …]."""
    if session.parts is not None and message.request in session.parts:
        _further_part(session, message)
        return
    serializer = session.serializer
    _check_call(session, message.request)
    raw = bytes(message.options)
    try:
        args, kwargs = serializer.payload(message)
        reader = serializer.options.call
        options = reader.cache.get(raw) or reader.read(raw)
        attributes = options.attributes
        if attributes is not None and attributes.passthru:
            session.check_passthru("caller")
            check_passthru_payload(serializer.encoding, args, kwargs)
        check_length(session.router.settings, message.procedure)
        _check_procedure(message.procedure)
    except Refusal as refusal:
        session.refuse(CALL, message.request, refusal)
        if serializer.options.continues(raw):
            session.parts_refused(message.request)
        return
    if options.flags & CONTINUES:
        passthru = attributes is not None and attributes.passthru
        session.begin_parts(message.request, message.procedure, passthru=passthru)
    session.router.call(
        session,
        message.request,
        message.procedure,
        options.flags | session.call_flags,
        options.timeout,
        serializer.encoding if args else NONE,
        args,
        kwargs,
        session.caller,
        None if attributes is None else attributes.packed,
    )


def _further_part(session: WampSession, message: Call) -> None:
    """Handle a CALL that continues another one (WAMP #rpc-progressive-call-invocations).

    All its options but `progress` are those of the first part.
    """
    serializer, request, parts = session.serializer, message.request, session.parts
    assert parts is not None
    open_call = parts.further(request, message.procedure)
    raw = bytes(message.options)
    if open_call is None:
        if not serializer.options.continues(raw):
            parts.last_part(request)
        return
    try:
        last = not serializer.options.part.read(raw).progress
        args, kwargs = serializer.payload(message)
        if open_call.passthru:
            check_passthru_payload(serializer.encoding, args, kwargs)
    except Refusal as refusal:
        session.router.limit_counts.add(refusal.limit)
        session.router.give_up_call(session, request, refusal)
        if not serializer.options.continues(raw):
            parts.last_part(request)
        return
    if last:
        parts.last_part(request)
    encoding = serializer.encoding if args else NONE
    session.router.continue_call(session, request, encoding, args, kwargs, last=last)


def _check_call(session: WampSession, request: int) -> None:
    """Raise ProtocolViolation if a call with that id is running."""
    if session.calls and request in session.calls:
        raise ProtocolViolation(f"CALL: a call with the request id {request} is running")


@lru_cache(VALID_URIS)
def _check_procedure(uri: str) -> None:
    """Check the URI of a procedure or an error. Raises InvalidUri, which is not cached."""
    check_topic(uri, reserved_ok=True)


def cancel(session: WampSession, message: Cancel) -> None:
    """Handle [CANCEL, CALL.Request|id, Options|dict]."""
    try:
        options = session.serializer.options.cancel.read(bytes(message.options))
    except Refusal as refusal:
        session.refuse(CANCEL, message.request, refusal)
        return
    session.router.cancel(session, message.request, options.mode)


# The callee


def register(session: WampSession, message: Register) -> None:
    """Handle [REGISTER, Request|id, Options|dict, Procedure|uri]."""
    try:
        options = session.serializer.options.register.read(bytes(message.options))
        check_length(session.router.settings, message.procedure)
        pattern = Pattern.wamp(message.procedure, options.match)
        first = pattern.literal or next(iter(pattern.components), None)
        if first and is_reserved(first):
            raise InvalidUri(
                f"{message.procedure!r} begins with a reserved component (wamp, fox or $…)"
            )
        if options.mission:
            check_length(session.router.settings, options.mission)
            check_topic(options.mission)
        if (options.mission or options.durable) and not options.reducer:
            raise InvalidArgument("the options mission and durable need the option reducer")
        if len(options.durable) > DURABLE_LENGTH:
            sentence = f"the option durable has more than {DURABLE_LENGTH} characters"
            raise InvalidArgument(sentence).beyond("option_size")
        if options.webhook and (options.mission or options.durable or not options.reducer):
            raise InvalidArgument("the option webhook needs reducer, without mission and durable")
    except Refusal as refusal:
        session.refuse(REGISTER, message.request, refusal)
        return
    if options.reducer:
        session.router.register_reducer(
            session,
            message.request,
            pattern,
            options.mission,
            options.webhook or options.durable,
            options.invoke,
            options.concurrency or 0,
            force=options.force_reregister,
            webhook=bool(options.webhook),
        )
        return
    session.router.register(
        session,
        message.request,
        pattern,
        options.invoke,
        options.concurrency or 0,
        force=options.force_reregister,
        disclose=options.disclose_caller,
        reroutes=session.reroutes,
    )


def unregister(session: WampSession, message: Unregister) -> None:
    """Handle [UNREGISTER, Request|id, REGISTERED.Registration|id]."""
    session.router.unregister(session, message.request, message.registration)


def yield_(session: WampSession, message: Yield) -> None:
    """Handle [YIELD, INVOCATION.Request|id, Options|dict, …].

    The result of an invocation that is over is ignored.
    """
    serializer = session.serializer
    request = message.request
    _check_invocation(session, "YIELD", request)
    raw = bytes(message.options)
    try:
        args, kwargs = serializer.payload(message)
        reader = serializer.options.yield_
        options = reader.cache.get(raw) or reader.read(raw)
        attributes = options.attributes
        if attributes is not None and attributes.passthru:
            _check_answer(session, request, args, kwargs)
    except Refusal as refusal:
        # The callee should know why its result is refused, and the caller waits for an answer.
        session.refuse(YIELD, request, refusal)
        session.fail(request, refusal)
        return
    session.router.yield_(
        session,
        request,
        serializer.encoding if args else NONE,
        args,
        kwargs,
        None if attributes is None else attributes.packed,
        progress=options.progress,
    )


def error(session: WampSession, message: Error) -> None:
    """Handle [ERROR, INVOCATION, INVOCATION.Request|id, Details|dict, Error|uri, …]."""
    serializer = session.serializer
    if message.request_type != INVOCATION:
        raise ProtocolViolation(
            f"ERROR: the request type is {message.request_type}; "
            f"clients send errors of INVOCATION ({INVOCATION}) only"
        )
    _check_invocation(session, "ERROR", message.request)
    raw = bytes(message.details)
    serializer.check_dictionary(raw, "ERROR.Details")
    try:
        args, kwargs = serializer.payload(message)
        _check_procedure(message.error)
        attributes = serializer.options.error.read(raw).attributes if b"_" in raw else None
        if attributes is not None and attributes.passthru:
            _check_answer(session, message.request, args, kwargs)
    except Refusal as refusal:
        session.router.limit_counts.add(refusal.limit)
        session.fail(message.request, refusal)
        return
    session.router.invocation_error(
        session,
        message.request,
        message.error,
        serializer.encoding if args else NONE,
        args,
        kwargs,
        None if attributes is None else attributes.packed,
        reroute=session.reroutes and message.error == Unavailable.uri,
    )


def _check_answer(session: WampSession, request: int, args: bytes, kwargs: bytes) -> None:
    """Check an answer in payload passthru mode. Raises Refusal, ProtocolViolation."""
    session.check_passthru("callee")
    session.check_caller(request)
    check_passthru_payload(session.serializer.encoding, args, kwargs)


def _check_invocation(session: WampSession, name: str, request: int) -> None:
    """Raise ProtocolViolation if the session never had that invocation.

    Invocations are numbered from 1 (WAMP #ids), so the id must not exceed the last one.
    """
    if request > session.next_invocation:
        raise ProtocolViolation(f"{name}: there was no invocation with the request id {request}")
