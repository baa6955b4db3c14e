"""Numbers of tables: integers, JSON numbers and decimals, added up without an error.

Owns: which values are numbers, their texts in contributions, the values of results.
Never: which field of which table is a number.

A field of kind NUMBER holds JSON numbers, one of kind DECIMAL strings such as "0.10". What is added
up is exact in both: a float counts as the decimal number as which it is printed, so 0.1 and 0.2 are
0.3. The *text* of a number is how contributions hold it: digits, and for a float what Python
prints. The *form* of a number is what a result inherits of it: for DECIMAL the digits after the
point, so that "0.10" and "0.20" are "0.30"; for NUMBER 0 of an integer and 1 of a float.
"""

import re
from decimal import (
    ROUND_HALF_EVEN,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)
from fractions import Fraction
from typing import Final, NamedTuple

from fox_shard.documents.numbers import whole

NUMBER: Final = "number"
DECIMAL: Final = "decimal"

LONGEST: Final = 100
"""The digits that an integer or a decimal may have that is published."""

LARGEST_FLOAT: Final = 1e200
"""Floats must be smaller, so that no sum of them is infinite."""

LONGEST_RESULT: Final = 1000
"""The digits of a result that contributes to another aggregate.

A sum of 10^n numbers has at most n digits more than the longest of them, and no number has more
than MOST_PLACES after the point; so no result of rows that a disk can hold is longer.
"""

LARGEST_RESULT_FLOAT: Final = 1e300
"""The same for floats."""

EXTRA_PLACES: Final = 6
"""Digits after the point that an average of decimals may have beyond those of its numbers."""

MOST_PLACES: Final = 100
"""Digits after the point that an average of decimals may have, also if it is one of averages."""

_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")

# Digits enough for any sum: floats have up to 200 before the point and 341 behind. An operation
# that would round is a mistake of this module, so it raises.
EXACT: Final = Context(
    prec=2000,
    rounding=ROUND_HALF_EVEN,
    Emin=-100_000,
    Emax=100_000,
    traps=[Clamped, DivisionByZero, FloatOperation, Inexact, InvalidOperation, Overflow, Underflow],
)
_ROUNDING: Final = Context(prec=2000, rounding=ROUND_HALF_EVEN, Emin=-100_000, Emax=100_000)


class NotANumber(ValueError):
    """A value that its field cannot hold; the message ends a sentence that begins with it."""


class Number(NamedTuple):
    """A number with its form; numbers sort by value, equal ones by form."""

    value: Decimal
    form: int


def text_of(value: object, kind: str, *, computed: bool = False) -> str:
    """Return the text of a field's value. Raises NotANumber.

    computed: whether the value is the result of an aggregate, which may be longer.
    """
    digits = LONGEST_RESULT if computed else LONGEST
    if kind == DECIMAL:
        return _decimal_text(value, digits)
    return _number_text(value, digits, LARGEST_RESULT_FLOAT if computed else LARGEST_FLOAT)


def _decimal_text(value: object, most: int) -> str:
    if not isinstance(value, str):
        raise NotANumber('is no decimal number in a string, such as "12.50"')
    if len(value) > most + 2:
        raise NotANumber(f"is longer than a decimal number may be ({most} digits)")
    if _DECIMAL.fullmatch(value) is None:
        raise NotANumber('is no decimal number, such as "12.50"')
    digits = value.lstrip("+-")
    if len(digits) - ("." in digits) > most:
        raise NotANumber(f"is longer than a decimal number may be ({most} digits)")
    negative = value[0] == "-" and digits.strip("0.")
    return f"-{digits}" if negative else digits


def _number_text(value: object, most: int, largest_float: float) -> str:
    value = whole(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotANumber("is no number")
    if isinstance(value, int):
        if value.bit_length() > _BITS[most] or abs(value) >= 10**most:
            raise NotANumber(f"is longer than a number may be ({most} digits)")
        return str(value)
    if not abs(value) < largest_float:  # also NaN
        raise NotANumber(f"is not less than {largest_float:g}, or no number")
    return repr(value)


_BITS: Final = {most: (10**most).bit_length() for most in (LONGEST, LONGEST_RESULT)}


def number_of(text: str, kind: str) -> Number:
    """Return the number with this text."""
    if kind == DECIMAL:
        point = text.find(".")
        return Number(Decimal(text), len(text) - point - 1 if point >= 0 else 0)
    return Number(Decimal(text), 0 if text.lstrip("-").isdigit() else 1)


def result_of(number: Number, kind: str) -> int | float | str:
    """Return a number as the value of a field: an int, a float, or a string if it is a DECIMAL."""
    if kind == DECIMAL:
        return _fixed(number.value, number.form)
    return float(number.value) if number.form else int(number.value)


def average_of(total: Decimal, count: int, form: int, kind: str) -> int | float | str:
    """Return the average of `count` numbers.

    Of DECIMAL numbers the result has the digits of the most exact one, and up to EXTRA_PLACES more
    if they are needed, but not more than MOST_PLACES for it; the last is rounded half to even. Of
    NUMBERs the result is the nearest
    float, or an int if all numbers are ints and it is whole.
    """
    if kind == DECIMAL:
        extra = max(0, min(EXTRA_PLACES, MOST_PLACES - form))
        rounded = _rounded(Fraction(total) / count, form + extra)
        text = _fixed(rounded, form + extra)
        least = len(text) - extra
        return (text[:least] + text[least:].rstrip("0")).rstrip(".")
    quotient = Fraction(total) / count
    return int(quotient) if not form and quotient.denominator == 1 else float(quotient)


def _rounded(value: Fraction, places: int) -> Decimal:
    scaled: int = round(value * 10**places)  # half to even
    return Decimal(scaled).scaleb(-places, _ROUNDING)


def _fixed(value: Decimal, places: int) -> str:
    """Return a value with exactly this number of digits after the point, never "-0"."""
    text = format(value.quantize(Decimal(1).scaleb(-places, EXACT), context=EXACT), "f")
    return text.lstrip("-") if not value else text
