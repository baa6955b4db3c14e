"""Publishes to the topics of tables: each becomes a publish to the topic of its row.

Owns: finding the row. Never: whether the row is valid, which its shard decides.
"""

from typing import NamedTuple

from fox_shard.backplane.frames import EMPTY, RETAIN, RetainOptions
from fox_shard.documents.payloads import document, is_empty
from fox_shard.errors import InvalidArgument, NotAuthorized
from fox_shard.gateway.sessions.realm import Realm, Route
from fox_shard.tables.mistakes import ROOT, InvalidRow
from fox_shard.tables.table import Table


class Row(NamedTuple):
    """Where a row is published to, and the flags: it becomes a key, whatever the client wants."""

    route: Route
    flags: int


def find_row(
    realm: Realm,
    route: Route,
    flags: int,
    encoding: int,
    args: bytes,
    kwargs: bytes,
    retain: RetainOptions | None = None,
) -> Row:
    """Return the row that a publish to a table, or to the topic of a row, is about.

    route: with a table. Raises Refusal.
    """
    table = route.table
    assert table is not None
    if table.aggregate is not None:
        raise NotAuthorized(f"{table.name} is an aggregate: publish to the tables that feed it")
    if retain is not None and retain.sequence:
        raise InvalidArgument(f"the option sequence: rows of {table.name} have keys of their own")
    named = b"" if realm.headers else kwargs
    if route.topic == table.name:
        topic = _topic(table, encoding, args, named)
        return Row(Route(topic, realm.shard_of(topic), table), flags | RETAIN)
    if is_empty(encoding, args, named):
        flags |= EMPTY
    return Row(route, flags | RETAIN)


def _topic(table: Table, encoding: int, args: bytes, kwargs: bytes) -> str:
    found = document(encoding, args, kwargs)
    if found is None:
        what = "an object"
        if is_empty(encoding, args, kwargs):
            what = "not empty; to delete one, publish nothing to its own topic"
        raise InvalidRow(ROOT, "type", f"a row of {table.name} is {what}")
    return table.row_topic(found)
