"""Built-in functions: what each makes of a key's value and an event's."""

import pytest

from fox_shard.errors import InvalidPayload
from fox_shard.shard.reducers.functions import FUNCTIONS, Function, Unchanged


def folded(name, *values, present=None, limit=3):
    function = Function(name, "", limit)
    for value in values:
        present = function.fold(present, value)
    return present


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("sum", (1, 2, 3), 6),
        ("sum", (-(2**53), 2**60, 1), 2**60 - 2**53 + 1),
        ("sum", (10**90, 1), 10**90 + 1),
        ("sum", (0.1, 0.2), 0.3),
        ("sum", (1, 0.5), 1.5),
        ("sum", ("0.10", "0.20"), "0.30"),
        ("sum", ("1", "0.5"), "1.5"),
        ("sum", (7,), 7),
        ("min", (3, 1, 2), 1),
        ("min", (0.5, -1), -1),
        ("min", ("3.0", "12", "2.50"), "2.50"),
        ("max", (3, 10, 2), 10),
        ("max", ("9", "10.0"), "10.0"),
        ("count", (None, None, None), 3),
        ("avg", (1, 2), {"avg": 1.5, "sum": 3, "count": 2}),
        ("avg", (1, 3), {"avg": 2, "sum": 4, "count": 2}),
        ("avg", ("0.10", "0.20"), {"avg": "0.15", "sum": "0.30", "count": 2}),
        ("last", (1, {"a": 1}), {"a": 1}),
        ("last", (1, None), None),
        ("merge", ({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"d": 2}}), {"b": {"c": 1, "d": 2}}),
        ("append", (1, [2], "x", None), [[2], "x", None]),
    ],
)
def test_values_are_folded(name, values, result):
    assert folded(name, *values) == result
    assert type(folded(name, *values)) is type(result)


@pytest.mark.parametrize(
    ("name", "present", "value", "says"),
    [
        ("sum", None, "x", "no decimal number"),
        ("sum", None, {}, "no number"),
        ("sum", None, True, "no number"),
        ("sum", 1, True, "no number"),
        ("sum", True, 1, "no number"),
        ("sum", 1, "1", "not of one kind"),
        ("sum", "1", 1, "not of one kind"),
        ("sum", 1, 10**400, "longer"),
        ("sum", 10**100 - 1, 1, "longer"),
        ("sum", 1, float("nan"), "number"),
        ("sum", [1], 1, "no number"),
        ("min", 1, "1", "not of one kind"),
        ("max", "abc", "1", "no decimal number"),
        ("count", "x", None, "no count"),
        ("count", 1.5, None, "no count"),
        ("avg", 3, 1, "no average"),
        ("avg", {"sum": "1", "count": 1}, 1, "not of one kind"),
        ("count", -1, None, "no count"),
        ("avg", {"sum": 1, "count": -1}, 1, "no count"),
        ("merge", {}, 5, "object"),
        ("append", {"a": 1}, 5, "no list"),
    ],
)
def test_what_cannot_be_folded_is_refused(name, present, value, says):
    with pytest.raises(InvalidPayload, match=says):
        folded(name, value, present=present)


@pytest.mark.parametrize(
    ("name", "field", "document", "value"),
    [
        ("sum", "n", {"n": 5}, 5),
        ("last", "n", {}, None),
        ("last", "n", None, None),
        ("count", "n", {"n": 5}, 5),
        ("merge", "", {"n": 5}, {"n": 5}),
        ("merge", "n", {"n": {"a": 1}}, {"a": 1}),
    ],
)
def test_a_field_is_taken_from_the_document(name, field, document, value):
    assert Function(name, field, 1).value(document) == value


@pytest.mark.parametrize("name", sorted({*FUNCTIONS} - {"last"}))
@pytest.mark.parametrize("document", [None, {}, {"n": None}])
def test_an_event_without_the_field_changes_nothing(name, document):
    with pytest.raises(Unchanged):
        Function(name, "n", 1).value(document)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "value"),
    [
        ("sum", [5, 6], {}, 5),
        ("count", [], {}, None),
        ("last", [5, 6], {}, [5, 6]),
        ("last", [5], {}, 5),
        ("last", [], {"a": 1}, {"a": 1}),
        ("last", [], {}, None),
        ("append", [5], {"a": 1}, {"args": [5], "kwargs": {"a": 1}}),
    ],
)
def test_without_a_field_the_arguments_count(name, args, kwargs, value):
    assert Function(name, "", 1).value_of(args, kwargs) == value


@pytest.mark.parametrize("name", ["sum", "min", "max", "avg"])
@pytest.mark.parametrize("args", [[], [None]])
def test_an_event_without_a_number_changes_nothing(name, args):
    with pytest.raises(Unchanged):
        Function(name, "", 1).value_of(args, {})
