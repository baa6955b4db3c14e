"""The procedure `fox.table.list`: all tables of a realm, and how far aggregates are built.

Owns: the form of the answer. Never: how shards are asked (see `inquiry`), which tables a role may
know of (see `readable_tables`).
"""

from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, final

from fox_shard.backplane.refusals import call_error
from fox_shard.documents.payloads import decode
from fox_shard.errors import InvalidArgument, Refusal
from fox_shard.gateway.procedures.inquiry import Inquiries, InquiryQuestion, Item
from fox_shard.gateway.procedures.meta_arguments import complete
from fox_shard.gateway.procedures.readable_tables import ReadableTables
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session
from fox_shard.tables.query import STATES, decode_state
from fox_shard.tables.schema import MOST_DEFINITIONS

LIST: Final = "fox.table.list"

SHOWN: Final = 2
"""`TableState.stage` of an aggregate that is what its rows make it."""


@final
class TableList:
    """Answers the procedure to one gateway's sessions."""

    __slots__ = ("_calls", "_inquiries")

    def __init__(self, inquiries: Inquiries, calls: Calls) -> None:
        self._inquiries = inquiries
        self._calls = calls
        calls.local_procedures[LIST] = self._list

    def _list(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        if any(decode(encoding, args, kwargs)):
            raise InvalidArgument(f"{LIST} has no arguments")
        permissions = session.permissions
        if permissions is None:
            self._ask(session, request, encoding, None)
            return
        readable = ReadableTables(permissions, session.realm.tables)
        self._choose(session, request, encoding, readable, 0.0)

    def _choose(
        self,
        session: Session,
        request: int,
        encoding: int,
        readable: ReadableTables,
        _now: float,
    ) -> None:
        """Choose the tables that the session may know of, over several turns if need be."""
        if not readable.go_on(session.connection):
            rest = partial(self._choose, session, request, encoding, readable)
            session.connection.defer(rest)
            return
        try:
            self._ask(session, request, encoding, readable.names)
        except Refusal as refusal:
            self._calls.call_error(call_error(session.id, request, refusal))

    def _ask(
        self, session: Session, request: int, encoding: int, readable: frozenset[str] | None
    ) -> None:
        """Ask all shards. readable: the tables to be listed; None: all. Raises Unavailable."""
        shards = [*self._inquiries.all_shards]

        def answer(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
            tables = session.realm.tables.tables
            return [
                [
                    _table(name, [decode_state(value) for _, value in found], len(shards))
                    for name, found in _by_name(complete(items, more=more))
                    if name in tables and (readable is None or name in readable)
                ]
            ], {}

        question = InquiryQuestion(
            session,
            request,
            encoding,
            kind=STATES,
            body=b"",
            limit=MOST_DEFINITIONS * len(shards),
            answer=answer,
        )
        self._inquiries.ask(question, shards)


def _by_name(items: list[Item]) -> list[tuple[str, list[Item]]]:
    return [(key.decode(), [*found]) for key, found in groupby(items, key=itemgetter(0))]


def _table(name: str, states: list[Any], shards: int) -> dict[str, Any]:
    """Return what callers get of a table. states: of all shards."""
    table: dict[str, Any] = {"table": name, "rows": sum(state.rows for state in states)}
    if any(state.stage >= 0 for state in states):
        scanned = sum(state.scanned for state in states)
        shown = sum(state.stage == SHOWN for state in states)
        table |= {
            "aggregate": True,
            "contributions": sum(state.contributions for state in states),
            # Of the shards: how many have sent what their rows contribute, and how many show the
            # groups that were made of it.
            "shards": shards,
            "scanned": scanned,
            "shown": shown,
            "complete": scanned == shown == shards,
        }
    return table
