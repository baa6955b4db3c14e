"""Testaments: `wamp.session.add_testament` and `wamp.session.flush_testaments` (WAMP #testament).

Owns: the procedures' arguments and limits. Never: the testaments (see `sessions.wills`).

A call is answered when the shards have stored what it says. From then on, the testament is
published exactly once, even if its gateway is killed.
"""

from typing import Any, Final, Literal, TypeVar, final

import msgspec
from msgspec import Struct, msgpack

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    DISCLOSE,
    EMPTY,
    RETAIN,
    Identity,
    Publish,
    Result,
    RetainOptions,
)
from fox_shard.config import Gateway as Settings
from fox_shard.documents.payloads import NONE, check_patch, decode, decode_exactly, encode, is_empty
from fox_shard.errors import InvalidArgument
from fox_shard.gateway.authorization.rules import DISCLOSED
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.limits import Limits
from fox_shard.gateway.pubsub.permitted import check_publish, check_row
from fox_shard.gateway.pubsub.rows import Row, find_row
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.uris import check_length
from fox_shard.gateway.sessions.wills import DESTROYED, DETACHED, Wills, size_of
from fox_shard.gateway.wamp.attributes import check_passthru_payload
from fox_shard.gateway.wamp.option_readers import OptionsReader
from fox_shard.gateway.wamp.options import PublishOptions, RawPublishOptions
from fox_shard.topics.ids import MAX_ID
from fox_shard.topics.topic import SEQUENCE_LENGTH, check_topic

ADD: Final = "wamp.session.add_testament"
FLUSH: Final = "wamp.session.flush_testaments"

T = TypeVar("T")

SCOPES: Final = {"detached": DETACHED, "destroyed": DESTROYED}
DEFAULT: Final = "destroyed"

Scope = Literal["detached", "destroyed"] | None


class AddOptions(Struct, forbid_unknown_fields=True):
    """The keyword arguments of `wamp.session.add_testament`."""

    publish_options: dict[str, Any] | None = None
    scope: Scope = None


class FlushOptions(Struct, forbid_unknown_fields=True):
    """The keyword arguments of `wamp.session.flush_testaments`."""

    scope: Scope = None


