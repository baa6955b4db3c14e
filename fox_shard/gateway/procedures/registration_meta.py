"""The procedures `wamp.registration.…` (WAMP #registration-metapi).

Owns: which shards are asked, and the answers. Never: how shards are asked (see `inquiry`);
reducers, which `fox.reducer.list` lists.
"""

from typing import Any, Final, final

from fox_shard.backplane.meta_api import (
    BEST_REGISTRATION,
    CALLEES,
    REGISTRATION,
    REGISTRATIONS,
    decode_registration,
    details,
    id_key,
    key_id,
)
from fox_shard.errors import NoSuchRegistration
from fox_shard.gateway.procedures.inquiry import Inquiries, Item
from fox_shard.gateway.procedures.meta_arguments import (
    id_argument,
    id_lists,
    ids,
    no_arguments,
    pattern_argument,
    uri_argument,
)
from fox_shard.gateway.procedures.meta_questions import MetaQuestions
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session

LIST: Final = "wamp.registration.list"
LOOKUP: Final = "wamp.registration.lookup"
MATCH: Final = "wamp.registration.match"
GET: Final = "wamp.registration.get"
LIST_CALLEES: Final = "wamp.registration.list_callees"
COUNT_CALLEES: Final = "wamp.registration.count_callees"

WHAT: Final = "registration"


@final
class RegistrationMeta:
    """Answers the procedures to one gateway's sessions."""

    __slots__ = ("_questions",)

    def __init__(self, inquiries: Inquiries, calls: Calls) -> None:
        self._questions = MetaQuestions(inquiries)
        calls.local_procedures[LIST] = self._list
        calls.local_procedures[LOOKUP] = self._lookup
        calls.local_procedures[MATCH] = self._match
        calls.local_procedures[GET] = self._get
        calls.local_procedures[LIST_CALLEES] = self._list_callees
        calls.local_procedures[COUNT_CALLEES] = self._count_callees

    def _list(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        no_arguments(LIST, (encoding, args, kwargs))
        self._questions.ask(session, request, encoding, REGISTRATIONS, b"", id_lists)

    def _lookup(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        pattern = pattern_argument(LOOKUP, (encoding, args, kwargs))
        self._questions.look_up(session, request, encoding, REGISTRATION, pattern)

    def _match(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        procedure = uri_argument(MATCH, (encoding, args, kwargs))
        shards = (session.realm.shard_of(procedure),)
        self._questions.ask(
            session, request, encoding, BEST_REGISTRATION, procedure.encode(), _best, shards
        )

    def _get(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        id_ = id_argument(GET, WHAT, (encoding, args, kwargs))
        self._questions.ask(session, request, encoding, REGISTRATION, id_key(id_), _details)

    def _list_callees(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        id_ = id_argument(LIST_CALLEES, WHAT, (encoding, args, kwargs))
        self._questions.ask(session, request, encoding, CALLEES, id_key(id_), _callees)

    def _count_callees(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        id_ = id_argument(COUNT_CALLEES, WHAT, (encoding, args, kwargs))
        self._questions.ask(session, request, encoding, REGISTRATION, id_key(id_), _count)


def _found(items: list[Item]) -> list[Item]:
    if not items:
        raise NoSuchRegistration("there is no registration of that id")
    return items


def _best(items: list[Item], _more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    return [key_id(items[0][1]) if items else None], {}


def _details(items: list[Item], _more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    state = decode_registration(_found(items)[0][1])
    found = details(state.id, state.created, state.pattern)
    calls = {"x_queued": state.queued, "x_running": state.running, "x_callees": state.callees}
    return [{**found, "invoke": state.invoke, **calls}], {}


def _callees(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    return [ids(_found(items), more=more)], {}


def _count(items: list[Item], _more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    return [decode_registration(_found(items)[0][1]).callees], {}
