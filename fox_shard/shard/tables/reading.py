"""Reading the rows of tables, for gateways.

Owns: which rows answer a question. Never: rows' values, which are keys like any other. A key below
the topic of a table that is older than the table need not be a row.
"""

from typing import Final, final

from msgspec import msgpack

from fox_shard.documents.filters import Filter
from fox_shard.errors import InvalidPayload
from fox_shard.shard import rows
from fox_shard.shard.budget import units_of
from fox_shard.shard.inquiries import Inquiries, Page
from fox_shard.shard.keys.realm import Realm, Realms
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.tables.query import ROWS, RowsQuery, decode
from fox_shard.tables.table import Table
from fox_shard.topics.pattern import EXACT, Pattern

ROW_UNITS: Final = 1
"""Units of the turn's budget for a row that is looked at, besides its size."""

COMPARISONS_PER_UNIT: Final = 16
"""Values in a filter that cost one more unit for each row."""


@final
class TableReader:
    """Answers inquiries about rows with what is durable."""

    __slots__ = ("_definitions", "_realms")

    def __init__(self, realms: Realms, inquiries: Inquiries, definitions: Definitions) -> None:
        self._realms = realms
        self._definitions = definitions
        inquiries.answerers[ROWS] = self.rows

    def rows(self, realm: str, body: bytes, page: Page) -> None:
        """Fill a page with the rows that a `RowsQuery` asks for (see `inquiries`)."""
        query = decode(body)
        found = self._realms[realm]
        table = self._definitions.of(realm).tables.get(query.table)
        wanted = Filter(msgpack.decode(query.filter)) if query.filter else None
        units = ROW_UNITS
        if wanted is not None:
            units += wanted.comparisons // COMPARISONS_PER_UNIT
        position = page.start.decode() or query.after
        for topic in found.keys.steps(_pattern(query), position):
            if page.is_full:
                page.go_on_at((position or query.table).encode())
                return
            page.spend(units)
            if topic is not None:
                position = topic
                self._look(found, table, topic, wanted, page)

    @staticmethod
    def _look(
        realm: Realm, table: Table | None, topic: str, wanted: Filter | None, page: Page
    ) -> None:
        event = realm.keys.durable_value(topic)
        if event is None:
            return
        page.spend(units_of(len(event.publish.args) + len(event.publish.kwargs)))
        try:
            document = realm.document_of(event.publish)
            if table is not None and (document is None or table.row_topic(document) != topic):
                return
        except InvalidPayload:
            return
        if wanted is not None and not wanted.matches(document):
            return
        page.add(topic.encode(), rows.encode(event))


def _pattern(query: RowsQuery) -> Pattern:
    if query.topic:
        return Pattern(EXACT, query.topic)
    return Pattern.wamp(f"{query.table}.", "prefix")
