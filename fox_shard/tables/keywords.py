"""Keywords of JSON Schema: which there are, and what a schema costs that is made of them.

Owns: the known keywords, references within a schema, the limits of depth and weight.
Never: the comparison of a value with a schema (see `validation`).

A schema is checked before a validator is made of it, because a short schema can be made that takes
a validator hours, or all memory: references that lead back to themselves, or that double at each
step. So references are written out, and what results is counted: the schema's *weight*, one for
each subschema, more for what takes longer (see `arguments`). A value is compared with each
subschema once at most. What says nothing about values, such as a description, is left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, final
from urllib.parse import unquote

from fox_shard.tables.arguments import check_numbers, check_simple, pattern_weight
from fox_shard.tables.mistakes import SchemaError, at, shown, suggestion

Schema: TypeAlias = dict[str, Any] | bool

DEEPEST: Final = 32
"""Levels of schemas within schemas, where a reference counts as a level."""

HEAVIEST: Final = 10_000
"""The weight of all schemas of a realm together."""


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
    """$ref $schema type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum
    maxLength minLength pattern maxItems minItems uniqueItems maxContains minContains maxProperties
    minProperties required dependentRequired format contentEncoding contentMediaType"""
)
_REMARKS: Final = _words(
    "$comment title description default deprecated readOnly writeOnly examples"
)
KNOWN: Final = _SINGLE | _LISTS | _MAPS | _DEFINITIONS | _SIMPLE | _REMARKS

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
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
        # How many schemas, each within the one before, are being expanded.
        self._level = 0

    def expand(self, schema: object, path: str) -> Expanded:
        """Return a schema without references. Raises SchemaError."""
        if isinstance(schema, bool):
            return Expanded(schema, 1, 1)
        if not isinstance(schema, dict):
            raise SchemaError(path, f"a schema is an object, true or false, not {shown(schema)}")
        self._level += 1
        _check_levels(self._level, path)  # before recursion takes all stack
        result: dict[str, Any] = {}
        weight, depth = 1, 0
        for keyword, argument in schema.items():
            if _is_remark(keyword):
                check_numbers(argument, at(path, keyword))
            elif keyword not in _DEFINITIONS and keyword != "$ref":
                result[keyword], more, below = self._keyword(keyword, argument, path)
                weight, depth = weight + more, max(depth, below)
        if "$ref" in schema:
            target, more, below = self._target(schema["$ref"], at(path, "$ref"))
            result["allOf"] = [target, *result.get("allOf", [])]
            weight, depth = weight + more, max(depth, below)
        if not schema.keys().isdisjoint(_UNEVALUATED):
            weight *= _UNEVALUATED_WEIGHT
        self._level -= 1
        return _checked(Expanded(result, weight, depth + 1), path)

    def _keyword(self, keyword: str, argument: object, path: str) -> tuple[object, int, int]:
        """Return a keyword's argument without references, its weight and depth."""
        here = at(path, keyword)
        if keyword not in KNOWN:
            known = suggestion(keyword, KNOWN)
            raise SchemaError(path, f"there is no keyword {shown(keyword)}{known}")
        _check_shape(keyword, argument, here)
        parts = [
            (steps, self.expand(part, at(path, *steps)))
            for steps, part in applied(keyword, argument)
        ]
        if not parts:
            return argument, check_simple(keyword, argument, here), 0
        weight = sum(expanded.weight for _, expanded in parts)
        depth = max(expanded.depth for _, expanded in parts)
        schemas = [expanded.schema for _, expanded in parts]
        if keyword in _SINGLE:
            return schemas[0], weight, depth
        if keyword in _LISTS:
            return schemas, weight, depth
        names = [str(steps[1]) for steps, _ in parts]
        if keyword == "patternProperties":
            weight += sum(pattern_weight(name, at(here, name)) for name in names)
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
    _check_levels(expanded.depth, path)
    return expanded


def _check_levels(levels: int, path: str) -> None:
    if levels > DEEPEST:
        raise SchemaError(path, f"there are more than {DEEPEST} levels of schemas")


def _is_remark(keyword: str) -> bool:
    """Whether a keyword says nothing about values."""
    return keyword in _REMARKS or keyword.startswith("x-")


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
