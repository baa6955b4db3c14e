"""Publishes to the topics of tables: each becomes a publish to the topic of its row.

Owns: finding the row, and which options only a key may have. Never: whether the row is valid, which
its shard decides.
"""

from typing import NamedTuple

from fox_shard.backplane.frames import EMPTY, RETAIN, RetainOptions
from fox_shard.documents.payloads import document, is_empty
from fox_shard.errors import InvalidArgument, NotAuthorized
from fox_shard.gateway.sessions.realm import Realm, Route
from fox_shard.tables.mistakes import ROOT, InvalidRow
from fox_shard.tables.table import Table


class Row(NamedTuple):
    """Where a publish goes, and its flags. A row becomes a key, whatever the client wants."""

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
    """Return the row that a publish is about, if it is to a table, or to the topic of a row.

    Any other publish is about its topic, and must not have options that only a key may have. Raises
    Refusal.
    """
    table = route.table
    if table is None:
        _check_retained(flags, retain)
        return Row(route, flags)
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


def _check_retained(flags: int, retain: RetainOptions | None) -> None:
    """Raise InvalidArgument for options of keys, if the publish makes no key.

    As rows are always retained, this mistake tells that there is no table. So it must be looked for
    only where the publish is allowed.
    """
    if retain is None or flags & RETAIN:
        return
    for name, given, rule in (
        ("weak", retain.weak, "is about a key"),
        ("will", retain.will is not None, "is about a key"),
        ("patch", retain.patch, "changes a key"),
    ):
        if given:
            raise InvalidArgument(f"the option {name} {rule}: it needs the option retain")


def _topic(table: Table, encoding: int, args: bytes, kwargs: bytes) -> str:
    found = document(encoding, args, kwargs)
    if found is None:
        what = "an object"
        if is_empty(encoding, args, kwargs):
            what = "not empty; to delete one, publish nothing to its own topic"
        raise InvalidRow(ROOT, "type", f"a row of {table.name} is {what}")
    return table.row_topic(found)
