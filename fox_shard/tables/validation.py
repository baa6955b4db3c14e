"""Validation: whether a value fits a schema, and if not, where and why.

Owns: the validator, the search for the rule that is broken. Never: which value is validated.

The validator itself only says yes or no, which takes no memory. Its own description of what is
wrong would list all that is wrong, in all alternatives: gigabytes for a few kilobytes of schema and
value. So the first broken rule is searched for here, schema by schema.
"""

from collections.abc import Iterator
from typing import Any, Final, final

import jsonschema_rs

from fox_shard.tables.arguments import PATTERNS
from fox_shard.tables.keywords import Schema
from fox_shard.tables.mistakes import ROOT, InvalidRow, at, shown

MOST_COMPARISONS: Final = 1 << 26
"""The product of a schema's weight and of the bytes of a value that is compared with it."""


@final
class Validator:
    """A schema that values are compared with; made ready when first used."""

    __slots__ = ("_compiled", "_largest", "_schema", "weight")

    def __init__(self, schema: Schema, weight: int) -> None:
        """schema: without references, and checked, with that weight (see `keywords.Expansion`)."""
        self._schema = schema
        self.weight = weight
        self._largest = MOST_COMPARISONS // weight
        self._compiled: jsonschema_rs.Validator | None = None

    def check(self, value: object, size: int = 0) -> None:
        """Raise InvalidRow if the value does not fit. size: bytes of its encoded form."""
        if size > self._largest:
            raise InvalidRow(
                ROOT,
                "size",
                f"{size:,} bytes are more than the schema can be compared with ({self._largest:,})",
            )
        if self._compiled is None:
            self._compiled = _compiled(self._schema)
        try:
            if self._compiled.is_valid(value):
                return
            # This, too, may come upon what JSON has not: the validator ends at the first mistake.
            path, rule, found, argument = _Search().broken(self._schema, value, ROOT)
        except ValueError:  # the value has something that JSON has not
            place, foreign = _foreign(value)
            raise InvalidRow(place, "type", f"JSON has no {foreign}") from None
        raise InvalidRow(path, rule, _sentence(rule, found, argument))


def _compiled(schema: Schema) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(
        schema, pattern_options=PATTERNS, validate_formats=True, offline=True
    )


_Broken = tuple[str, str, object, object]
"""Path, keyword, the value there, the keyword's argument."""


@final
class _Search:
    """The search for the first rule that a value breaks."""

    def __init__(self) -> None:
        #: By identity: one schema may be applied to thousands of items.
        self._validators: dict[int, jsonschema_rs.Validator] = {}

    def broken(self, schema: Schema, value: object, path: str) -> _Broken:
        """Return the first rule that the value breaks; the value does not fit the schema."""
        if isinstance(schema, bool):
            return path, "false", value, False
        for keyword, argument in schema.items():
            for steps, part, inner in _applications(schema, keyword, value):
                if not self._is_valid(part, inner):
                    below = at(path, *steps)
                    if isinstance(part, bool):
                        return below, keyword, inner, part
                    return self.broken(part, inner, below)
            alone = {name: schema[name] for name in _group(keyword, schema)}
            if not _compiled(alone).is_valid(value):
                return path, keyword, value, argument
        return path, "schema", value, None

    def _is_valid(self, schema: Schema, value: object) -> bool:
        if isinstance(schema, bool):
            return schema
        validator = self._validators.get(id(schema))
        if validator is None:
            validator = self._validators[id(schema)] = _compiled(schema)
        return validator.is_valid(value)


_TOGETHER: Final[dict[str, tuple[str, ...]]] = {
    "contains": ("contains", "minContains", "maxContains"),
    "minContains": ("contains", "minContains", "maxContains"),
    "maxContains": ("contains", "minContains", "maxContains"),
    "if": ("if", "then", "else"),
    "items": ("items", "prefixItems"),
    "additionalProperties": ("additionalProperties", "properties", "patternProperties"),
}


def _group(keyword: str, schema: dict[str, Any]) -> tuple[str, ...]:
    """Return the keywords that a keyword means nothing without."""
    if keyword.startswith("unevaluated"):
        return tuple(schema)
    return tuple(name for name in _TOGETHER.get(keyword, (keyword,)) if name in schema)


_Application = tuple[tuple[str | int, ...], Schema, object]
"""Steps from a value to a part of it, a schema, and the part, which must fit the schema."""


def _applications(schema: dict[str, Any], keyword: str, value: object) -> Iterator[_Application]:
    """Yield what a keyword demands of a value and of its parts, as far as there is no choice."""
    argument = schema[keyword]
    if keyword == "allOf":
        yield from (((), part, value) for part in argument)
    elif isinstance(value, dict):
        yield from _in_object(schema, keyword, value)
    elif isinstance(value, list):
        if keyword == "prefixItems":
            pairs = zip(argument, value, strict=False)
            yield from (((index,), part, item) for index, (part, item) in enumerate(pairs))
        elif keyword == "items":
            first = len(schema.get("prefixItems", ()))
            rest = enumerate(value[first:], first)
            yield from (((index,), argument, item) for index, item in rest)


def _in_object(
    schema: dict[str, Any], keyword: str, value: dict[Any, Any]
) -> Iterator[_Application]:
    argument = schema[keyword]
    if keyword in ("properties", "dependentSchemas"):
        inside = keyword == "properties"
        for name, part in argument.items():
            if name in value:
                yield ((name,), part, value[name]) if inside else ((), part, value)
    elif keyword == "additionalProperties" and "patternProperties" not in schema:
        known = schema.get("properties", {})
        yield from (((name,), argument, value[name]) for name in value if name not in known)


def _sentence(rule: str, value: object, argument: object) -> str:
    if rule == "required" and isinstance(value, dict) and isinstance(argument, list):
        missing = next(name for name in argument if name not in value)
        return f"the field {shown(missing)} is missing"
    if rule in ("additionalProperties", "properties", "false"):
        return "there must be no such field"
    if argument is None or isinstance(argument, dict | bool):
        return f"{shown(value)} does not fit"
    return f"{shown(value)} does not fit {rule} {shown(argument)}"


def _foreign(value: object) -> tuple[str, str]:
    """Return the path of something that JSON has not, and what it is."""
    waiting: list[tuple[str, object]] = [(ROOT, value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, dict):
            for name in item:
                if not isinstance(name, str):
                    return path, f"name that is no text, as {shown(name)} is"
            waiting += [(at(path, name), inner) for name, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(at(path, index), inner) for index, inner in enumerate(item)]
        elif not _is_scalar(item):
            return path, f"value such as {shown(item)}"
    return ROOT, "such value"


def _is_scalar(value: object) -> bool:
    """Whether it is a scalar of JSON."""
    if not isinstance(value, str):
        return isinstance(value, int | float | None)
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
