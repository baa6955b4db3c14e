"""`fox tables`: the tables of a running server, their rows, and whether the aggregates are right.

Owns: what is asked of the router, and what is printed. Never: what aggregates are (see
`fox_shard.tables`).
"""

import sys
import time
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

from fox_shard.client import Session
from fox_shard.progress import Progress, bar, counted, unseen
from fox_shard.remote import keys
from fox_shard.remote.columns import print_columns
from fox_shard.remote.connecting import DONE, NO, tell
from fox_shard.remote.values import as_json, as_name, from_text
from fox_shard.tables.recomputing import Recomputation, differing, left_out
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Document, Table

ROUNDS: Final = 10
"""How often a row that seems to be wrong is looked at again: it may just be changing."""

PAUSE: Final = 0.3
"""Seconds between two looks, in which contributions that are under way arrive."""

HEAD: Final = ("TABLE", "ROWS", "STATE")


def list_tables(router: Session, *, json: bool) -> int:
    """Print the realm's tables. Returns the exit code."""
    (tables,) = router.call("fox.table.list")
    if json:
        for table in tables:
            print(as_json(table))
        return DONE
    if not tables:
        print("There are no tables.")
        return DONE
    rows = ((as_name(one["table"]), str(one["rows"]), _state(one)) for one in tables)
    print_columns(HEAD, rows)
    return DONE


def _state(table: dict[str, Any]) -> str:
    if not table.get("aggregate"):
        return "published"
    made_of = f"made of {table['contributions']} contributions"
    if table["complete"]:
        return made_of
    shards = table["shards"]
    return (
        f"being rebuilt: the rows of {table['scanned']} of {shards} shards are in, "
        f"{table['shown']} of {shards} show the result; {made_of}"
    )


def show(router: Session, name: str, key: list[str]) -> int:
    """Print the row with that key, or all rows, as JSON. Returns the exit code."""
    if not key:
        for row in _rows(router, name):
            print(as_json(row))
        sys.stdout.flush()
        return DONE
    table = _schema(router).tables.get(name)
    kinds = [] if table is None else [field.kind for field in table.key]
    values = [
        text if kind == "string" else from_text(text)
        for text, kind in zip_longest(key, kinds, fillvalue="string")
    ]
    row = router.call("fox.table.get", name, *values[: len(key)])[0]
    if row is None:
        tell(f"There is no such row in the table {name}.")
        return NO
    print(as_json(row))
    return DONE


def watch(router: Session, name: str, *, json: bool) -> int:
    """Print the rows of a table, then each of their changes, until the router ends it.

    json: print an object for each.
    """
    # A subscription to what is no table waits for ever: the procedure refuses it in words.
    if name not in _schema(router).tables:
        router.call("fox.table.rows", name, {"limit": 1})
    return keys.watch(router, f"{name}.#", "exact", json=json)


def verify(router: Session, name: str | None, *, json: bool, quiet: bool) -> int:
    """Compare aggregates with the recomputation from their rows. name: one; None: all of them.

    json: print objects. quiet: without a bar. Returns the exit code: 1 if a row is wrong,
    whenever one looks.
    """
    schema = _schema(router)
    if name is not None and name not in schema.tables:
        tell(f"There is no table {name}.")
        return NO
    tables = [schema.tables[name]] if name is not None else [*schema.tables.values()]
    wrong = 0
    for table in tables:
        if table.aggregate is not None:
            wrong += _verify(router, schema, table, json=json, quiet=quiet)
        elif name is not None:
            tell(f"{name} is no aggregate: its rows are what was published.")
            return NO
    return NO if wrong else DONE


def _schema(router: Session) -> TableSet:
    return TableSet.parse(router.call("fox.schema.get")[0] or {})


def _verify(router: Session, schema: TableSet, table: Table, *, json: bool, quiet: bool) -> int:
    """Print what is wrong with an aggregate; return how many rows are."""
    made = Recomputation(schema, table)
    with bar(quiet=quiet) as progress:
        _recompute(router, made, progress)
        own = counted(_rows(router, table.name), progress, f"rows of {as_name(table.name)}")
        found = {table.row_topic(row): row for row in own}
    expected, count = made.rows(), made.contributions
    lacking = [*left_out(table, found)]
    for topic, why in lacking:
        print(as_json({"topic": topic, "why": why}) if json else f"{as_name(topic)}\t{why}")
    suspects = differing(found, expected)
    for _ in range(ROUNDS):
        if not suspects:
            break
        time.sleep(PAUSE)
        suspects = [topic for topic in suspects if _is_wrong(router, schema, table, topic)]
    for topic in suspects:
        there_is, should_be = found.get(topic), expected.get(topic)
        if json:
            print(as_json({"topic": topic, "row": there_is, "expected": should_be}))
        else:
            print(f"{as_name(topic)}\t{as_json(there_is)}\t{as_json(should_be)}")
    name, wrong = table.name, len(suspects)
    if json:
        about = {"rows": len(expected), "contributions": count, "wrong": wrong}
        print(as_json({"table": name, **about}))
    else:
        made_of = f"{len(expected)} rows, made of {count} contributions"
        print(f"{as_name(name)}: {made_of}; {wrong} are wrong")
    return wrong + len(lacking)


def _is_wrong(router: Session, schema: TableSet, table: Table, topic: str) -> bool:
    """Look at one row again."""
    key = table.key_of(topic)
    made = Recomputation(schema, table, key)
    _recompute(router, made)
    expected = made.rows()
    found = router.call("fox.table.get", table.name, *key.values())[0]
    return bool(found != expected.get(topic))


def _recompute(router: Session, made: Recomputation, progress: Progress = unseen) -> None:
    """Read all rows that contribute, and add them."""
    for reading in made.readings:
        found = _rows(router, reading.table, reading.filter)
        for row in counted(found, progress, f"rows of {as_name(reading.table)}"):
            made.add(reading, row)


def _rows(router: Session, name: str, wanted: Document | None = None) -> Iterator[Document]:
    """Yield all rows of a table that match a filter, page by page."""
    options: dict[str, Any] = {"filter": wanted} if wanted else {}
    while True:
        (rows,), more = router.result_of("fox.table.rows", name, options)
        yield from rows
        if not more["more"] or more["after"] is None:
            return
        options["after"] = more["after"]
