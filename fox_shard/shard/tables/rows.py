"""Rows: what may be published to the topics of tables, and to those of rules.

Owns: which publishes are refused. Never: what becomes of the others.

A publish to the topic of a row is that row's new value, whatever its options say, so it always
changes the key. What is checked is the value that the key would have, after a patch has been
merged into it.
"""

from collections.abc import Mapping
from typing import Final, final

from fox_shard.backplane.frames import EMPTY, RETAIN, Publish
from fox_shard.documents.payloads import MSGPACK, decode
from fox_shard.errors import (
    InvalidArgument,
    InvalidUri,
    NotAuthorized,
    Refusal,
    Unavailable,
)
from fox_shard.shard.budget import Budget, units_of
from fox_shard.shard.keys.realm import Realm
from fox_shard.shard.tables.contributions import Contributions
from fox_shard.tables.mistakes import ROOT, InvalidRow
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Document, Table

ROUTER: Final = 0
"""The session of what the router publishes itself, which no rule concerns."""

CHECK_UNITS: Final = 1
"""Units of the turn's budget for a check, besides those for the size of the payload."""


@final
class TableRows:
    """The check of publishes on one shard."""

    __slots__ = ("_budget", "_contributions", "active")

    def __init__(
        self, active: Mapping[str, TableSet], contributions: Contributions, budget: Budget
    ) -> None:
        """active: the schemas of all realms that have one."""
        self.active = active
        self._contributions = contributions
        self._budget = budget

    def concerns(self, publish: Publish) -> bool:
        """Whether a table or a rule has to do with the publish."""
        tables = self.active.get(publish.realm)
        return tables is not None and (
            tables.table_of(publish.topic) is not None or bool(tables.rules_of(publish.topic))
        )

    def is_row(self, publish: Publish) -> bool:
        """Whether the publish is to a table's topic, or below it."""
        return self.table_of(publish.realm, publish.topic) is not None

    def table_of(self, realm: str, topic: str) -> Table | None:
        """Return the table to whose topics this one belongs."""
        tables = self.active.get(realm)
        return None if tables is None else tables.table_of(topic)

    def admit(self, publish: Publish) -> Refusal | None:
        """Return why the publish is refused whatever it says; None: it is not.

        What is published to a row is retained.
        """
        table = self.table_of(publish.realm, publish.topic)
        if table is None:
            return None
        publish.flags |= RETAIN
        retain, audience = publish.retain, publish.audience
        if table.aggregate is not None:
            return NotAuthorized(
                f"{table.name} is an aggregate, whose rows are computed: publish to the tables "
                "that propagate to it"
            )
        if publish.topic == table.name:
            return Unavailable(f"{table.name} has just become a table: publish again")
        if retain is not None and retain.private:
            return _never("weak", '"private": all see the aggregates; true would be right')
        if retain is not None and retain.sequence:
            return _never("sequence", "true: its topic is made of its key")
        if audience is not None and not (audience.eligible is None and audience.exclude is None):
            return _never(
                "exclude or eligible", "that name sessions: a row is there for later ones"
            )
        return self._misplaced(table, publish) if publish.flags & EMPTY else None

    @staticmethod
    def _misplaced(table: Table, publish: Publish) -> Refusal | None:
        try:
            table.key_of(publish.topic)
        except InvalidUri as error:
            return error
        return None

    def check(self, realm: Realm, publish: Publish) -> None:
        """Raise InvalidPayload if the value is invalid, or QueueFull if a group has no room."""
        tables = self.active.get(publish.realm)
        if tables is None:
            return
        table = tables.table_of(publish.topic)
        if table is None:
            self._check_rules(tables, realm, publish)
        elif table.aggregate is None and not publish.flags & EMPTY:
            self._check_row(table, realm, publish)

    def _check_row(self, table: Table, realm: Realm, publish: Publish) -> None:
        self._budget.spend(CHECK_UNITS + units_of(len(publish.args) + len(publish.kwargs)))
        document = realm.document_of(publish)
        contributed = table.check(document)
        _check_place(table, document, publish.topic)
        self._contributions.check_room(publish.realm, contributed)
        if publish.retain is not None and publish.retain.will is not None:
            _check_will(table, realm, publish, publish.retain.will)

    def _check_rules(self, tables: TableSet, realm: Realm, publish: Publish) -> None:
        if publish.session == ROUTER or (publish.flags & EMPTY and publish.flags & RETAIN):
            return
        rules = tables.rules_of(publish.topic)
        if rules:
            size = len(publish.args) + len(publish.kwargs)
            self._budget.spend(len(rules) * (CHECK_UNITS + units_of(size)))
            value = _value(realm, publish)
            for rule in rules:
                rule.check(value)


def _never(option: str, why: str) -> Refusal:
    return InvalidArgument(f"the option {option}: a row of a table is never {why}")


def _check_place(table: Table, document: Document | None, topic: str) -> None:
    assert document is not None
    belongs = table.row_topic(document)
    if belongs != topic:
        raise InvalidRow(ROOT, "primary_key", f"the row belongs to the topic {belongs}")


def _check_will(table: Table, realm: Realm, publish: Publish, will: bytes) -> None:
    """Check the value that the row takes when its session ends."""
    value = Publish(realm.name, publish.topic, 0, 0, 0, RETAIN, MSGPACK, will)
    if decode(MSGPACK, will, b"")[0] not in ([], [None]):
        document = realm.document_of(value)
        table.check(document)
        _check_place(table, document, publish.topic)


def _value(realm: Realm, publish: Publish) -> object:
    """Return what rules are applied to: the document, or the only argument, or all of them."""
    document = realm.document_of(publish)
    if document is not None:
        return document
    args, _ = decode(publish.encoding, publish.args, b"")
    if not args:
        return None
    return args[0] if len(args) == 1 else args
