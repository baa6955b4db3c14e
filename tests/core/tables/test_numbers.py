"""Numbers of tables: exact, of one kind, and bounded."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.tables.numbers import (
    DECIMAL,
    EXACT,
    LARGEST_FLOAT,
    NUMBER,
    NotANumber,
    average_of,
    number_of,
    result_of,
    text_of,
)


@pytest.mark.parametrize(
    ("value", "text", "result"),
    [
        ("0.10", "0.10", "0.10"),
        ("5", "5", "5"),
        ("+5", "5", "5"),
        ("-5.0", "-5.0", "-5.0"),
        ("-0.00", "0.00", "0.00"),
        ("-0", "0", "0"),
        ("007", "007", "7"),
        ("9" * 100, "9" * 100, "9" * 100),
        ("0." + "1" * 99, "0." + "1" * 99, "0." + "1" * 99),
    ],
)
def test_decimals(value, text, result):
    assert text_of(value, DECIMAL) == text
    assert result_of(number_of(text, DECIMAL), DECIMAL) == result


@pytest.mark.parametrize(
    "value",
    [
        *["", "x", "1.", ".5", "1e5", "1,5", " 1", "1 ", "0x1", "\u0665", "NaN", "Infinity", "--1"],
        *["1_0", "1" * 101, "0." + "1" * 100, "1" * 10**6, 5, 5.0, True, None, b"5", ["5"], {}],
    ],
)
def test_no_decimals(value):
    with pytest.raises(NotANumber):
        text_of(value, DECIMAL)


@pytest.mark.parametrize(
    ("value", "text", "result"),
    [
        (5, "5", 5),
        (5.0, "5", 5),
        (-0.0, "0", 0),
        (0.1, "0.1", 0.1),
        (1e-300, "1e-300", 1e-300),
        (1e199, "1e+199", 1e199),
        (2**200, str(2**200), 2**200),
        (10**100 - 1, "9" * 100, 10**100 - 1),
    ],
)
def test_numbers(value, text, result):
    assert text_of(value, NUMBER) == text
    back = result_of(number_of(text, NUMBER), NUMBER)
    assert back == result
    assert type(back) is type(result)


@pytest.mark.parametrize(
    "value",
    [
        *["5", True, None, b"5", [5], {}, 10**100, 10**400, -(10**400), 10**4200],
        *[float("nan"), float("inf"), -float("inf"), LARGEST_FLOAT, 1e308],
    ],
)
def test_no_numbers(value):
    with pytest.raises(NotANumber):
        text_of(value, NUMBER)


@given(
    st.floats(max_value=LARGEST_FLOAT, min_value=-LARGEST_FLOAT, exclude_max=True, exclude_min=True)
)
def test_every_float_comes_back(value):
    assert result_of(number_of(text_of(value, NUMBER), NUMBER), NUMBER) == value


@pytest.mark.parametrize(
    ("total", "count", "form", "kind", "average"),
    [
        ("6", 3, 0, NUMBER, 2),
        ("5", 2, 0, NUMBER, 2.5),
        ("1", 3, 0, NUMBER, 1 / 3),
        ("3.0", 2, 1, NUMBER, 1.5),
        ("4.0", 2, 1, NUMBER, 2.0),
        ("0.30", 3, 2, DECIMAL, "0.10"),
        ("0.05", 2, 2, DECIMAL, "0.025"),
        ("1", 3, 0, DECIMAL, "0.333333"),
        ("2", 3, 0, DECIMAL, "0.666667"),
        ("-2.00", 3, 2, DECIMAL, "-0.66666667"),
        ("0.0000000", 3, 2, DECIMAL, "0.00"),
        ("6", 3, 0, DECIMAL, "2"),
        ("100", 1, 0, DECIMAL, "100"),
        ("-0.000001", 10, 0, DECIMAL, "0"),
        ("0." + "0" * 97 + "1", 3, 98, DECIMAL, "0." + "0" * 98 + "33"),
        ("0." + "0" * 99 + "1", 3, 100, DECIMAL, "0." + "0" * 100),
    ],
)
def test_averages(total, count, form, kind, average):
    found = average_of(Decimal(total), count, form, kind)
    assert found == average
    assert type(found) is type(average)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**9), st.integers(0, 5))
def test_an_average_of_decimals_is_off_by_half_a_digit_at_most(total, count, form):
    found = average_of(Decimal(total).scaleb(-form, EXACT), count, form, DECIMAL)
    exact = Fraction(total, 10**form) / count
    assert abs(Fraction(found) - exact) <= Fraction(1, 2 * 10 ** (form + 6))
