"""The schema of a realm: the definitions of its tables and rules, read from JSON.

Owns: the form of definitions, the refusal of what cannot be. Never: rows, where schemas come from.

A schema is an object of definitions, each a JSON Schema (draft 2020-12) with additions. One with
`primary_key` is a table; `"type": "aggregate"` makes it one that is computed. One without is a
rule, which validates what is published to its topic or pattern.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Self, final

from fox_shard.documents.nesting import DEPTH_LIMIT, too_deep
from fox_shard.errors import InvalidArgument, InvalidUri
from fox_shard.tables.building import build
from fox_shard.tables.definitions import Definition, read_definition
from fox_shard.tables.keywords import HEAVIEST
from fox_shard.tables.mistakes import ROOT, SchemaError, at, shown
from fox_shard.tables.table import Rule, Table
from fox_shard.tables.validation import Validator
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import check_topic
from fox_shard.topics.trie import Trie

LARGEST: Final = 1 << 20
"""Bytes that a schema may have as text."""

MOST_DEFINITIONS: Final = 1000
"""Tables and rules that a realm may have."""


@final
class TableSet:
    """All tables and rules of a realm."""

    __slots__ = ("_depths", "_rules", "tables", "text")

    def __init__(self, text: str, tables: Mapping[str, Table], rules: tuple[Rule, ...]) -> None:
        #: The schema, as JSON.
        self.text = text
        #: By name, in the order of the text.
        self.tables = dict(tables)
        self._rules: Trie[Rule] = Trie()
        for rule in rules:
            self._rules.add(rule.pattern, rule)
        # How many dots there are in names, each number once.
        self._depths = sorted({name.count(".") for name in tables})

    @classmethod
    def parse(cls, schema: str | Mapping[str, Any]) -> Self:
        """Read a schema: JSON text, or the object that it stands for.

        The braces around the definitions may be left out in text. Raises SchemaError.
        """
        text = _text(schema)
        definitions = _definitions(_read(text))
        weight = sum(definition.weight for definition in definitions)
        if weight > HEAVIEST:
            raise SchemaError(ROOT, f"the schema consists of more than {HEAVIEST:,} parts")
        rules = tuple(_rule(one) for one in definitions if not one.is_table)
        tables = build([one for one in definitions if one.is_table])
        return cls(text, tables, rules)

    def __bool__(self) -> bool:
        return bool(self.tables) or len(self._rules) > 0

    def table_of(self, topic: str) -> Table | None:
        """Return the table whose topic, or a topic below it, this is."""
        dots = end = 0
        for depth in self._depths:
            while dots <= depth and end >= 0:
                end = topic.find(".", end + 1 if dots else 0)
                dots += 1
            table = self.tables.get(topic if end < 0 else topic[:end])
            if table is not None or end < 0:
                return table
        return None

    def rules_of(self, topic: str) -> list[Rule]:
        """Return the rules for what is published to a topic; none for the topics of a table."""
        if not self._rules or self.table_of(topic) is not None:
            return []
        return self._rules.match(topic)

    def edges_into(self, name: str) -> list[Any]:
        """Return the edges into an aggregate, in the order of the text."""
        return [
            edge for table in self.tables.values() for edge in table.edges if edge.target == name
        ]


def _text(schema: str | Mapping[str, Any]) -> str:
    if isinstance(schema, str):
        text = schema.strip()
        text = f"{{{text}}}" if text.startswith('"') else text
    else:
        try:
            text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise SchemaError(ROOT, f"it cannot be written as JSON: {error}") from None
    if len(text) > LARGEST or len(text.encode(errors="replace")) > LARGEST:
        raise too_long()
    return text


def too_long() -> SchemaError:
    """Return what is raised for a schema with more than LARGEST bytes."""
    return SchemaError(ROOT, f"it is longer than {LARGEST:,} bytes")


def _read(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        text.encode()
    except SchemaError:
        raise
    except (ValueError, RecursionError) as error:
        raise SchemaError(ROOT, f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise SchemaError(ROOT, f"it must be an object of definitions, not {shown(document)}")
    if too_deep(document):
        raise SchemaError(ROOT, f"it nests deeper than {DEPTH_LIMIT} levels")
    if len(document) > MOST_DEFINITIONS:
        raise SchemaError(ROOT, f"there are more than {MOST_DEFINITIONS:,} definitions")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        (twice, _), *_ = counts.most_common(1)
        raise SchemaError(ROOT, f"the name {shown(twice)} stands twice in one object")
    return result


def _no_constant(name: str) -> Any:  # noqa: ANN401 (json's hook)
    raise ValueError(f"{name} is no JSON")


def _definitions(document: dict[str, Any]) -> list[Definition]:
    definitions = [read_definition(name, one, at(ROOT, name)) for name, one in document.items()]
    tables = [one.name for one in definitions if one.is_table]
    for definition in definitions:
        if definition.is_table:
            _check_name(definition.name, definition.path)
        above = next((name for name in tables if definition.name.startswith(name + ".")), None)
        if above is not None:
            raise SchemaError(
                definition.path, f"the topics below {above} are the rows of the table {above}"
            )
    return definitions


def _check_name(name: str, path: str) -> None:
    try:
        check_topic(name)
        if "*" in name.split(".") or "+" in name or "/" in name:
            raise InvalidUri("it must not contain '*', '+' and '/'")
    except InvalidUri as error:
        raise SchemaError(path, f"the name of a table is a topic: {error.message}") from None


def _rule(definition: Definition) -> Rule:
    match = definition.additions.get("match", "exact")
    try:
        pattern = Pattern.wamp(definition.name, match)
        if pattern.is_exact:
            check_topic(definition.name)
    except (InvalidUri, InvalidArgument) as error:
        raise SchemaError(definition.path, error.message) from None
    return Rule(definition.name, pattern, Validator(definition.schema, definition.weight))
