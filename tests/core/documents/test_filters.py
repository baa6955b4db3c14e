"""Containment and filters: which documents meet them (semantics.md: `when`, `filter`)."""

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.documents.filters import DEEPEST, Filter, contains, equal
from fox_shard.errors import InvalidArgument

EQUALITY = [
    ({}, {}, True),
    ({"a": 1}, {}, True),
    ({"a": 1}, {"a": 1}, True),
    ({"a": 1}, {"a": 1.0}, True),
    ({"a": 1}, {"a": "1"}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": True}, {"a": True}, True),
    ({"a": 0}, {"a": False}, False),
    ({"a": None}, {"a": None}, True),
    ({"a": None}, {"a": False}, False),
    ({}, {"a": None}, False),
    ({"a": 1, "b": 2}, {"b": 2}, True),
    ({"a": 1}, {"b": 1}, False),
    ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, True),
    ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, False),
    ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1.0}}}, True),
    ({"a": {"b": {"c": 1}}}, {"a": {"b": {}}}, True),
    ({"a": {"b": 1}}, {"a": 1}, False),
    ({"a": 1}, {"a": {"b": 1}}, False),
    ({"a": 1}, {"a": {}}, False),
    ({"a": {}}, {"a": []}, False),
    ({"a": []}, {"a": {}}, False),
    ({"a": [1, 2]}, {"a": [1, 2.0]}, True),
    ({"a": [1, 2]}, {"a": [2, 1]}, False),
    ({"a": [1, 2]}, {"a": [1]}, False),
    ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, False),
    ({"a": [{"b": 1}]}, {"a": [{"b": 1.0}]}, True),
    ({"a": [1]}, {"a": [True]}, False),
    ({"a": "x"}, {"a": b"x"}, False),
    ({"a": b"x"}, {"a": b"x"}, True),
    ({"": 1}, {"": 1}, True),
    ({1: 1}, {1: 1}, True),
    ({1: 1}, {"1": 1}, False),
]


@pytest.mark.parametrize(("document", "wanted", "holds"), EQUALITY)
def test_containment_follows_the_semantics(document, wanted, holds):
    assert contains(document, wanted) is holds


@pytest.mark.parametrize(("document", "wanted", "holds"), EQUALITY)
def test_a_filter_without_operators_is_containment(document, wanted, holds):
    assert Filter(wanted).matches(document) is holds


@pytest.mark.parametrize(
    ("test", "found", "holds"),
    [
        ({"$gt": 5}, 6, True),
        ({"$gt": 5}, 5.5, True),
        ({"$gt": 5}, 5, False),
        ({"$gte": 5}, 5.0, True),
        ({"$gte": 5}, 4, False),
        ({"$lt": 5}, 4, True),
        ({"$lt": 5}, 5, False),
        ({"$lte": 5}, 5, True),
        ({"$lte": 5}, 6, False),
        ({"$gt": 5}, "6", False),
        ({"$gt": 0}, True, False),
        ({"$gt": 5}, None, False),
        ({"$gt": 5}, [6], False),
        ({"$gt": 5}, {"$gt": 6}, False),
        ({"$gt": "b"}, "c", True),
        ({"$gt": "b"}, "B", False),
        ({"$gt": "b"}, "ä", True),
        ({"$lt": "b"}, 1, False),
        ({"$lt": "b"}, b"a", False),
        ({"$gte": ""}, "", True),
        ({"$ne": 1}, 2, True),
        ({"$ne": 1}, 1.0, False),
        ({"$ne": 1}, True, True),
        ({"$ne": [1]}, [1], False),
        ({"$ne": {"b": 1}}, {"b": 1}, False),
        ({"$ne": {"b": 1}}, {"b": 1, "c": 2}, True),
        ({"$in": [1, 2]}, 2.0, True),
        ({"$in": [1, 2]}, "1", False),
        ({"$in": [1]}, True, False),
        ({"$in": [[1, 2]]}, [1, 2], True),
        ({"$in": [None]}, None, True),
        ({"$in": []}, 1, False),
        ({"$exists": True}, None, True),
        ({"$exists": True}, 0, True),
        ({"$exists": False}, None, False),
        ({"$gt": 1, "$lt": 3}, 2, True),
        ({"$gt": 1, "$lt": 3}, 3, False),
        ({"$gt": 3, "$lt": 1}, 2, False),
        ({"$ne": 2, "$in": [1, 2]}, 1, True),
        ({"$ne": 2, "$in": [1, 2]}, 2, False),
    ],
)
def test_an_operator_tests_the_value_of_its_field(test, found, holds):
    """semantics.md, `filter`: numbers compare with numbers, strings with strings by code points."""
    assert Filter({"a": test}).matches({"a": found}) is holds
    assert Filter({"b": {"a": test}}).matches({"b": {"a": found}, "c": 1}) is holds


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ({"$gt": 5}, False),
        ({"$gte": 5}, False),
        ({"$lt": 5}, False),
        ({"$lte": 5}, False),
        ({"$ne": 1}, True),
        ({"$in": [1]}, False),
        ({"$in": [None]}, False),
        ({"$exists": True}, False),
        ({"$exists": False}, True),
        ({"$exists": False, "$ne": 1}, True),
        (None, False),
        ({}, False),
        ({"b": {"$exists": False}}, False),
    ],
)
def test_a_missing_field_meets_only_ne_and_exists_false(test, holds):
    wanted = Filter({"a": test})
    for document in ({}, {"b": 1}, None):
        assert wanted.matches(document) is holds


