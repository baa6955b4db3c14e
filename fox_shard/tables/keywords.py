"""Keywords of JSON Schema: which there are, and what a schema costs that is made of them.

Owns: the known keywords, references within a schema, the limits of depth and weight.
Never: the comparison of a value with a schema (see `validation`).

A schema is checked before a validator is made of it, because a short schema can be made that takes
a validator hours, or all memory: references that lead back to themselves, or that double at each
step. So references are written out, and what results is counted: the schema's *weight*, one for
each subschema, more for what takes longer. A value is compared with each subschema once at most.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, final
from urllib.parse import unquote

import jsonschema_rs

from fox_shard.tables.mistakes import SchemaError, at, shown, suggestion

Schema: TypeAlias = dict[str, Any] | bool

DEEPEST: Final = 32
"""Levels of schemas within schemas, where a reference counts as a level."""

HEAVIEST: Final = 10_000
"""The weight of all schemas of a realm together."""

PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 18, dfa_size_limit=1 << 20)
"""How patterns are searched for: in linear time, by programs of at most 256 KiB."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SINGLE: Final = _words(
    """additionalProperties unevaluatedProperties items unevaluatedItems contains propertyNames
    not if then else contentSchema"""
)
_LISTS: Final = _words("allOf anyOf oneOf prefixItems")
_MAPS: Final = _words("properties patternProperties dependentSchemas")
_DEFINITIONS: Final = frozenset(("$defs", "definitions"))
_SIMPLE: Final = _words(
    """$ref $comment $schema type enum const multipleOf maximum exclusiveMaximum minimum
    exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems maxContains
    minContains maxProperties minProperties required dependentRequired format contentEncoding
    contentMediaType title description default deprecated readOnly writeOnly examples"""
)
KNOWN: Final = _SINGLE | _LISTS | _MAPS | _DEFINITIONS | _SIMPLE

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LARGEST: Final = 10**100
_PATTERN_WEIGHT: Final = 10
_UNEVALUATED: Final = frozenset(("unevaluatedProperties", "unevaluatedItems"))
_UNEVALUATED_WEIGHT: Final = 3  # what is within is looked at again, on each level


def applied(keyword: str, argument: Any) -> Iterator[tuple[tuple[str | int, ...], Schema]]:  # noqa: ANN401 (JSON)
    """Yield the schemas in a keyword's argument, each with the steps that lead to it."""
    if keyword in _SINGLE:
        yield (keyword,), argument
    elif keyword in _LISTS:
        for index, part in enumerate(argument):
            yield (keyword, index), part
    elif keyword in _MAPS:
        for name, part in argument.items():
            yield (keyword, name), part


class Expanded(NamedTuple):
    """A schema without references, with its weight and its depth in levels."""

    schema: Schema
    weight: int
    depth: int


