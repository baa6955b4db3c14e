"""Conditions and filters: comparing a document with the fields that it must have.

Owns: the comparison, the operators. Never: where a document comes from.

A document meets a condition if it contains all the condition's fields. Objects are compared field
by field and recursively, everything else by JSON's equality, in which 1 equals 1.0, but not "1" or
true. A filter may have an object of operators in place of a value: `{"$gt": 5, "$lte": 9}`.
"""

from collections.abc import Callable
from types import NoneType
from typing import Any, Final, final

from fox_shard.errors import InvalidArgument

Document = dict[Any, Any]

DEEPEST: Final = 32
"""Maximum depth of objects and lists within a condition or filter, so that recursion is bounded."""


def check_levels(wanted: Document, option: str) -> None:
    """Raise InvalidArgument if `wanted` is too deep. option: its name, for the error."""
    level: list[Any] = [wanted]
    for _ in range(DEEPEST + 1):
        inside = [value for one in level for value in (one.values() if type(one) is dict else one)]
        level = [value for value in inside if isinstance(value, dict | list)]
        if not level:
            return
    raise InvalidArgument(f"the option {option}: more than {DEEPEST} levels")


def contains(document: Document, wanted: Document) -> bool:
    """Whether the document meets a condition; names of operators have no special meaning."""
    return all(name in document and _meets(document[name], wanted[name]) for name in wanted)


def _meets(value: object, wanted: object) -> bool:
    if isinstance(value, dict) and isinstance(wanted, dict):
        return contains(value, wanted)
    return equal(value, wanted)


def equal(one: object, other: object) -> bool:
    """Whether two values are equal in JSON: 1 equals 1.0, but not "1" or true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return type(one) is type(other) and one == other


class _Missing:
    """The type of `MISSING`, which stands for a field that is not there."""


MISSING: Final = _Missing()

Test = Callable[[object], bool]
"""A function that decides whether the value of a field, or `MISSING`, meets the filter."""


@final
class Filter:
    """A parsed filter, which documents are matched against."""

    __slots__ = ("_tests", "comparisons")

    def __init__(self, wanted: Document) -> None:
        """Parse the filter. Raises InvalidArgument, which says what is wrong with it."""
        if any(_is_operator(name) for name in wanted):
            raise InvalidArgument(
                "the option filter: operators stand in the place of a field's value, as in "
                '{"celsius": {"$gt": 20}}'
            )
        check_levels(wanted, "filter")
        self._tests = _tests_of(wanted)
        #: How many comparisons a document may take: as many as the filter has values.
        self.comparisons = _values_in(wanted)

    def matches(self, document: Document | None) -> bool:
        """Whether the document meets the filter. None (no document) counts as an empty document."""
        return _all_meet(self._tests, document or {})


def _values_in(wanted: object) -> int:
    """Return the number of values within a filter, whose levels are bounded."""
    if isinstance(wanted, dict):
        wanted = [*wanted.values()]
    return sum(1 + _values_in(value) for value in wanted) if isinstance(wanted, list) else 0


def _tests_of(wanted: Document) -> dict[Any, Test]:
    return {name: _test(value) for name, value in wanted.items()}


def _test(value: object) -> Test:
    if not isinstance(value, dict):
        return lambda found: found is not MISSING and equal(found, value)
    if any(_is_operator(name) for name in value):
        tests = [_operator(name, operand) for name, operand in value.items()]
        return lambda found: all(test(found) for test in tests)
    fields = _tests_of(value)
    return lambda found: isinstance(found, dict) and _all_meet(fields, found)


def _all_meet(tests: dict[Any, Test], document: Document) -> bool:
    return all(test(document.get(name, MISSING)) for name, test in tests.items())


def _is_operator(name: object) -> bool:
    return isinstance(name, str) and name[:1] == "$"


def _operator(name: object, operand: object) -> Test:
    make = _OPERATORS.get(str(name))
    if make is None:
        there_are = ", ".join(_OPERATORS)
        raise InvalidArgument(
            f"the option filter: there is no operator {name!r}; there are {there_are}"
        )
    return make(operand)


def _ordered(name: str, holds: Callable[[Any, Any], bool]) -> Callable[[object], Test]:
    """Return an ordering operator for numbers and for strings, which compare by code points."""

    def make(operand: object) -> Test:
        kind: Any = str if isinstance(operand, str) else (int, float)
        if isinstance(operand, bool) or not isinstance(operand, kind):
            raise InvalidArgument(f"the option filter: {name} takes a number or a text")

        def test(found: object) -> bool:
            comparable = isinstance(found, kind) and not isinstance(found, bool)
            return comparable and holds(found, operand)

        return test

    return make


def _not_equal(operand: object) -> Test:
    return lambda found: found is MISSING or not equal(found, operand)


def _one_of(operand: object) -> Test:
    if not isinstance(operand, list):
        raise InvalidArgument("the option filter: $in takes a list")
    scalars = frozenset(_alike(one) for one in operand if isinstance(one, _SCALARS))
    others = [one for one in operand if not isinstance(one, _SCALARS)]

    def test(found: object) -> bool:
        if isinstance(found, _SCALARS):  # at once, however long the list is
            return _alike(found) in scalars
        return found is not MISSING and any(equal(found, one) for one in others)

    return test


_SCALARS: Final = (str, int, float, bytes, NoneType)


def _alike(value: object) -> object:
    """Return what scalars have in common that are equal in JSON: 1 and 1.0, not 1 and true."""
    return (value,) if isinstance(value, bool) else value


def _exists(operand: object) -> Test:
    if not isinstance(operand, bool):
        raise InvalidArgument("the option filter: $exists takes true or false")
    return lambda found: (found is not MISSING) is operand


_OPERATORS: Final[dict[str, Callable[[object], Test]]] = {
    "$gt": _ordered("$gt", lambda found, operand: found > operand),
    "$gte": _ordered("$gte", lambda found, operand: found >= operand),
    "$lt": _ordered("$lt", lambda found, operand: found < operand),
    "$lte": _ordered("$lte", lambda found, operand: found <= operand),
    "$ne": _not_equal,
    "$in": _one_of,
    "$exists": _exists,
}
