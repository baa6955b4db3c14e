"""Comparing two patterns: whether they overlap, and whether one covers the other.

Owns: both comparisons, which may err on the safe side. Never: a pattern's own meaning (see
`pattern`).

For these comparisons a pattern has a shape: components, which others may or may not follow. Each
component is a literal, or the beginning of a component; the empty beginning fits any component. Who
compares one pattern with many keeps their shapes.
"""

from typing import NamedTuple

from fox_shard.topics.pattern import EXACT, ONE, PREFIX, Pattern
from fox_shard.topics.topic import is_reserved


class _Component(NamedTuple):
    """A literal if `whole`, or else the beginning of a component."""

    text: str
    whole: bool


_ANY = _Component("", whole=False)


class Shape(NamedTuple):
    """A pattern as it is compared. rest: whether other components may follow.

    no_reserved: it matches no reserved topics. all_reserved: it matches no others. some_reserved:
    it matches reserved topics, perhaps others, too.
    """

    components: tuple[_Component, ...]
    rest: bool
    no_reserved: bool
    some_reserved: bool
    all_reserved: bool


def shape_of(pattern: Pattern) -> Shape:
    """Return the shape of a pattern."""
    components, rest = _components(pattern)
    no_reserved = pattern.begins_with_wildcard
    some = not no_reserved and _is_reserved(pattern)
    return Shape(components, rest, no_reserved, some, some and _is_all_reserved(pattern))


def overlap(one: Shape, other: Shape) -> bool:  # noqa: C901 - compared with thousands of rules
    """Whether a topic may match both patterns. False is certain, True is not."""
    first, first_rest, no_reserved, _, all_reserved = one
    second, second_rest, other_no_reserved, _, other_all_reserved = other
    if (no_reserved and other_all_reserved) or (other_no_reserved and all_reserved):
        return False
    if len(first) < len(second) and not first_rest:
        return False
    if len(second) < len(first) and not second_rest:
        return False
    for (a, a_whole), (b, b_whole) in zip(first, second, strict=False):
        if a_whole and b_whole:
            if a != b:
                return False
        elif a_whole:
            if not a.startswith(b):
                return False
        elif not (b.startswith(a) or (not b_whole and a.startswith(b))):
            return False
    return True


def covers(wide: Shape, narrow: Shape) -> bool:
    """Whether every topic that matches `narrow` matches `wide`. True is certain, False is not."""
    if wide.no_reserved and narrow.some_reserved:
        return False
    outer, inner = wide.components, narrow.components
    if len(outer) > len(inner) or (narrow.rest and not wide.rest):
        return False
    if len(outer) < len(inner) and not wide.rest:
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
    """Whether a pattern with reserved topics has no others. The prefix `wamp` matches `wampum`."""
    return pattern.kind != PREFIX or "." in pattern.literal or pattern.literal.startswith("$")


def _components(pattern: Pattern) -> tuple[tuple[_Component, ...], bool]:
    if pattern.kind == EXACT:
        return tuple(_Component(part, whole=True) for part in pattern.literal.split(".")), False
    if pattern.kind == PREFIX:
        *path, last = pattern.literal.split(".")
        whole = [_Component(part, whole=True) for part in path]
        return (*whole, _Component(last, whole=False)), True
    if not pattern.components:
        # Every topic has a component.
        return (_ANY,), pattern.rest
    return tuple(
        _ANY if part is ONE else _Component(part, whole=True) for part in pattern.components
    ), pattern.rest
