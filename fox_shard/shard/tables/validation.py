"""Validation of publishes: by the rules of their topics, and by the tables whose rows they are.

Owns: what must be true of a publish before anything happens. Never: what a schema means (see
`fox_shard.tables`), what happens then, rows that there are.
"""

from typing import Any, Final, final

from msgspec import msgpack

from fox_shard.backplane.frames import COMPUTED, EMPTY, RETAIN, Publish
from fox_shard.documents.filters import Document
from fox_shard.documents.payloads import decode
from fox_shard.errors import InvalidArgument, InvalidPayload, NotAuthorized, Unavailable
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.realm import Realm, Realms
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.tables.mistakes import ROOT, InvalidRow
from fox_shard.tables.table import Rule, Table
from fox_shard.topics.topic import in_sequence

VALIDATION_UNITS: Final = 2
BYTES_PER_UNIT: Final = 256
"""Units of the turn's budget for a validation, and bytes of a payload that cost one more."""

COMPARISONS_PER_UNIT: Final = 2048
"""Bytes of a payload, times the parts of the definition, that cost one more unit."""

SEARCHED_PARTS_PER_UNIT: Final = 2
"""Parts of the definition that cost one more unit if the payload is not valid: the search for the
rule that is broken makes validators of them."""


@final
class Validation:
    """The validation of publishes on one shard."""

    __slots__ = ("_budget", "_definitions", "_realms", "defined")

    def __init__(self, definitions: Definitions, realms: Realms, budget: Budget) -> None:
        """budget: the turn's."""
        self._definitions = definitions
        #: The realms that have a schema.
        self.defined = definitions.active
        self._realms = realms
        self._budget = budget

    def concerns(self, publish: Publish) -> bool:
        """Whether a publish, in a realm with a schema, is to a table or to a topic with rules."""
        return self._definitions.about(publish.realm, publish.topic) is not None

    def check(self, publish: Publish) -> None:
        """Raise a Refusal if the publish, after a patch with the merged document, is not valid."""
        if publish.realm not in self._definitions.active:
            return
        about = self._definitions.about(publish.realm, publish.topic)
        retain = publish.retain
        rules = [] if about is None else about.rules
        if retain is not None and retain.sequence:
            known = self._definitions.about(publish.realm, in_sequence(publish.topic, 0))
            rules = [*dict.fromkeys([*rules, *(known.rules if known is not None else ())])]
        if about is not None and about.table is not None:
            self._check_row(about.table, publish)
        elif rules:
            self._check_rules(rules, publish)

    # Rules

    def _check_rules(self, rules: list[Rule], publish: Publish) -> None:
        realm = self._realms[publish.realm]
        if not publish.flags & EMPTY or not publish.flags & RETAIN:
            value, size = _value(realm, publish), len(publish.args) + len(publish.kwargs)
            for rule in rules:
                self._compare(rule, value, size)
        will = _will(publish)
        if will:
            for rule in rules:
                self._compare(rule, will[0], _will_size(publish))

    def _compare(self, definition: Table | Rule, value: object, size: int) -> None:
        """Raise InvalidRow unless the value fits. size: bytes of its encoded form."""
        units = VALIDATION_UNITS + size // BYTES_PER_UNIT
        self._budget.spend(units + size * definition.weight // COMPARISONS_PER_UNIT)
        try:
            definition.check(value, size)
        except InvalidRow:
            self._budget.spend(definition.weight // SEARCHED_PARTS_PER_UNIT)
            raise

    # Rows

    def _check_row(self, table: Table, publish: Publish) -> None:
        if table.aggregate is not None:
            if not publish.flags & COMPUTED:
                raise NotAuthorized(
                    f"{table.name} is an aggregate: publish to the tables that feed it"
                )
            return
        retain = publish.retain
        if publish.topic == table.name and retain is not None and retain.reduced:
            raise InvalidArgument(
                f"a reducer's key may be a row of the table {table.name}, and not the table's topic"
            )
        if publish.topic == table.name or not publish.flags & RETAIN:
            # A gateway that knows the table sends rows to their own topics, to become keys.
            raise Unavailable(f"the table {table.name} is new: publish again")
        table.key_of(publish.topic)
        _check_options(publish)
        if not publish.flags & EMPTY:
            size = len(publish.args) + len(publish.kwargs)
            document = self._realms[publish.realm].document_of(publish)
            self._check_document(table, document, size, publish.topic)
        will = _will(publish)
        if will:
            self._check_document(table, will[0], _will_size(publish), publish.topic)

    def _check_document(self, table: Table, document: object, size: int, of: str) -> None:
        """Raise a Refusal unless the document is the row of the topic `of`."""
        self._compare(table, document, size)
        assert isinstance(document, dict)
        topic = table.row_topic(document)
        if topic != of:
            raise InvalidRow(ROOT, "primary_key", f"the key is that of {topic}, and not of {of}")


def _check_options(publish: Publish) -> None:
    """Raise InvalidArgument for what a row, which aggregates show to everybody, cannot be."""
    retain, audience = publish.retain, publish.audience
    if retain is not None and retain.private:
        raise InvalidArgument(
            'the option weak: a row of a table is never "private", because its aggregates show '
            "what it contributes; true would be right"
        )
    if retain is not None and retain.sequence:
        raise InvalidArgument("the option sequence: a row's topic is made of its primary key")
    if audience is not None and not (audience.eligible is None and audience.exclude is None):
        raise InvalidArgument(
            "the options eligible and exclude: a row is there for later sessions, too"
        )


def _value(realm: Realm, publish: Publish) -> Document | Any:  # noqa: ANN401 (any decoded value)
    """Return what rules look at: the document, or the only argument, or all of them."""
    document = realm.document_of(publish)
    if document is not None:
        return document
    values, _ = decode(publish.encoding, publish.args, b"")
    if len(values) > 1:
        return values
    return values[0] if values else None


def _will_size(publish: Publish) -> int:
    retain = publish.retain
    return 0 if retain is None or retain.will is None else len(retain.will)


def _will(publish: Publish) -> list[Any]:
    """Return the value that the key takes when its session ends; [] if none, or if it is erased."""
    retain = publish.retain
    if retain is None or retain.will is None:
        return []
    try:
        values: list[Any] = msgpack.decode(retain.will)
    except ValueError as error:
        raise InvalidPayload(f"the option will: {error}") from None
    return [] if values in ([], [None]) else values if len(values) == 1 else [values]