def test_a_document_must_meet_all_fields_of_a_filter():
    wanted = Filter({"a": 1, "b": {"$gt": 1}, "c": {"d": {"$exists": True}}})
    assert wanted.matches({"a": 1, "b": 2, "c": {"d": None}, "e": 0})
    assert not wanted.matches({"a": 2, "b": 2, "c": {"d": None}})
    assert not wanted.matches({"a": 1, "b": 1, "c": {"d": None}})
    assert not wanted.matches({"a": 1, "b": 2, "c": {}})


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ({"$near": 1}, "no operator '$near'; there are $gt, $gte, $lt, $lte, $ne, $in, $exists"),
        ({"$": 1}, "no operator '$'"),
        ({"$GT": 1}, "no operator '$GT'"),
        ({"$gt": 1, "b": 1}, "no operator 'b'"),
        ({"$gt": 1, 2: 1}, "no operator 2"),
        ({"$gt": None}, "$gt takes a number or a text"),
        ({"$gte": True}, "$gte takes a number or a text"),
        ({"$lt": [1]}, "$lt takes a number or a text"),
        ({"$lte": b"x"}, "$lte takes a number or a text"),
        ({"$in": 1}, "$in takes a list"),
        ({"$in": {"a": 1}}, "$in takes a list"),
        ({"$in": "ab"}, "$in takes a list"),
        ({"$exists": 1}, "$exists takes true or false"),
        ({"$exists": None}, "$exists takes true or false"),
    ],
)
def test_a_bad_operator_is_refused_and_named(test, says):
    for wanted in ({"a": test}, {"a": 1, "b": {"c": test}}):
        with pytest.raises(InvalidArgument) as refused:
            Filter(wanted)
        assert refused.value.message.startswith("the option filter: ")
        assert says in refused.value.message


def nested(levels, inside):
    for _ in range(levels):
        inside = {"a": inside}
    return inside


def test_a_filter_has_at_most_the_allowed_levels():
    deepest = nested(DEEPEST, {"a": 1})
    assert Filter(deepest).matches(nested(DEEPEST, {"a": 1.0, "b": 2}))
    assert not Filter(deepest).matches(nested(DEEPEST, {"a": 2}))
    with pytest.raises(InvalidArgument, match=f"more than {DEEPEST} levels"):
        Filter(nested(DEEPEST + 1, {"a": 1}))


def test_an_operator_in_the_place_of_a_field_is_refused():
    """Without the error, a subscriber could not see why it gets no events."""
    with pytest.raises(InvalidArgument, match="in the place of a field's value"):
        Filter({"$gt": 5})


@pytest.mark.parametrize("wrap", [lambda one: [one], lambda one: {"$in": [one]}])
def test_lists_count_as_levels_of_a_filter(wrap):
    inside = 1
    for _ in range(DEEPEST + 1):
        inside = wrap(inside)
    with pytest.raises(InvalidArgument, match=f"more than {DEEPEST} levels"):
        Filter({"a": inside})


# Comparison with a naive implementation

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "", "1", "b"])
NAMES = st.sampled_from("abc")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ORDERED = st.integers(-2, 2) | st.sampled_from([0.5, "", "1", "b"])
TESTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), ORDERED),
        "$ne": VALUES,
        "$in": st.lists(VALUES, max_size=3),
        "$exists": st.booleans(),
    },
)
WANTED = st.recursive(
    st.dictionaries(NAMES, VALUES | TESTS, max_size=3),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=2),
    max_leaves=3,
)
COMPARE = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def sort_of(value):
    """Return the sort of a value; values of different sorts are neither equal nor in order."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def same(one, other):
    if sort_of(one) != sort_of(other):
        return False
    if isinstance(one, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same(a, b) for a, b in pairs)
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    return one == other


def holds(name, operand, present, found):
    if name == "$exists":
        return present is operand
    if name == "$ne":
        return not (present and same(found, operand))
    if name == "$in":
        return present and any(same(found, one) for one in operand)
    in_order = present and sort_of(found) == sort_of(operand)
    return in_order and COMPARE[name](found, operand)


def naive(document, wanted):
    for field, want in wanted.items():
        present, found = field in document, document.get(field)
        if isinstance(want, dict) and any(name.startswith("$") for name in want):
            if not all(holds(name, operand, present, found) for name, operand in want.items()):
                return False
        elif isinstance(want, dict):
            if not (isinstance(found, dict) and naive(found, want)):
                return False
        elif not (present and same(found, want)):
            return False
    return True


@given(st.dictionaries(NAMES, VALUES, max_size=3), WANTED)
def test_a_filter_agrees_with_its_definition(document, wanted):
    assert Filter(wanted).matches(document) is naive(document, wanted)


@given(st.dictionaries(NAMES, VALUES, max_size=3), st.dictionaries(NAMES, VALUES, max_size=2))
def test_containment_agrees_with_its_definition(document, wanted):
    assert contains(document, wanted) is naive(document, wanted)
    assert contains(document, document)


@given(VALUES, VALUES)
def test_equality_is_symmetric(one, other):
    assert equal(one, other) is equal(other, one) is same(one, other)
    assert equal(one, one)
