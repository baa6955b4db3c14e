"""The built-in functions of reducers.

Owns: what each makes of a key's present value and of an event's. Never: keys, events.

Each function gets the present value (None: there is no key) and the event's, and returns the new
one. Numbers are added up exactly (see `tables.numbers`).
"""

from collections.abc import Callable
from typing import Any, Final, final

from fox_shard.documents.merge_patch import merged
from fox_shard.documents.payloads import as_one
from fox_shard.errors import InvalidPayload
from fox_shard.tables.numbers import (
    DECIMAL,
    EXACT,
    NUMBER,
    NotANumber,
    Number,
    average_of,
    number_of,
    result_of,
    text_of,
)

Value = Any

SMALL: Final = 1 << 53
"""Integers below this are added without a look at their digits."""


class Unchanged(Exception):
    """The event has no value for the function, as its field is missing or null."""


def _kind(value: Value) -> str:
    return DECIMAL if isinstance(value, str) else NUMBER


def _number(value: Value, kind: str, whose: str) -> Number:
    if _kind(value) != kind:
        raise InvalidPayload(
            "the key's value and the event's are not of one kind: both must be numbers, or both "
            'decimal numbers in strings, such as "12.50"'
        )
    try:
        return number_of(text_of(value, kind), kind)
    except NotANumber as error:
        raise InvalidPayload(f"the {whose} value {error}") from None


def _both(present: Value, value: Value) -> tuple[Number, Number, str]:
    kind = _kind(value)
    return _number(present, kind, "key's"), _number(value, kind, "event's"), kind


def _checked(value: Value) -> Value:
    """Return the first number of a key. Raises InvalidPayload if it is none."""
    kind = _kind(value)
    return result_of(_number(value, kind, "event's"), kind)


def total(present: Value, value: Value, _limit: int) -> Value:
    """Add the event's number."""
    if type(present) is int and type(value) is int and -SMALL < present < SMALL > value > -SMALL:
        return present + value
    if present is None:
        return _checked(value)
    one, other, kind = _both(present, value)
    added = EXACT.add(one.value, other.value)
    result = result_of(Number(added, max(one.form, other.form)), kind)
    _number(result, kind, "sum's")
    return result


def count(present: Value, _value: Value, _limit: int) -> Value:
    """Count the event."""
    if present is None:
        return 1
    if type(present) is not int or present < 0:
        raise InvalidPayload("the key's value is no count: erase it first")
    return present + 1


def least(present: Value, value: Value, _limit: int) -> Value:
    """Keep the lower number."""
    if present is None:
        return _checked(value)
    one, other, kind = _both(present, value)
    return result_of(min(one, other), kind)


def greatest(present: Value, value: Value, _limit: int) -> Value:
    """Keep the higher number."""
    if present is None:
        return _checked(value)
    one, other, kind = _both(present, value)
    return result_of(max(one, other), kind)


def average(present: Value, value: Value, limit: int) -> Value:
    """Keep the average, with the sum and the count that it is made of."""
    before: Value = {"sum": None, "count": None} if present is None else present
    if not isinstance(before, dict) or not {"sum", "count"} <= before.keys():
        raise InvalidPayload("the key's value is no average, with sum and count: erase it first")
    added = total(before["sum"], value, limit)
    number = count(before["count"], value, limit)
    kind = _kind(added)
    exact = _number(added, kind, "sum's")
    return {
        "avg": average_of(exact.value, number, exact.form, kind),
        "sum": added,
        "count": number,
    }


def last(_present: Value, value: Value, _limit: int) -> Value:
    """Keep the event's value."""
    return value


def merge(present: Value, value: Value, _limit: int) -> Value:
    """Merge the event's document into the key's (RFC 7386)."""
    if not isinstance(value, dict):
        raise InvalidPayload("what is merged must be an object")
    return merged(present, value)


def append(present: Value, value: Value, limit: int) -> Value:
    """Append the event's value to the list that the key is; the oldest ones go."""
    if present is not None and not isinstance(present, list):
        raise InvalidPayload("the key's value is no list: erase it first")
    return [*(present or []), value][-limit:]


FUNCTIONS: Final[dict[str, Callable[[Value, Value, int], Value]]] = {
    "sum": total,
    "count": count,
    "min": least,
    "max": greatest,
    "avg": average,
    "last": last,
    "merge": merge,
    "append": append,
}
"""The functions by their names in the configuration."""


@final
class Function:
    """A built-in function with its parameters.

    field: of the event's document, whose value counts; "": the event's first argument, or (last,
    append) all of its arguments. limit: elements of a list. of_documents: the event's document
    counts.
    """

    __slots__ = ("field", "function", "limit", "name", "of_documents")

    def __init__(self, name: str, field: str, limit: int) -> None:
        self.name = name
        self.function = FUNCTIONS[name]
        self.field = field
        self.limit = limit
        self.of_documents = bool(field) or name == "merge"

    def value(self, document: dict[Any, Any] | None) -> Value:
        """Return the value of an event's document. Raises Unchanged if there is none."""
        if not self.field:
            return document
        value = (document or {}).get(self.field)
        if value is None and self.function is not last:
            raise Unchanged
        return value

    def value_of(self, args: list[Value], kwargs: dict[Any, Value]) -> Value:
        """Return the value of an event's arguments. Raises Unchanged if there is none."""
        if self.function is last or self.function is append:
            return as_one(args, kwargs) if args or kwargs else None
        value = args[0] if args else None
        if value is None and self.function is not count:
            raise Unchanged
        return value

    def fold(self, present: Value, value: Value) -> Value:
        """Return the key's new value. Raises InvalidPayload."""
        return self.function(present, value, self.limit)
