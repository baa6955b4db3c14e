"""A multiset of numbers whose least and greatest are known after any addition and removal.

Owns: the order, and how often each number is there. Never: what the numbers are.

The distinct numbers are kept as `topics.sortedkeys` keeps strings: in a list of sorted lists
("chunks"), so that no operation moves more than the pointers of one chunk. So a group of a million
rows can lose its minimum again and again without being searched.
"""

from bisect import bisect_left, bisect_right
from typing import final

from fox_shard.tables.numbers import Number

_FULL = 1024


@final
class Multiset:
    """Numbers, each with how often it is there."""

    __slots__ = ("_chunks", "_counts", "_heads")

    def __init__(self) -> None:
        self._counts: dict[Number, int] = {}
        self._chunks: list[list[Number]] = []
        #: The first number of each chunk; no chunk is empty.
        self._heads: list[Number] = []

    def __len__(self) -> int:
        """Return the number of distinct numbers."""
        return len(self._counts)

    @property
    def least(self) -> Number:
        """The least number. Raises IndexError if there is none."""
        return self._heads[0]

    @property
    def greatest(self) -> Number:
        """The greatest number. Raises IndexError if there is none."""
        return self._chunks[-1][-1]

    def add(self, number: Number) -> None:
        """Add a number once more."""
        count = self._counts.get(number, 0)
        self._counts[number] = count + 1
        if count:
            return
        if not self._chunks:
            self._chunks.append([number])
            self._heads.append(number)
            return
        index = max(0, bisect_right(self._heads, number) - 1)
        chunk = self._chunks[index]
        chunk.insert(bisect_left(chunk, number), number)
        self._heads[index] = chunk[0]
        if len(chunk) > _FULL:
            upper = chunk[_FULL // 2 :]
            del chunk[_FULL // 2 :]
            self._chunks.insert(index + 1, upper)
            self._heads.insert(index + 1, upper[0])

    def remove(self, number: Number) -> None:
        """Remove a number once. Raises KeyError if it is not there."""
        count = self._counts[number]
        if count > 1:
            self._counts[number] = count - 1
            return
        del self._counts[number]
        index = bisect_right(self._heads, number) - 1
        chunk = self._chunks[index]
        del chunk[bisect_left(chunk, number)]
        if chunk:
            self._heads[index] = chunk[0]
        else:
            del self._chunks[index], self._heads[index]
