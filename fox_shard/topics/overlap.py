"""Comparing two patterns: whether they overlap, and whether one covers the other.

Owns: both comparisons, which may err on the safe side. Never: a pattern's own meaning (see
`pattern`).

For these comparisons a pattern is a list of components, which others may or may not follow. Each
component is a literal, or the beginning of a component; the empty beginning fits any component.
"""

from typing import NamedTuple

from fox_shard.topics.pattern import EXACT, ONE, PREFIX, Pattern
from fox_shard.topics.topic import is_reserved


class _Component(NamedTuple):
    """A literal if `whole`, or else the beginning of a component."""

    text: str
    whole: bool


_Shape = tuple[list[_Component], bool]
"""The components of a pattern, and whether others may follow."""

_ANY = _Component("", whole=False)


def overlap(one: Pattern, other: Pattern) -> bool:
    """Whether a topic may match both patterns. False is certain, True is not."""
    if one.begins_with_wildcard and _is_all_reserved(other):
        return False
    if other.begins_with_wildcard and _is_all_reserved(one):
        return False
    (first, first_rest), (second, second_rest) = _shape(one), _shape(other)
    if len(first) < len(second) and not first_rest:
        return False
    if len(second) < len(first) and not second_rest:
        return False
    return all(_component_overlaps(a, b) for a, b in zip(first, second, strict=False))


def _component_overlaps(one: _Component, other: _Component) -> bool:
    if one.whole and other.whole:
        return one.text == other.text
    if one.whole:
        return one.text.startswith(other.text)
    if other.whole:
        return other.text.startswith(one.text)
    return one.text.startswith(other.text) or other.text.startswith(one.text)


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Whether every topic that matches `narrow` matches `wide`. True is certain, False is not."""
    if wide.begins_with_wildcard and not narrow.begins_with_wildcard and _is_reserved(narrow):
        return False
    (outer, outer_rest), (inner, inner_rest) = _shape(wide), _shape(narrow)
    if len(outer) > len(inner) or (inner_rest and not outer_rest):
        return False
    if len(outer) < len(inner) and not outer_rest:
        return False
    return all(_component_covers(a, b) for a, b in zip(outer, inner, strict=False))


def _component_covers(wide: _Component, narrow: _Component) -> bool:
    if wide.whole:
        return narrow.whole and wide.text == narrow.text
    return narrow.text.startswith(wide.text)


def _is_reserved(pattern: Pattern) -> bool:
    """Whether a pattern that does not begin with a wildcard matches reserved topics."""
    first = pattern.components[0] if pattern.components else pattern.literal
    return first is not ONE and is_reserved(first)


def _is_all_reserved(pattern: Pattern) -> bool:
    """Whether a pattern matches reserved topics only. The prefix `wamp` matches `wampum`, too."""
    if pattern.begins_with_wildcard or not _is_reserved(pattern):
        return False
    return pattern.kind != PREFIX or "." in pattern.literal or pattern.literal.startswith("$")


def _shape(pattern: Pattern) -> _Shape:
    if pattern.kind == EXACT:
        return [_Component(part, whole=True) for part in pattern.literal.split(".")], False
    if pattern.kind == PREFIX:
        *path, last = pattern.literal.split(".")
        whole = [_Component(part, whole=True) for part in path]
        return [*whole, _Component(last, whole=False)], True
    if not pattern.components:
        # Every topic has a component.
        return [_ANY], pattern.rest
    return [
        _ANY if part is ONE else _Component(part, whole=True) for part in pattern.components
    ], pattern.rest