@final
class Testaments:
    """Answers the two procedures to one gateway's sessions."""

    __slots__ = ("_backpressure", "_calls", "_limits", "_options", "_settings", "_wills")

    def __init__(
        self,
        wills: Wills,
        calls: Calls,
        settings: Settings,
        limits: Limits,
        backpressure: Backpressure,
    ) -> None:
        self._wills = wills
        self._backpressure = backpressure
        self._calls = calls
        self._settings = settings
        self._limits = limits
        self._options = OptionsReader(
            msgpack.Decoder(RawPublishOptions).decode, PublishOptions.of, msgpack.decode
        )
        calls.local_procedures[ADD] = self.add
        calls.local_procedures[FLUSH] = self.flush

    def add(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Add a testament (see `calls.LocalProcedure`). Raises Refusal."""
        values, _ = decode_exactly(encoding, args, b"")
        _, named = decode(encoding, b"", kwargs)
        topic, event_args, event_kwargs = _event(values)
        options = _convert(ADD, named, AddOptions)
        will = self._will(
            session, topic, encode(event_args, event_kwargs, encoding), encoding, options
        )
        self._check_limits(session, will)
        shard = session.realm.shard_of(will.topic)
        self._wills.add_testament(session, shard, will, SCOPES[options.scope or DEFAULT], request)
        self._backpressure.sent(session.connection, shard)

    def flush(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Drop the testaments of a scope (see `calls.LocalProcedure`). Raises Refusal."""
        values, named = decode(encoding, args, kwargs)
        if values:
            raise InvalidArgument(f"{FLUSH} has no positional arguments, only scope by its name")
        scope = SCOPES[_convert(FLUSH, named, FlushOptions).scope or DEFAULT]
        if not self._wills.flush_testaments(session, scope, request):
            self._calls.result(empty_result(session.id, request))

    def _will(
        self,
        session: Session,
        topic: str,
        payload: tuple[bytes, bytes],
        encoding: int,
        options: AddOptions,
    ) -> Publish:
        """Return what is published when the session ends. Raises Refusal."""
        publish_options = self._publish_options(options.publish_options or {})
        flags, retain = publish_options.flags & ~ACKNOWLEDGE, publish_options.retain
        check_length(self._settings, topic, SEQUENCE_LENGTH if retain and retain.sequence else 0)
        check_topic(topic)
        args, kwargs = payload
        attributes = publish_options.attributes
        if attributes is not None and attributes.passthru:
            check_passthru_payload(encoding, args, kwargs)
        realm = session.realm
        route = realm.route(topic)
        if route.table is not None:
            flags |= RETAIN
        named = b"" if realm.headers else kwargs
        empty = is_empty(encoding, args, named)
        if flags & RETAIN and empty:
            flags |= EMPTY
        if retain is not None and retain.patch and not empty:
            check_patch(encoding, args, named)
        route, flags = _allowed(session, route, flags, encoding, args, kwargs, retain)
        return Publish(
            realm.name,
            route.topic,
            session.id,
            0,
            MAX_ID,
            flags,
            encoding if args or kwargs else NONE,
            args,
            kwargs,
            Identity(session.authid, session.authrole) if flags & DISCLOSE else None,
            publish_options.audience,
            retain=retain,
            attributes=None if attributes is None else attributes.packed,
        )

    def _publish_options(self, given: dict[str, Any]) -> PublishOptions:
        try:
            raw = msgpack.encode(given)
        except (TypeError, OverflowError, RecursionError) as error:
            raise InvalidArgument(f"{ADD}: publish_options: {error}") from None
        options = self._options.read(raw)
        if options.retain is not None and options.retain.owned:
            raise InvalidArgument(
                f"{ADD}: weak, will and watch need a session, which has ended by then"
            )
        return options

    def _check_limits(self, session: Session, will: Publish) -> None:
        """Raise LimitExceeded if the session would have too many testaments.

        As many again may be on their way to shards that have yet to drop them.
        """
        number, size = self._wills.testaments(session)
        dropping, bytes_dropping = self._wills.dropping(session)
        most, most_bytes = self._settings.max_testaments, self._settings.testament_bytes
        if number >= most or dropping > most:
            raise self._limits.refuse("max_testaments", "testaments", most)
        if size + size_of(will) > most_bytes or bytes_dropping > most_bytes:
            raise self._limits.refuse("testament_bytes", "bytes of testaments", most_bytes)


def _allowed(
    session: Session,
    route: Route,
    flags: int,
    encoding: int,
    args: bytes,
    kwargs: bytes,
    retain: RetainOptions | None,
) -> Row:
    """Return where a testament is published to, and its flags. Raises Refusal, Undecided.

    The session is disclosed if its role discloses it.
    """
    permissions = session.permissions
    if permissions is None:
        return find_row(session.realm, route, flags, encoding, args, kwargs, retain)
    if route.table is None:
        decision = check_publish(permissions, session.answers, route.topic, flags)
        row = find_row(session.realm, route, flags, encoding, args, kwargs, retain)
    else:
        row, decision = check_row(
            session, permissions, route, flags, encoding, args, kwargs, retain
        )
    return Row(row.route, row.flags | DISCLOSE) if decision & DISCLOSED else row


def empty_result(session: int, request: int) -> Result:
    """Return the answer to a call that returns nothing."""
    return Result(session, request, progress=False, encoding=NONE, args=b"")


def _event(values: list[Any]) -> tuple[str, list[Any], dict[str, Any]]:
    """Return topic, arguments and keyword arguments of the event. Raises InvalidArgument."""
    topic, args, kwargs, *rest = [*values, None, None, None][: max(3, len(values))]
    args = [] if args is None else args
    kwargs = {} if kwargs is None else kwargs
    if rest or not (isinstance(topic, str) and isinstance(args, list) and isinstance(kwargs, dict)):
        raise InvalidArgument(f"{ADD} has three arguments: a topic, a list and a dictionary")
    if not all(isinstance(key, str) for key in kwargs):
        raise InvalidArgument(f"{ADD}: the keys of the event's keyword arguments are strings")
    return topic, args, kwargs


def _convert(procedure: str, named: dict[Any, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(named, kind)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{procedure}: {error}") from None
