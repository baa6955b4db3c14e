"""The arithmetic of groups: what is retracted leaves no trace."""

from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from invoices import pair

from fox_shard.tables.groups import Group
from fox_shard.tables.multiset import Multiset
from fox_shard.tables.numbers import Number
from fox_shard.tables.schema import TableSet

NAMES = ("sum", "count", "min", "max", "avg")


def every_function(amount):
    """Return a schema with each function of one field, and the count of all rows."""
    types = {name: {"type": amount} for name in NAMES} | {"count": {"type": "integer"}}
    results = {"group": {"type": "string"}, "rows": {"type": "integer"}, **types}
    functions = {name: [name] for name in NAMES} | {"count": ["count", "rows"]}
    edge = {"fields": dict.fromkeys(NAMES, "n")}
    return TableSet.parse(
        pair(edge=edge, target={"properties": results}, amount=amount, **functions)
    )


def group_of(schema, documents):
    group = Group(schema.tables["b"].aggregate)
    for document in documents:
        group.add(numbers_of(schema, document))
    return group


def numbers_of(schema, value):
    row = {"id": "x", "group": "g"} | ({} if value is None else {"n": value})
    (contribution,) = schema.tables["a"].check(row)
    return contribution.numbers


NUMBERS, DECIMALS = every_function("number"), every_function("string")


@pytest.mark.parametrize(
    ("schema", "values", "results"),
    [
        (DECIMALS, ["0.10", "0.20"], ("0.30", 2, "0.10", "0.20", "0.15")),
        (DECIMALS, ["9", "10"], ("19", 2, "9", "10", "9.5")),
        (DECIMALS, ["1.5", "-1.500"], ("0.000", 2, "-1.500", "1.5", "0.000")),
        (NUMBERS, [0.1, 0.2], (0.3, 2, 0.1, 0.2, 0.15)),
        (NUMBERS, [2**53, 1], (2**53 + 1, 2, 1, 2**53, 4503599627370496.5)),
        (NUMBERS, [1, 2.5], (3.5, 2, 1, 2.5, 1.75)),
        (NUMBERS, [1e199, 1, -1e199], (1.0, 3, -1e199, 1e199, 1 / 3)),
        (NUMBERS, [None, 5], (5, 1, 5, 5, 5)),
        (NUMBERS, [None], (None, 0, None, None, None)),
    ],
)
def test_results(schema, values, results):
    found = group_of(schema, values).results()
    assert found == dict(zip(NAMES, results, strict=True)) | {"rows": len(values)}


def test_the_minimum_after_the_minimum_was_retracted():
    group = group_of(DECIMALS, ["3", "1", "2"])
    group.retract(numbers_of(DECIMALS, "1"))
    assert group.results()["min"] == "2"


def test_one_of_two_equal_minimums_is_retracted():
    group = group_of(NUMBERS, [1, 1, 2])
    group.retract(numbers_of(NUMBERS, 1))
    assert group.results()["min"] == 1


def test_digits_go_with_the_number_that_had_them():
    group = group_of(DECIMALS, ["1", "0.001"])
    assert group.results()["sum"] == "1.001"
    group.retract(numbers_of(DECIMALS, "0.001"))
    assert group.results()["sum"] == "1"


def test_a_sum_of_integers_is_an_integer_again_without_the_float():
    group = group_of(NUMBERS, [2**60, 0.5])
    group.retract(numbers_of(NUMBERS, 0.5))
    assert group.results()["sum"] == 2**60
    assert type(group.results()["sum"]) is int


def test_the_last_row_of_a_group():
    group = group_of(NUMBERS, [5])
    group.retract(numbers_of(NUMBERS, 5))
    assert group.rows == 0
    assert group.results() == group_of(NUMBERS, []).results()


class Retractions(RuleBasedStateMachine):
    """A group against one that is computed anew from the rows that there are."""

    schema = NUMBERS
    values = st.none()

    def __init__(self):
        super().__init__()
        self.group = group_of(self.schema, [])
        self.present = []

    @rule(data=st.data())
    def add(self, data):
        value = data.draw(self.values)
        self.group.add(numbers_of(self.schema, value))
        self.present.append(value)

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def retract(self, data):
        index = data.draw(st.integers(0, len(self.present) - 1))
        self.group.retract(numbers_of(self.schema, self.present.pop(index)))

    @invariant()
    def is_as_computed_anew(self):
        found, wanted = self.group.results(), group_of(self.schema, self.present).results()
        assert found == wanted
        assert list(map(type, found.values())) == list(map(type, wanted.values()))
        assert self.group.rows == len(self.present)


class NumberRetractions(Retractions):
    values = (
        st.none()
        | st.integers(-3, 3)
        | st.integers(-(10**99), 10**99)
        | st.floats(-1e199, 1e199)
        | st.sampled_from([0.1, 0.2, -0.0, 5e-324])
    )


class DecimalRetractions(Retractions):
    schema = DECIMALS
    values = st.none() | st.from_regex(r"\A[+-]?[0-9]{1,3}(\.[0-9]{1,3})?\Z") | st.just("9" * 99)


TestNumberRetractions = NumberRetractions.TestCase
TestDecimalRetractions = DecimalRetractions.TestCase


@given(st.lists(st.from_regex(r"\A-?[0-9]{1,20}(\.[0-9]{1,20})?\Z"), min_size=1))
def test_a_sum_of_decimals_is_exact(values):
    assert Fraction(group_of(DECIMALS, values).results()["sum"]) == sum(map(Fraction, values))


class TestMultiset:
    @given(st.lists(st.integers(-50, 50)), st.data())
    def test_agrees_with_counting(self, numbers, data):
        found, counted = Multiset(), Counter()
        for value in numbers:
            number = Number(Decimal(value), 0)
            found.add(number)
            counted[number] += 1
            if data.draw(st.booleans()):
                gone = data.draw(st.sampled_from(sorted(counted)))
                found.remove(gone)
                counted[gone] -= 1
                counted += Counter()
            assert len(found) == len(counted)
            if counted:
                assert (found.least, found.greatest) == (min(counted), max(counted))

    def test_of_many_numbers(self):
        found = Multiset()
        for value in range(5000):
            found.add(Number(Decimal(value * 7 % 5003), 0))
        for value in range(5000):
            found.remove(Number(Decimal(value * 7 % 5003), 0))
            left = {v * 7 % 5003 for v in range(value + 1, min(5000, value + 2))}
            assert len(found) == 4999 - value
            assert all(found.least.value <= v <= found.greatest.value for v in left)
        assert not found

    def test_removing_what_is_not_there_is_a_mistake(self):
        with pytest.raises(KeyError):
            Multiset().remove(Number(Decimal(1), 0))
