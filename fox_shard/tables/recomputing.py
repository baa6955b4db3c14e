"""Recomputing an aggregate from the rows of other tables, to compare it with what there is.

Owns: the sums. Never: where rows come from.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, final

from fox_shard.tables.groups import Group
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Document, Edge, Table


class Reading(NamedTuple):
    """Rows that are to be read: those of a table that meet a filter, and the edges for them."""

    table: str
    filter: dict[str, Any]
    edges: list[Edge]


@final
class Recomputation:
    """An aggregate while it is computed. contributions: of how many it has been made so far.

    readings: what is to be read and added. No row is read twice for edges that want the same rows.
    """

    def __init__(self, schema: TableSet, table: Table, key: Document | None = None) -> None:
        """key: of the only row that is wanted; None: all rows. Raises ValueError: no aggregate."""
        if table.aggregate is None:
            raise ValueError(f"{table.name} is no aggregate: its rows are what was published")
        self._aggregate = table.aggregate
        self._table = table
        self._key = key
        self._groups: dict[str, Group] = {}
        self.contributions = 0
        readings: dict[tuple[str, ...], Reading] = {}
        for edge in schema.edges_into(table.name):
            fields = () if key is None else tuple(field.name for field in edge.key)
            reading = Reading(edge.source, self._filter(edge), [])
            readings.setdefault((edge.source, *fields), reading).edges.append(edge)
        self.readings = [*readings.values()]

    def _filter(self, edge: Edge) -> dict[str, Any]:
        """Return the filter for the rows that may contribute by that edge."""
        if self._key is None:
            return {}
        fields = zip(edge.key, self._table.key, strict=True)
        return {ours.name: self._key[theirs.name] for ours, theirs in fields}

    def add(self, reading: Reading, row: Document) -> None:
        """Add what a row contributes by the edges of the reading."""
        for edge in reading.edges:
            share = edge.contribution_of_any(row)
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
