"""Columns: the JSON types of a table's fields, as far as keys and numbers depend on them.

Owns: what the types of a field make of it. Never: the schema of anything but a table's own fields.
"""

from collections.abc import Mapping
from typing import Any, Final, final

from fox_shard.tables.keys import KINDS
from fox_shard.tables.keywords import DEEPEST, resolve
from fox_shard.tables.mistakes import SchemaError, at, shown, suggestion
from fox_shard.tables.numbers import DECIMAL, NUMBER

_NUMBERS: Final = frozenset(("number", "integer"))
_NULL: Final = "null"


@final
class Columns:
    """The fields that a table's `properties` name."""

    __slots__ = ("_definition", "_path", "_properties")

    def __init__(self, definition: Mapping[str, Any], path: str) -> None:
        """path: the table's place, for errors."""
        properties = definition.get("properties", {})
        if not isinstance(properties, dict):
            raise SchemaError(at(path, "properties"), "properties is an object of schemas")
        self._definition = definition
        self._properties: dict[str, Any] = properties
        self._path = path

    def __contains__(self, name: object) -> bool:
        return name in self._properties

    def check(self, name: object, path: str) -> str:
        """Return the name of a field. Raises SchemaError at `path` if there is none."""
        if not isinstance(name, str):
            raise SchemaError(path, f"the name of a field is a text, not {shown(name)}")
        if name not in self._properties:
            raise SchemaError(
                path,
                f"the properties have no field {shown(name)}{suggestion(name, self._properties)}",
            )
        return name

    def types(self, name: str) -> frozenset[str]:
        """Return the JSON types of a field without null; empty: the schema does not say."""
        schema: object = self._properties[name]
        for _ in range(DEEPEST):
            if not isinstance(schema, dict):
                return frozenset()
            if "type" in schema or not isinstance(schema.get("$ref"), str):
                found = schema.get("type", ())
                names = [found] if isinstance(found, str) else found
                return frozenset(one for one in names if isinstance(one, str)) - {_NULL}
            schema = resolve(self._definition, schema["$ref"])
        return frozenset()

    def key_kind(self, name: str, path: str) -> str:
        """Return the type of a field that is part of a key. Raises SchemaError."""
        types = self.types(name)
        for kind in KINDS:
            if types == {kind}:
                return kind
        raise SchemaError(
            path,
            f"the field {shown(name)} is part of a key, so its type must be one of"
            f" {', '.join(KINDS)}, not {_listed(types)}",
        )

    def number_kind(self, name: str, path: str) -> str:
        """Return the kind of number that a field holds. Raises SchemaError."""
        types = self.types(name)
        if types == {"string"}:
            return DECIMAL
        if types and types <= _NUMBERS:
            return NUMBER
        raise SchemaError(
            path,
            f"the field {shown(name)} is added up or compared, so its type must be number, integer,"
            f" or string (for decimals), not {_listed(types)}",
        )

    def numbers(self) -> dict[str, str]:
        """Return the fields that hold JSON numbers only, with their kind."""
        return {
            name: NUMBER for name in self._properties if frozenset() < self.types(name) <= _NUMBERS
        }

    def is_integer(self, name: str) -> bool:
        """Whether a field holds integers only."""
        return self.types(name) == {"integer"}

    def check_result(self, name: str, kind: str, path: str, *, integer: bool) -> None:
        """Raise SchemaError if a result of this kind does not fit the field.

        integer: whether the result is an integer always.
        """
        self.check(name, path)
        types = self.types(name)
        allowed = {"string"} if kind == DECIMAL else _NUMBERS
        needed = {"number"} if allowed is _NUMBERS and not integer else allowed
        if not types & needed or not types <= allowed:
            wanted = " or ".join(sorted(needed))
            raise SchemaError(
                path, f"the result is of type {wanted}, but {shown(name)} is {_listed(types)}"
            )


def _listed(types: frozenset[str]) -> str:
    return " or ".join(sorted(types)) or "of no declared type"
