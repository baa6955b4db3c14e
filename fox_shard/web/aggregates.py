"""Comparing an aggregate with its rows: `GET /api/aggregates/{table}`.

Owns: reading all rows, by the visitor's session, and how often a row that seems wrong is looked at.
Never: what aggregates are (see `fox_shard.tables`).
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.tables.recomputing import Recomputation, differing, left_out
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Document, Table
from fox_shard.web.context import context_of
from fox_shard.web.problems import Problem
from fox_shard.web.reading import answered, parameters, visitor_of
from fox_shard.web.sessions import Session

ROUNDS: Final = 10
"""How often a row that seems to be wrong is looked at again: it may just be changing."""

PAUSE: Final = 0.3
"""Seconds between two looks, in which contributions that are under way arrive."""

MOST_ROWS: Final = 500_000
"""Rows that one request reads; `fox tables verify` reads all of them."""

MOST_SUSPECTS: Final = 100
"""Rows that are looked at again, and told."""


class WrongRow(Struct, frozen=True):
    """A row that is not as it should be. None: there is none, or there should be none."""

    topic: str
    found: Any
    expected: Any


class Verdict(Struct, frozen=True):
    """What there is to say of an aggregate.

    rows, contributions: as many as there should be. left_out: rows that cannot contribute to
    another aggregate, each with the reason. more: there are other rows that seem wrong.
    """

    rows: int
    contributions: int
    wrong: list[WrongRow]
    left_out: list[str]
    more: bool = False


async def verify(request: Request) -> Response:
    """Compute the aggregate anew, and compare."""
    context = context_of(request)
    realm = parameters(request, ("realm",)).get("realm") or context.limits.realm
    name = str(request.path_params["table"])
    async with context.sessions.shared(await visitor_of(request, realm)) as session:
        (schema,), _ = await session.call("fox.schema.get", [], {}, {})
        tables = TableSet.parse(schema or {})
        table = tables.tables.get(name)
        if table is None:
            raise Problem(404, f"There is no table {name}.")
        if table.aggregate is None:
            raise Problem(400, f"{name} is no aggregate: its rows are what was published.")
        return answered(await _verdict(session, tables, table))


async def _verdict(session: Session, schema: TableSet, table: Table) -> Verdict:
    budget = _Budget(MOST_ROWS)
    made = await _recomputed(session, Recomputation(schema, table), budget)
    found = {table.row_topic(row): row async for row in _rows(session, table.name, {}, budget)}
    expected = made.rows()
    suspects = differing(found, expected)
    more, suspects = len(suspects) > MOST_SUSPECTS, suspects[:MOST_SUSPECTS]
    for _ in range(ROUNDS):
        if not suspects:
            break
        await asyncio.sleep(PAUSE)
        for topic in [*suspects]:
            key = table.key_of(topic)
            one = await _recomputed(session, Recomputation(schema, table, key), budget)
            answer, _ = await session.call("fox.table.get", [table.name, *key.values()], {}, {})
            if answer[0] == (should := one.rows().get(topic)):
                suspects.remove(topic)
            else:
                expected[topic], found[topic] = should or {}, answer[0] or {}
    wrong = [
        WrongRow(topic, found.get(topic) or None, expected.get(topic) or None) for topic in suspects
    ]
    lacking = [f"{topic}: {why}" for topic, why in left_out(table, found)]
    return Verdict(len(made.rows()), made.contributions, wrong, lacking, more)


async def _recomputed(session: Session, made: Recomputation, budget: "_Budget") -> Recomputation:
    for reading in made.readings:
        async for row in _rows(session, reading.table, reading.filter, budget):
            made.add(reading, row)
    return made


async def _rows(
    session: Session, name: str, wanted: Document, budget: "_Budget"
) -> AsyncIterator[Document]:
    """Yield all rows of a table that match a filter, page by page."""
    options: dict[str, Any] = {"filter": wanted} if wanted else {}
    while True:
        (rows,), more = await session.call("fox.table.rows", [name, options], {}, {})
        budget.spend(len(rows))
        for row in rows:
            yield row
        if not more["more"] or more["after"] is None:
            return
        options["after"] = more["after"]


class _Budget:
    """Rows that may still be read."""

    def __init__(self, rows: int) -> None:
        self._left = rows

    def spend(self, rows: int) -> None:
        """Note that so many were read. Raises Problem."""
        self._left -= rows
        if self._left < 0:
            sentence = f"There are more than {MOST_ROWS} rows: use `fox tables verify`."
            raise Problem(400, sentence)
