"""Building the tables of a schema from their definitions.

Owns: how edges and aggregates fit together: keys, types, functions, cycles, fingerprints.
Never: a definition by itself (see `definitions`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from fox_shard.documents.filters import Filter
from fox_shard.errors import InvalidArgument
from fox_shard.tables.definitions import Definition, names_in, primary_key
from fox_shard.tables.mistakes import SchemaError, at, shown, suggestion
from fox_shard.tables.numbers import NUMBER
from fox_shard.tables.table import (
    AVG,
    COUNT,
    FUNCTIONS,
    Aggregate,
    Edge,
    Function,
    KeyField,
    Source,
    Table,
)
from fox_shard.tables.validation import Validator

_EDGE_KEYS: Final = ("key", "fields", "filter")

MOST_CHANGES: Final = 10_000
"""The changes of groups that one change of a row may lead to, through all aggregates."""


class _Into(Struct):
    """An edge as it is written: where it is, from and to which table."""

    path: str
    source: Definition
    target: Definition
    key: tuple[str, ...]
    fields: dict[str, str]
    filter: dict[str, Any] | None


def build(definitions: list[Definition]) -> dict[str, Table]:
    """Return the tables by name. Raises SchemaError."""
    by_name = {definition.name: definition for definition in definitions}
    keys = {one.name: primary_key(one) for one in definitions}
    into: list[_Into] = []
    for definition in definitions:
        into += _edges(definition, by_name, keys)
    _check_changes(_in_order(definitions, into), by_name, into)
    functions = {one.name: _functions(one, into) for one in definitions if one.is_aggregate}
    edges = _build_edges(into, keys, functions)
    return {
        one.name: Table(
            one.name,
            keys[one.name],
            validator=Validator(one.schema, one.weight),
            numeric=_numeric(one, into, functions),
            edges=tuple(edge for edge in edges if edge.source == one.name),
            aggregate=_aggregate(one, keys[one.name], functions[one.name], edges)
            if one.is_aggregate
            else None,
        )
        for one in definitions
    }


def _edges(
    source: Definition, tables: Mapping[str, Definition], keys: Mapping[str, tuple[KeyField, ...]]
) -> Iterator[_Into]:
    path = at(source.path, "propagate")
    raw = source.additions.get("propagate", {})
    if not isinstance(raw, dict):
        raise SchemaError(path, f"propagate is an object of tables, not {shown(raw)}")
    for name, entries in raw.items():
        here = at(path, name)
        target = tables.get(name)
        if target is None:
            raise SchemaError(here, f"there is no table {shown(name)}{suggestion(name, tables)}")
        if not target.is_aggregate:
            raise SchemaError(here, f'the table {shown(name)} is no "type": "aggregate"')
        if not isinstance(entries, list):
            raise SchemaError(here, f"there must be a list of edges, not {shown(entries)}")
        for index, entry in enumerate(entries):
            yield _edge(entry, at(here, index), source, target, keys[name])


def _edge(
    raw: object, path: str, source: Definition, target: Definition, wanted: tuple[KeyField, ...]
) -> _Into:
    if not isinstance(raw, dict):
        raise SchemaError(path, f"an edge is an object, not {shown(raw)}")
    for key in raw:
        if key not in _EDGE_KEYS:
            raise SchemaError(path, f"there is no {shown(key)}{suggestion(key, _EDGE_KEYS)}")
    if "key" not in raw:
        raise SchemaError(path, "the edge needs a key")
    return _Into(
        path=path,
        source=source,
        target=target,
        key=_edge_key(raw["key"], at(path, "key"), source, target, wanted),
        fields=_edge_fields(raw.get("fields", {}), at(path, "fields"), source, target),
        filter=_edge_filter(raw.get("filter"), at(path, "filter"), source),
    )


def _edge_key(
    raw: object, path: str, source: Definition, target: Definition, wanted: tuple[KeyField, ...]
) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) != len(wanted):
        fields = ", ".join(field.name for field in wanted)
        raise SchemaError(
            path, f"the key names a field for each key field of {target.name} ({fields})"
        )
    names: list[str] = []
    for index, (name, field) in enumerate(zip(raw, wanted, strict=True)):
        place = at(path, index)
        kind = source.columns.key_kind(source.columns.check(name, place), place)
        if kind != field.kind:
            raise SchemaError(
                place,
                f"the field {shown(name)} is of type {kind},"
                f" but {shown(field.name)} in {target.name} of type {field.kind}",
            )
        names.append(name)
    return tuple(names)


def _edge_fields(raw: object, path: str, source: Definition, target: Definition) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise SchemaError(path, f"fields is an object of target and source, not {shown(raw)}")
    for name, field in raw.items():
        target.columns.check(name, at(path, name))
        source.columns.check(field, at(path, name))
    return dict(raw)


def _edge_filter(raw: object, path: str, source: Definition) -> dict[str, Any] | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise SchemaError(path, f"a filter is an object of fields, not {shown(raw)}")
    try:
        Filter(raw)
    except InvalidArgument as error:
        raise SchemaError(path, error.message.removeprefix("the option filter: ")) from None
    for name in raw:
        source.columns.check(name, at(path, name))
    return raw


def _in_order(definitions: list[Definition], into: list[_Into]) -> list[str]:
    """Return the names of the tables, each behind those that it feeds. Raises SchemaError."""
    following: dict[str, list[str]] = {one.name: [] for one in definitions}
    for edge in into:
        following[edge.source.name].append(edge.target.name)
    done: dict[str, None] = {}
    for start in definitions:
        # Depth first; without recursion, since a chain may be as long as the schema.
        way = [start.name]
        branches = [iter(following[start.name])]
        while way:
            name = next(branches[-1], None)
            if name is None:
                done[way.pop()] = None
                branches.pop()
            elif name in way:
                cycle = " → ".join((*way[way.index(name) :], name))
                path = next(one.path for one in definitions if one.name == name)
                raise SchemaError(at(path, "propagate"), f"the tables feed each other: {cycle}")
            elif name not in done:
                way.append(name)
                branches.append(iter(following[name]))
    return list(done)


def _check_changes(order: list[str], tables: Mapping[str, Definition], into: list[_Into]) -> None:
    """Refuse aggregates of aggregates through which one row would change too many groups.

    Each edge may concern two groups, that which the row leaves and that which it joins, and each of
    them is a row that changes in turn: short schemas can be made in which one row fills a disk.
    """
    edges: dict[str, list[str]] = {}
    for edge in into:
        edges.setdefault(edge.source.name, []).append(edge.target.name)
    changes: dict[str, int] = {}
    for name in order:
        changes[name] = sum(2 * (1 + changes[target]) for target in edges.get(name, ()))
        if changes[name] > MOST_CHANGES:
            raise SchemaError(
                at(tables[name].path, "propagate"),
                f"one row could change more than {MOST_CHANGES:,} groups, through all aggregates"
                " that it leads to",
            )


def _functions(aggregate: Definition, into: list[_Into]) -> tuple[Function, ...]:
    edges = [edge for edge in into if edge.target is aggregate]
    if not edges:
        raise SchemaError(aggregate.path, "no table propagates to the aggregate")
    found: dict[str, Function] = {}
    for name in FUNCTIONS:
        place = at(aggregate.path, name)
        for entry, path in names_in(aggregate.additions.get(name, []), place, name):
            function = _function(name, entry, path, aggregate, edges)
            if function.target in found:
                raise SchemaError(
                    path, f"{shown(function.target)} is a {found[function.target].name} already"
                )
            found[function.target] = function
    _check_all_computed(found, aggregate, edges)
    return tuple(found[target] for target in sorted(found))


def _check_all_computed(
    found: Mapping[str, Function], aggregate: Definition, edges: list[_Into]
) -> None:
    key = aggregate.additions["primary_key"]
    for edge in edges:
        for target in edge.fields:
            path = at(edge.path, "fields", target)
            if target in key:
                raise SchemaError(path, f"{shown(target)} is part of the key of {aggregate.name}")
            if target not in found:
                listed = ", ".join(FUNCTIONS)
                raise SchemaError(
                    path,
                    f"{shown(target)} stands in none of the lists {listed} of {aggregate.name}",
                )


def _function(
    name: str, entry: str, path: str, aggregate: Definition, edges: list[_Into]
) -> Function:
    target = _target(entry, path, edges)
    of_rows = target is None
    if target is None:
        if name != COUNT:
            raise SchemaError(path, f"no edge into {aggregate.name} has fields for {shown(entry)}")
        target = entry
    if target in aggregate.additions["primary_key"]:
        raise SchemaError(path, f"{shown(target)} is part of the key")
    columns = aggregate.columns
    if name == COUNT:
        columns.check_result(target, NUMBER, path, integer=True)
        return Function(name, target, NUMBER, of_rows)
    kinds: dict[str, str] = {}
    integer = name != AVG
    for edge in edges:
        if target in edge.fields:
            field = edge.fields[target]
            place = at(edge.path, "fields", target)
            kinds.setdefault(edge.source.columns.number_kind(field, place), place)
            integer &= edge.source.columns.is_integer(field)
            if len(kinds) > 1:
                raise SchemaError(
                    place, f"{shown(target)} gets numbers here and strings elsewhere, or vice versa"
                )
    (kind,) = kinds
    columns.check_result(target, kind, path, integer=integer)
    return Function(name, target, kind)


def _target(entry: str, path: str, edges: list[_Into]) -> str | None:
    """Return the target field that an entry names, itself or by a source field; None: neither."""
    if any(entry in edge.fields for edge in edges):
        return entry
    targets = {
        target for edge in edges for target, source in edge.fields.items() if source == entry
    }
    if len(targets) > 1:
        listed = " and ".join(sorted(targets))
        raise SchemaError(path, f"{shown(entry)} is the source of {listed}; name one of these")
    return targets.pop() if targets else None


def _numeric(
    table: Definition, into: list[_Into], functions: Mapping[str, tuple[Function, ...]]
) -> dict[str, str]:
    """Return the fields of a table that must hold numbers, with their kinds."""
    return table.columns.numbers() | {
        edge.fields[function.target]: function.kind
        for edge in into
        if edge.source is table
        for function in functions[edge.target.name]
        if function.name != COUNT and function.target in edge.fields
    }


def _build_edges(
    into: list[_Into],
    keys: Mapping[str, tuple[KeyField, ...]],
    functions: Mapping[str, tuple[Function, ...]],
) -> list[Edge]:
    edges: list[Edge] = []
    alike: dict[str, int] = {}
    for one in into:
        target = one.target.name
        key = tuple(
            KeyField(name, field.kind) for name, field in zip(one.key, keys[target], strict=True)
        )
        sources = tuple(_source(function, one.fields) for function in functions[target])
        meaning = [one.source.name, target, key, sources, functions[target], one.filter]
        identity = _hash(meaning)
        # Edges that are written twice count twice, so each needs a name of its own.
        copy = alike[identity] = alike.get(identity, 0) + 1
        edges.append(
            Edge(
                one.source.name,
                target,
                identity=identity if copy == 1 else _hash([*meaning, copy]),
                key=key,
                sources=sources,
                wanted=Filter(one.filter) if one.filter else None,
                computed=one.source.is_aggregate,
            )
        )
    return edges


def _source(function: Function, fields: Mapping[str, str]) -> Source | None:
    if function.of_rows:
        return Source(None, function.kind, counted=True)
    if function.target not in fields:
        return None
    return Source(fields[function.target], function.kind, counted=function.name == COUNT)


def _aggregate(
    table: Definition, key: tuple[KeyField, ...], functions: tuple[Function, ...], edges: list[Edge]
) -> Aggregate:
    ids = sorted(edge.id for edge in edges if edge.target == table.name)
    return Aggregate(functions, _hash([table.name, key, functions, ids]))


def _hash(meaning: object) -> str:
    text = json.dumps(_plain(meaning), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        return [_plain(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
