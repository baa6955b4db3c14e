"""Row counts: how many of the keys below a table's topic are rows.

Owns: the keys that are older than their table and are no rows. Never: the keys.

Whatever is published below a table's topic is a row. So only keys from before the table's present
definition can be anything else: they are looked for once, a slice at a time, when somebody asks for
the first time. From then on a count costs as much as there are such keys, and not rows. These are
looked at a slice at a time, too, as there may be millions.
"""

from collections.abc import Iterator
from typing import Final, final

from fox_shard.backplane.frames import COMPUTED, Event
from fox_shard.errors import InvalidPayload
from fox_shard.shard.budget import units_of
from fox_shard.shard.inquiries import Page
from fox_shard.shard.keys.realm import Realm
from fox_shard.tables.table import Table
from fox_shard.topics.pattern import Pattern

KEY_UNITS: Final = 1
"""Units of the turn's budget for a key that is looked at, besides its size."""

STRANGERS_PER_UNIT: Final = 16
"""Keys that are no rows that are looked at again for a unit."""


@final
class _Count:
    """What is known of one table. strangers: topic -> publication id of keys that are no rows.

    position: the last topic that was looked at; None: all were. looks: the strangers that the
    present count has yet to look at; None: none has begun. left: how many of the others are still
    there.
    """

    __slots__ = ("left", "looks", "position", "strangers", "table")

    def __init__(self, table: Table) -> None:
        self.table = table
        self.position: str | None = ""
        self.strangers: dict[str, int] = {}
        self.looks: Iterator[tuple[str, int]] | None = None
        self.left = 0


@final
class RowCounts:
    """The counts of all tables of one shard."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        # (realm, table's name) -> what is known by the table's present definition.
        self._counts: dict[tuple[str, str], _Count] = {}

    def forget_others(self, realm: str, tables: dict[str, Table]) -> None:
        """Forget the tables of a realm that are defined no more, or differently."""
        for ref, count in list(self._counts.items()):
            if ref[0] == realm and tables.get(ref[1]) is not count.table:
                del self._counts[ref]

    def of(self, realm: Realm, table: Table, page: Page) -> int | None:
        """Return how many rows a table has; None: the page is full, so ask again."""
        ref = realm.name, table.name
        count = self._counts.get(ref)
        if count is None or count.table is not table:
            count = self._counts[ref] = _Count(table)
        if not _look(realm, count, page) or not _look_again(realm, count, page):
            return None
        return realm.keys.count_below(table.name) - count.left


def _is_still(key: Event | None, publication: int) -> bool:
    return key is not None and key.publication == publication


def _look(realm: Realm, count: _Count, page: Page) -> bool:
    """Look for keys that are no rows, as far as the page goes; return whether none is left."""
    if count.position is None:
        return True
    pattern = Pattern.wamp(f"{count.table.name}.", "prefix")
    for topic in realm.keys.steps(pattern, count.position):
        if page.is_full:
            return False
        page.spend(KEY_UNITS)
        if topic is not None:
            count.position = topic
            # A value that is not durable yet was published by the present definition.
            key = realm.keys.durable_value(topic)
            if key is not None and not _is_row(realm, count.table, topic, key, page):
                count.strangers[topic] = key.publication
    count.position = None
    return True


def _look_again(realm: Realm, count: _Count, page: Page) -> bool:
    """Count the strangers that are still there, as far as the page goes; return whether all are."""
    keys = realm.keys
    if count.looks is None:
        count.looks, count.left = iter([*count.strangers.items()]), 0
    for number, (topic, publication) in enumerate(count.looks, 1):
        if _is_still(keys.get(topic), publication):
            count.left += 1
        elif not keys.is_changing(topic):
            count.strangers.pop(topic, None)
        if number % STRANGERS_PER_UNIT == 0:
            page.spend(1)
            if page.is_full:
                return False
    count.looks = None
    return True


def _is_row(realm: Realm, table: Table, topic: str, key: Event, page: Page) -> bool:
    publish = key.publish
    if table.aggregate is not None and publish.flags & COMPUTED:
        return True
    page.spend(units_of(len(publish.args) + len(publish.kwargs)))
    try:
        document = realm.document_of(publish)
        return document is not None and table.row_topic(document) == topic
    except InvalidPayload:
        return False
