"""The session meta API: the procedures `wamp.session.…` (WAMP #session-metapi).

Owns: these procedures, the shape of a session's details. Never: sending; a realm other than the
caller's.
"""

from collections.abc import Callable
from typing import final

from msgspec import msgpack

from fox_shard.backplane.frames import Call, CallError, Kill, Result
from fox_shard.backplane.refusals import call_error
from fox_shard.coordinator.session_record import SessionRecord
from fox_shard.coordinator.sessions import Sessions
from fox_shard.documents import payloads
from fox_shard.documents.numbers import whole
from fox_shard.errors import (
    InvalidArgument,
    InvalidPayload,
    InvalidUri,
    NoSuchProcedure,
    NoSuchSession,
    Refusal,
)
from fox_shard.topics.topic import check_topic

DEFAULT_REASON = "wamp.close.killed"

Kills = list[tuple[str, Kill]]
"""Names of gateways, each with a session that the gateway must end."""


def details(entry: SessionRecord) -> dict[str, object]:
    """Return the details of a session that `on_join` publishes and `get` returns."""
    return {
        "session": entry.session,
        "authid": entry.authid,
        "authrole": entry.authrole,
        "authmethod": entry.authmethod,
        "authprovider": entry.authprovider,
        "transport": {
            "type": entry.transport,
            "protocol": entry.protocol,
            "peer": entry.peer,
        },
    }


@final
class Meta:
    """The procedures of the session meta API, whose only callee is the coordinator."""

    __slots__ = ("_procedures", "_sessions")

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._procedures: dict[str, Callable[[Arguments], tuple[list[object], Kills]]] = {
            "wamp.session.count": self._count,
            "wamp.session.list": self._list,
            "wamp.session.get": self._get,
            "wamp.session.kill": self._kill,
            "wamp.session.kill_by_authid": self._kill_by_authid,
            "wamp.session.kill_by_authrole": self._kill_by_authrole,
            "wamp.session.kill_all": self._kill_all,
        }

    def call(self, call: Call) -> tuple[Result | CallError, Kills]:
        """Return the answer for the caller, and the sessions that must end."""
        try:
            procedure = self._procedures.get(call.procedure)
            if procedure is None:
                raise NoSuchProcedure(f"The router has no procedure {call.procedure}.")
            values, kills = procedure(Arguments(call))
        except Refusal as refusal:
            return call_error(call.session, call.request, refusal), []
        args = msgpack.encode(values)
        result = Result(
            session=call.session,
            request=call.request,
            progress=False,
            encoding=payloads.MSGPACK,
            args=args,
        )
        return result, kills

    def _count(self, arguments: "Arguments") -> tuple[list[object], Kills]:
        arguments.at_most(1)
        entries = self._sessions.of_realm(arguments.realm, arguments.authroles())
        return [sum(1 for _ in entries)], []

    def _list(self, arguments: "Arguments") -> tuple[list[object], Kills]:
        arguments.at_most(1)
        entries = self._sessions.of_realm(arguments.realm, arguments.authroles())
        return [[entry.session for entry in entries]], []

    def _get(self, arguments: "Arguments") -> tuple[list[object], Kills]:
        arguments.at_most(1)
        return [details(self._session(arguments.realm, arguments.session()))], []

    def _kill(self, arguments: "Arguments") -> tuple[list[object], Kills]:
        arguments.at_most(1)
        session, reason, message = arguments.session(), arguments.reason(), arguments.message()
        if session == arguments.caller:
            raise NoSuchSession("A session cannot kill itself; there is no other one of that id.")
        entry = self._session(arguments.realm, session)
        return [], [(entry.gateway, Kill(session, reason, message))]

    def _kill_by_authid(self, arguments: "Arguments") -> tuple[list[object], Kills]:
        arguments.at_most(1)
        authid = arguments.string("authid")
        entries, kills = self._kill_others(arguments, lambda entry: entry.authid == authid)
        return [[entry.session for entry in entries]], kills

    def _kill_by_authrole(self, arguments: "Arguments") -> tuple[list[object], Kills]:
        arguments.at_most(1)
        authrole = arguments.string("authrole")
        entries, kills = self._kill_others(arguments, lambda entry: entry.authrole == authrole)
        return [len(entries)], kills

    def _kill_all(self, arguments: "Arguments") -> tuple[list[object], Kills]:
        arguments.at_most(0)
        entries, kills = self._kill_others(arguments, lambda _: True)
        return [len(entries)], kills

    def _kill_others(
        self, arguments: "Arguments", is_target: Callable[[SessionRecord], bool]
    ) -> tuple[list[SessionRecord], Kills]:
        """Return the sessions of the caller's realm that are targets, without the caller's own."""
        reason, message = arguments.reason(), arguments.message()
        entries = [
            entry
            for entry in self._sessions.of_realm(arguments.realm)
            if entry.session != arguments.caller and is_target(entry)
        ]
        return entries, [(e.gateway, Kill(e.session, reason, message)) for e in entries]

    def _session(self, realm: str, session: int) -> SessionRecord:
        entry = self._sessions.get(realm, session)
        if entry is None:
            raise NoSuchSession(f"There is no session {session} in this realm.")
        return entry


@final
class Arguments:
    """The decoded arguments of one call.

    Each method that reads an argument raises a Refusal, which names the mistake in it.
    """

    __slots__ = ("_args", "_kwargs", "caller", "realm")

    def __init__(self, call: Call) -> None:
        """Decode the payload. Raises InvalidArgument if that is impossible."""
        self.realm = call.realm
        self.caller = call.session
        try:
            args, kwargs = payloads.decode(call.encoding, call.args, call.kwargs)
        except InvalidPayload as error:
            raise InvalidArgument(error.message) from None
        self._args: list[object] = args
        self._kwargs: dict[object, object] = kwargs

    def at_most(self, count: int) -> None:
        """Refuse more than `count` positional arguments. Raises InvalidArgument."""
        if len(self._args) > count:
            raise InvalidArgument(
                f"At most {count} positional argument is taken, not {len(self._args)}."
            )

    def string(self, name: str) -> str:
        """Return the first positional argument; `name` is its name in the specification."""
        value = self._args[0] if self._args else None
        if not isinstance(value, str):
            raise InvalidArgument(f"The first argument must be the {name}, a string.")
        return value

    def authroles(self) -> list[str] | None:
        """Return the authroles to which `count` and `list` are limited; None: no limit.

        They are the first argument, or, as Crossbar takes them too, a keyword argument.
        """
        value = self._args[0] if self._args else self._kwargs.get("filter_authroles")
        if value is None:
            return None
        if not isinstance(value, list):
            raise InvalidArgument("filter_authroles must be a list of strings.")
        roles = [role for role in value if isinstance(role, str)]
        if len(roles) != len(value):
            raise InvalidArgument("filter_authroles must contain strings only.")
        return roles

    def session(self) -> int:
        """Return the first positional argument, a session id."""
        value = whole(self._args[0] if self._args else None)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidArgument("The first argument must be a session id, a whole number.")
        return value

    def reason(self) -> str:
        """Return the keyword argument `reason` of the kill procedures, a URI.

        Raises InvalidUri, also if the argument is not a string.
        """
        value = self._kwargs.get("reason")
        if value is None:
            return DEFAULT_REASON
        if not isinstance(value, str):
            raise InvalidUri("reason must be a URI such as com.example.maintenance.")
        check_topic(value, reserved_ok=True)
        return value

    def message(self) -> str:
        """Return the keyword argument `message` of the kill procedures, "" if it is absent."""
        value = self._kwargs.get("message")
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InvalidArgument("message must be a string.")
        return value
