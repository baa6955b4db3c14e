"""Recomputing an aggregate from the rows of other tables, to compare it with what there is.

Owns: the sums. Never: where rows come from.
"""

from collections.abc import Iterator
from typing import Any, final

from fox_shard.tables.groups import Group
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Document, Edge, Table


@final
class Recomputation:
    """An aggregate while it is computed. contributions: of how many it has been made so far."""

    def __init__(self, schema: TableSet, table: Table, key: Document | None = None) -> None:
        """key: of the only row that is wanted; None: all rows. Raises ValueError: no aggregate."""
        if table.aggregate is None:
            raise ValueError(f"{table.name} is no aggregate: its rows are what was published")
        self._aggregate = table.aggregate
        self._schema = schema
        self._table = table
        self._key = key
        self._groups: dict[str, Group] = {}
        self.contributions = 0
        self.edges: list[Edge] = [*schema.edges_into(table.name)]

    def filter(self, edge: Edge) -> dict[str, Any]:
        """Return the filter for the rows that may contribute by that edge."""
        if self._key is None:
            return {}
        fields = zip(edge.key, self._table.key, strict=True)
        return {ours.name: self._key[theirs.name] for ours, theirs in fields}

    def add(self, edge: Edge, row: Document) -> None:
        """Add what a row of the edge's table contributes by it."""
        source = self._schema.tables[edge.source]
        place = source.edges.index(edge)
        (share,) = source.contributions_of_any(row)[place : place + 1] or (None,)
        if share is not None:
            self.contributions += 1
            group = self._groups.setdefault(share.topic, Group(self._aggregate))
            group.add(share.numbers)

    def rows(self) -> dict[str, Document]:
        """Return the rows that there should be, by topic."""
        return {
            topic: {**self._table.key_of(topic), **group.results()}
            for topic, group in self._groups.items()
        }


def differing(found: dict[str, Document], expected: dict[str, Document]) -> list[str]:
    """Return the topics of rows that are not as they should be."""
    return sorted(
        topic for topic in found.keys() | expected.keys() if found.get(topic) != expected.get(topic)
    )


def left_out(table: Table, rows: dict[str, Document]) -> Iterator[tuple[str, str]]:
    """Yield the topic of each row that cannot contribute to another aggregate, and why."""
    for topic, row in rows.items():
        reasons: list[str] = []
        table.contributions_of_any(row, reasons)
        for reason in reasons:
            yield topic, reason
