"""Reading tables: the procedures `fox.table.get` and `fox.table.rows`.

Owns: the procedures' arguments and answers. Never: rows; the merging of pages (see `inquiry`).
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, final

import msgspec
from msgspec import Meta, Struct, msgpack

from fox_shard.backplane.frames import Event
from fox_shard.documents.filters import Filter
from fox_shard.documents.numbers import whole
from fox_shard.documents.payloads import JSON, decode, document
from fox_shard.documents.payloads import encode as encode_payload
from fox_shard.errors import InvalidArgument, InvalidPayload
from fox_shard.gateway.authorization.rules import SUBSCRIBE
from fox_shard.gateway.option_values import packed_document
from fox_shard.gateway.procedures.inquiry import Inquiries, InquiryQuestion, Item
from fox_shard.gateway.pubsub.fanout import visible
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.sessions.session import Session
from fox_shard.tables.mistakes import InvalidRow, shown, suggestion
from fox_shard.tables.query import ROWS, RowsQuery, encode
from fox_shard.tables.table import Table, rows_below
from fox_shard.topics.topic import check_topic

GET: Final = "fox.table.get"
LIST: Final = "fox.table.rows"

MOST_ROWS: Final = 1000
"""The most rows in one answer."""

_read_event: Final = msgpack.Decoder(Event).decode


class RowsOptions(Struct, forbid_unknown_fields=True):
    """The options of `fox.table.rows`. after: the values of the key of the last row before."""

    filter: dict[str, Any] | None = None
    after: list[Any] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = MOST_ROWS


@final
class TableRows:
    """Answers the two procedures to one gateway's sessions."""

    __slots__ = ("_inquiries",)

    def __init__(self, inquiries: Inquiries, calls: Calls) -> None:
        self._inquiries = inquiries
        calls.local_procedures[GET] = self.get
        calls.local_procedures[LIST] = self.rows

    def get(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Begin to answer with one row (see `calls.LocalProcedure`). Raises Refusal."""
        values, named = decode(encoding, args, kwargs)
        if named:
            raise InvalidArgument(f"{GET} has no keyword arguments")
        table = _table(session, GET, values)
        topic = _topic(GET, table, values[1:])
        if session.permissions is not None:
            session.permissions.check(SUBSCRIBE, topic)
        body = encode(RowsQuery(table.name, topic=topic))

        def answer(items: list[Item], _more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
            found = _rows(session, items)
            return ([found[0][1]], {"publication": found[0][0]}) if found else ([None], {})

        question = InquiryQuestion(
            session, request, encoding, kind=ROWS, body=body, limit=1, answer=answer
        )
        self._inquiries.ask(question, [session.realm.shard_of(topic)])

    def rows(
        self, session: Session, request: int, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Begin to answer with a page of rows (see `calls.LocalProcedure`). Raises Refusal."""
        values, named = decode(encoding, args, kwargs)
        table = _table(session, LIST, values)
        options = _options(values[1:], named)
        body = encode(
            RowsQuery(
                table.name,
                after="" if options.after is None else _topic(LIST, table, options.after),
                filter=packed_document(options.filter, "filter") if options.filter else b"",
            )
        )

        def answer(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
            found = [row for _, row in _rows(session, items, sent_as=encoding or JSON)]
            after = None
            if more and items:
                after = [*table.key_of(items[-1][0].decode()).values()]
            return [found], {"more": more, "after": after}

        question = InquiryQuestion(
            session,
            request,
            encoding,
            kind=ROWS,
            body=body,
            limit=options.limit,
            answer=answer,
            admits=_admission(session),
        )
        self._inquiries.ask(question, self._inquiries.all_shards)


def _table(session: Session, procedure: str, args: list[Any]) -> Table:
    """Return the table that the first argument names. Raises Refusal.

    A session that may see none of its rows is told the same whether or not there is the table, and
    never hears the names of tables that it may not read.
    """
    if not args or not isinstance(args[0], str):
        raise InvalidArgument(f"{procedure}: the first argument is the name of a table")
    tables, permissions = session.realm.tables.tables, session.permissions
    table = tables.get(args[0])
    if permissions is not None:
        if table is None:
            check_topic(args[0], reserved_ok=True)
        rows = rows_below(args[0])
        session.connection.budget -= permissions.cost(SUBSCRIBE, rows)
        permissions.check_any(SUBSCRIBE, rows)
    if table is None:
        there_are = suggestion(args[0], tables) if permissions is None else ""
        raise InvalidArgument(f"{procedure}: there is no table {shown(args[0])}{there_are}")
    return table


def _topic(procedure: str, table: Table, key: list[Any]) -> str:
    try:
        return table.topic_of(key)
    except InvalidRow as error:
        raise InvalidArgument(f"{procedure}: {error.message}") from None


def _options(args: list[Any], kwargs: dict[Any, Any]) -> RowsOptions:
    if len(args) > 1 or not all(isinstance(one, dict) for one in args):
        raise InvalidArgument(f"{LIST}: after the table comes an object with options, if any")
    given = {**args[0], **kwargs} if args else kwargs
    try:
        options = msgspec.convert(
            {name: whole(value) for name, value in given.items()}, RowsOptions
        )
    except msgspec.ValidationError as error:
        what, at, where = str(error).rpartition(" - at `$.")
        name = f"the option {where.rstrip('`')}: " if at else ""
        raise InvalidArgument(f"{LIST}: {name}{what if at else where}") from None
    if options.filter is not None:
        Filter(options.filter)
    return options


def _admission(session: Session) -> Callable[[Item], bool] | None:
    """Return a function that says whether the session may know that there is such a row.

    What it may not know does not count, and the answer does not end with its key.
    """
    permissions = session.permissions
    if permissions is None:
        return None
    return lambda item: permissions.may(SUBSCRIBE, item[0].decode())


def _rows(session: Session, items: list[Item], sent_as: int | None = None) -> list[tuple[int, Any]]:
    """Return publication id and document of the rows that the session may be shown.

    sent_as: rows that cannot be sent in that encoding are left out, so that none of them keeps the
    caller from the others.
    """
    found: list[tuple[int, Any]] = []
    for event in visible([_read_event(value) for _, value in items], session):
        publish = event.publish
        kwargs = b"" if session.realm.headers else publish.kwargs
        try:
            row = document(publish.encoding, publish.args, kwargs)
            if sent_as not in (None, publish.encoding):
                encode_payload([row], {}, sent_as)
        except InvalidPayload:
            continue  # also a key that was there before the table
        found.append((event.publication, row))
    return found
