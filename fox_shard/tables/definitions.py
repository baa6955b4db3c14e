"""Definitions: one table or rule of a schema, as it is written.

Owns: the additions to JSON Schema, where each may stand, the primary key.
Never: how tables fit together (see `building`), the text of a schema (see `schema`).
"""

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs
from msgspec import Struct

from fox_shard.tables.columns import Columns
from fox_shard.tables.keywords import KNOWN, Expansion, Schema
from fox_shard.tables.mistakes import SchemaError, at, shown, suggestion
from fox_shard.tables.table import (
    FUNCTIONS,
    KeyField,
)

AGGREGATE: Final = "aggregate"

MOST_KEY_FIELDS: Final = 16
"""Fields that a key may have."""

_ADDITIONS: Final = frozenset(("primary_key", "propagate", "match", *FUNCTIONS))
_EDGE_KEYS: Final = ("key", "fields", "filter")


class Definition(Struct):
    """One entry of a schema, with its additions taken out and its JSON Schema expanded."""

    name: str
    path: str
    additions: dict[str, Any]
    schema: Schema
    weight: int
    columns: Columns
    is_aggregate: bool

    @property
    def is_table(self) -> bool:
        """Whether it defines a table; otherwise a rule."""
        return "primary_key" in self.additions


def read_definition(name: str, raw: object, path: str) -> Definition:
    """Read one entry of a schema. Raises SchemaError."""
    if not isinstance(raw, dict):
        raise SchemaError(path, f"a definition is an object, not {shown(raw)}")
    additions = {key: value for key, value in raw.items() if key in _ADDITIONS}
    plain = {key: value for key, value in raw.items() if key not in _ADDITIONS}
    for key in plain:
        if key not in KNOWN and not key.startswith("x-"):
            known = KNOWN | _ADDITIONS
            raise SchemaError(path, f"there is no keyword {shown(key)}{suggestion(key, known)}")
    is_aggregate = plain.get("type") == AGGREGATE
    _check_additions(additions, path, is_aggregate=is_aggregate)
    if "primary_key" in additions:
        _check_is_object(plain, path, is_aggregate=is_aggregate)
        plain["type"] = "object"
    expanded = Expansion(plain, path).expand(plain, path)
    _check_meta(plain, path)
    return Definition(
        name=name,
        path=path,
        additions=additions,
        schema=expanded.schema,
        weight=expanded.weight + _size(additions),
        columns=Columns(plain, path),
        is_aggregate=is_aggregate,
    )


def _size(value: object) -> int:
    """Return the number of values within a value."""
    if isinstance(value, dict):
        return sum(1 + _size(item) for item in value.values())
    if isinstance(value, list):
        return sum(1 + _size(item) for item in value)
    return 0


def _check_additions(additions: Mapping[str, Any], path: str, *, is_aggregate: bool) -> None:
    if "primary_key" not in additions:
        if is_aggregate:
            raise SchemaError(path, "an aggregate needs a primary_key")
        for key in additions:
            if key != "match":
                raise SchemaError(path, f"{key} needs a primary_key: without one it is no table")
        return
    for key in additions:
        if key == "match":
            raise SchemaError(at(path, key), "match is for topics that are no table")
        if key in FUNCTIONS and not is_aggregate:
            raise SchemaError(at(path, key), f'{key} needs "type": "aggregate"')


def _check_is_object(plain: Mapping[str, Any], path: str, *, is_aggregate: bool) -> None:
    if not is_aggregate and plain.get("type", "object") != "object":
        raise SchemaError(
            at(path, "type"),
            f'the type of a table is "object" or "aggregate", not {shown(plain["type"])}',
        )


def _check_meta(plain: dict[str, Any], path: str) -> None:
    """Refuse arguments of keywords that are not as JSON Schema wants them."""
    try:
        jsonschema_rs.meta.validate(plain)
    except jsonschema_rs.ValidationError as error:
        place = at(path, *error.instance_path)
        value: Any = plain
        for step in error.instance_path:
            value = value[step]
        raise SchemaError(
            place, f"{shown(value)} is not what JSON Schema wants there ({error.kind.name})"
        ) from None


def names_in(raw: object, path: str, what: str) -> list[tuple[str, str]]:
    """Return the entries of a list of names, each with its place. Raises SchemaError."""
    if not isinstance(raw, list):
        raise SchemaError(path, f"{what} is a list of names of fields, not {shown(raw)}")
    known: set[str] = set()
    for index, name in enumerate(raw):
        if not isinstance(name, str):
            raise SchemaError(at(path, index), f"the name of a field is a text, not {shown(name)}")
        if name in known:
            raise SchemaError(at(path, index), f"{shown(name)} stands there twice")
        known.add(name)
    return [(name, at(path, index)) for index, name in enumerate(raw)]


def primary_key(definition: Definition) -> tuple[KeyField, ...]:
    path = at(definition.path, "primary_key")
    names = names_in(definition.additions["primary_key"], path, "primary_key")
    if not 0 < len(names) <= MOST_KEY_FIELDS:
        raise SchemaError(path, f"a key has 1 to {MOST_KEY_FIELDS} fields")
    columns = definition.columns
    return tuple(
        KeyField(columns.check(name, place), columns.key_kind(name, place)) for name, place in names
    )