@final
class Expansion:
    """The schemas of one definition, with references written out."""

    def __init__(self, root: Mapping[str, Any], path: str) -> None:
        """root: the definition, to which references are relative. path: its place, for errors."""
        self._root = root
        self._path = path
        self._done: dict[str, Expanded] = {}
        self._open = ["#"]

    def expand(self, schema: object, path: str) -> Expanded:
        """Return a schema without references. Raises SchemaError."""
        if isinstance(schema, bool):
            return Expanded(schema, 1, 1)
        if not isinstance(schema, dict):
            raise SchemaError(path, f"a schema is an object, true or false, not {shown(schema)}")
        result: dict[str, Any] = {}
        weight, depth = 1, 0
        for keyword, argument in schema.items():
            if keyword not in _DEFINITIONS and keyword != "$ref":
                result[keyword], more, below = self._keyword(keyword, argument, path)
                weight, depth = weight + more, max(depth, below)
        if "$ref" in schema:
            target, more, below = self._target(schema["$ref"], at(path, "$ref"))
            result["allOf"] = [target, *result.get("allOf", [])]
            weight, depth = weight + more, max(depth, below)
        if not schema.keys().isdisjoint(_UNEVALUATED):
            weight *= _UNEVALUATED_WEIGHT
        return _checked(Expanded(result, weight, depth + 1), path)

    def _keyword(self, keyword: str, argument: object, path: str) -> tuple[object, int, int]:
        """Return a keyword's argument without references, its weight and depth."""
        here = at(path, keyword)
        if keyword not in KNOWN and not keyword.startswith("x-"):
            known = suggestion(keyword, KNOWN)
            raise SchemaError(path, f"there is no keyword {shown(keyword)}{known}")
        _check_shape(keyword, argument, here)
        parts = [
            (steps, self.expand(part, at(path, *steps)))
            for steps, part in applied(keyword, argument)
        ]
        if not parts:
            return argument, _check_simple(keyword, argument, here), 0
        weight = sum(expanded.weight for _, expanded in parts)
        depth = max(expanded.depth for _, expanded in parts)
        schemas = [expanded.schema for _, expanded in parts]
        if keyword in _SINGLE:
            return schemas[0], weight, depth
        if keyword in _LISTS:
            return schemas, weight, depth
        names = [str(steps[1]) for steps, _ in parts]
        if keyword == "patternProperties":
            for name in names:
                _check_pattern(name, at(here, name))
            weight += _PATTERN_WEIGHT * len(names)
        return dict(zip(names, schemas, strict=True)), weight, depth

    def _target(self, reference: object, path: str) -> Expanded:
        if not isinstance(reference, str) or not (reference == "#" or reference[:2] == "#/"):
            raise SchemaError(
                path, 'a reference leads to a schema in the same table, such as "#/$defs/money"'
            )
        if reference in self._open:
            way = " → ".join((*self._open[self._open.index(reference) :], reference))
            raise SchemaError(path, f"the reference leads back to itself: {way}")
        if reference not in self._done:
            target = resolve(self._root, reference)
            if target is None:
                raise SchemaError(path, f"there is nothing at {shown(reference)}")
            self._open.append(reference)
            self._done[reference] = self.expand(target, at(self._path, *_steps(reference)))
            self._open.pop()
        return self._done[reference]


def _checked(expanded: Expanded, path: str) -> Expanded:
    if expanded.weight > HEAVIEST:
        raise SchemaError(path, f"the schema consists of more than {HEAVIEST:,} parts")
    if expanded.depth > DEEPEST:
        raise SchemaError(path, f"there are more than {DEEPEST} levels of schemas")
    return expanded


def resolve(root: Mapping[str, Any], reference: str) -> object | None:
    """Return what a reference `#/…` leads to (RFC 6901), or None."""
    found: object = root
    for name in _steps(reference):
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def _steps(reference: str) -> list[str]:
    parts = unquote(reference).split("/")[1:]
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _check_shape(keyword: str, argument: object, path: str) -> None:
    if keyword in _LISTS and not isinstance(argument, list):
        raise SchemaError(path, f"{keyword} is a list of schemas")
    if keyword in _MAPS and not isinstance(argument, dict):
        raise SchemaError(path, f"{keyword} is an object of schemas")
    if keyword == "$schema" and argument not in (_DIALECT, _DIALECT + "#"):
        raise SchemaError(path, f"the dialect must be {_DIALECT}")


def _check_simple(keyword: str, argument: object, path: str) -> int:
    """Check a keyword that holds no schema, and return its weight."""
    if keyword == "pattern":
        _check_pattern(argument, path)
        return _PATTERN_WEIGHT
    if keyword == "format":
        _check_format(argument, path)
    _check_numbers(argument, path)
    return len(argument) // 10 if isinstance(argument, list | dict) else 0


def _check_pattern(pattern: object, path: str) -> None:
    if not isinstance(pattern, str):
        raise SchemaError(path, f"a pattern is a text, not {shown(pattern)}")
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=PATTERNS)
    except ValueError:
        raise SchemaError(
            path,
            f"{shown(pattern)} is no regular expression that can be searched for in linear time"
            " (without look-around and back-references, and not too large)",
        ) from None


def _check_format(name: object, path: str) -> None:
    if name == "regex":
        raise SchemaError(path, "the format regex is not checked")
    try:
        jsonschema_rs.Draft202012Validator(
            {"format": name}, validate_formats=True, ignore_unknown_formats=False
        )
    except ValueError:
        raise SchemaError(path, f"there is no format {shown(name)}") from None


def _check_numbers(value: object, path: str) -> None:
    """Refuse numbers that no JSON reader can hold; the value's depth is bounded by its reader."""
    level: list[object] = [value]
    while level:
        for item in level:
            if isinstance(item, int | float) and not abs(item) < _LARGEST:  # also NaN
                raise SchemaError(path, "a number is not less than 1e100")
        level = [
            inner
            for item in level
            if isinstance(item, list | dict)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
