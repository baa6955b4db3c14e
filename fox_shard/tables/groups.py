"""Groups: the arithmetic of an aggregate's functions over the rows that contribute to a group.

Owns: adding and retracting numbers, the results. Never: which rows there are, topics, the store.

What is retracted leaves no trace: after any additions and retractions a group has the results that
it would have had without the numbers that are no longer there, to the last digit.
"""

from collections import Counter
from decimal import Decimal
from typing import Any, Final, Protocol, final

from fox_shard.tables.multiset import Multiset
from fox_shard.tables.numbers import EXACT, Number, average_of, number_of, result_of
from fox_shard.tables.table import AVG, COUNT, MAX, MIN, SUM, Aggregate, Function, Numbers


@final
class Group:
    """The rows of one group, as far as its functions need to know them."""

    __slots__ = ("_columns", "rows")

    def __init__(self, aggregate: Aggregate) -> None:
        #: How many rows contribute; with none of them there is no group.
        self.rows = 0
        self._columns = [_COLUMNS[function.name](function) for function in aggregate.functions]

    def add(self, numbers: Numbers) -> None:
        """Add what a row contributes."""
        self.rows += 1
        for column, text in zip(self._columns, numbers, strict=True):
            if text is not None:
                column.add(text)

    def retract(self, numbers: Numbers) -> None:
        """Take back what a row has contributed, which must be just what was added."""
        self.rows -= 1
        for column, text in zip(self._columns, numbers, strict=True):
            if text is not None:
                column.retract(text)

    def results(self) -> dict[str, Any]:
        """Return the results by column; None of a function that no row contributes to."""
        return {column.function.target: column.result() for column in self._columns}


class _Column(Protocol):
    function: Function

    def add(self, text: str) -> None: ...

    def retract(self, text: str) -> None: ...

    def result(self) -> object: ...


@final
class _Count:
    """A count of rows, or of the rows that have a field."""

    __slots__ = ("_count", "function")

    def __init__(self, function: Function) -> None:
        self.function = function
        self._count = 0

    def add(self, _: str) -> None:
        self._count += 1

    def retract(self, _: str) -> None:
        self._count -= 1

    def result(self) -> object:
        return self._count


@final
class _Total:
    """A sum or an average."""

    __slots__ = ("_forms", "_total", "function")

    def __init__(self, function: Function) -> None:
        self.function = function
        self._total = Decimal(0)
        #: How many of the numbers have each form: the highest is the result's.
        self._forms: Counter[int] = Counter()

    def add(self, text: str) -> None:
        number = number_of(text, self.function.kind)
        self._total = EXACT.add(self._total, number.value)
        self._forms[number.form] += 1

    def retract(self, text: str) -> None:
        number = number_of(text, self.function.kind)
        self._total = EXACT.subtract(self._total, number.value)
        self._forms[number.form] -= 1
        if not self._forms[number.form]:
            del self._forms[number.form]

    def result(self) -> object:
        if not self._forms:
            return None
        form, kind = max(self._forms), self.function.kind
        if self.function.name == AVG:
            return average_of(self._total, self._forms.total(), form, kind)
        return result_of(Number(self._total, form), kind)


@final
class _Extreme:
    """A minimum or a maximum."""

    __slots__ = ("_numbers", "function")

    def __init__(self, function: Function) -> None:
        self.function = function
        self._numbers = Multiset()

    def add(self, text: str) -> None:
        self._numbers.add(number_of(text, self.function.kind))

    def retract(self, text: str) -> None:
        self._numbers.remove(number_of(text, self.function.kind))

    def result(self) -> object:
        if not self._numbers:
            return None
        numbers = self._numbers
        number = numbers.least if self.function.name == MIN else numbers.greatest
        return result_of(number, self.function.kind)


_COLUMNS: Final[dict[str, type[_Count | _Total | _Extreme]]] = {
    SUM: _Total,
    AVG: _Total,
    COUNT: _Count,
    MIN: _Extreme,
    MAX: _Extreme,
}
