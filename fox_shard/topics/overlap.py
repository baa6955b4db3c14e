"""Two patterns: is there a topic that both match, and does one match all that the other does?

Owns: both questions, answered on the safe side. Never: one pattern's own meaning (see `pattern`).

For this, a pattern is a row of components, after which others may follow or not. A component is
literal, or a beginning, of which "" is any.
"""

from typing import NamedTuple

from fox_shard.topics.pattern import EXACT, ONE, PREFIX, Pattern
from fox_shard.topics.topic import is_reserved


class _Component(NamedTuple):
    text: str
    whole: bool


_Shape = tuple[list[_Component], bool]
"""Components, and whether others may follow."""

_ANY = _Component("", whole=False)


def overlap(one: Pattern, other: Pattern) -> bool:
    """False: no topic matches both."""
    (first, first_rest), (second, second_rest) = _shape(one), _shape(other)
    if len(first) < len(second) and not first_rest:
        return False
    if len(second) < len(first) and not second_rest:
        return False
    return all(_touch(a, b) for a, b in zip(first, second, strict=False))


def _touch(one: _Component, other: _Component) -> bool:
    if one.whole and other.whole:
        return one.text == other.text
    if one.whole:
        return one.text.startswith(other.text)
    if other.whole:
        return other.text.startswith(one.text)
    return one.text.startswith(other.text) or other.text.startswith(one.text)


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """True: all topics that match the narrow one match the wide one."""
    if wide.begins_with_wildcard and not narrow.begins_with_wildcard and _is_reserved(narrow):
        return False
    (outer, outer_rest), (inner, inner_rest) = _shape(wide), _shape(narrow)
    if len(outer) > len(inner) or (inner_rest and not outer_rest):
        return False
    if len(outer) < len(inner) and not outer_rest:
        return False
    return all(_holds(a, b) for a, b in zip(outer, inner, strict=False))


def _holds(wide: _Component, narrow: _Component) -> bool:
    if wide.whole:
        return narrow.whole and wide.text == narrow.text
    return narrow.text.startswith(wide.text)


def _is_reserved(pattern: Pattern) -> bool:
    """May it match reserved topics? It does not begin with a wildcard."""
    first = pattern.components[0] if pattern.components else pattern.literal
    return first is not ONE and is_reserved(first)


def _shape(pattern: Pattern) -> _Shape:
    if pattern.kind == EXACT:
        return [_Component(part, whole=True) for part in pattern.literal.split(".")], False
    if pattern.kind == PREFIX:
        *path, last = pattern.literal.split(".")
        whole = [_Component(part, whole=True) for part in path]
        return [*whole, _Component(last, whole=False)], True
    return [
        _ANY if part is ONE else _Component(part, whole=True) for part in pattern.components
    ], pattern.rest
