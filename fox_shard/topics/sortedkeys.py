"""Sorted keys: a set of strings in code point order.

Owns: keeping many strings sorted at little more than one pointer each.
Never: what the strings mean.

The set is a list of lists ("chunks") of at most 1,024 strings: adding and removing move the
pointers of one chunk at most, where one long list would move all pointers.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

_FULL = 1024
_SPARSE = _FULL // 4


class SortedKeys:
    """A sorted set of strings that may change during an iteration."""

    __slots__ = ("_chunks", "_heads", "_size")

    def __init__(self) -> None:
        self._chunks: list[list[str]] = []
        #: The first key of each chunk.
        self._heads: list[str] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: str) -> bool:
        return self.ceiling(key) == key

    def __iter__(self) -> Iterator[str]:
        return self.between("", None)

    def add(self, key: str) -> bool:
        """Add a key, and return whether it is new."""
        if not self._chunks:
            self._chunks.append([])
            self._heads.append(key)
        index = max(0, bisect_right(self._heads, key) - 1)
        chunk = self._chunks[index]
        place = bisect_left(chunk, key)
        if place < len(chunk) and chunk[place] == key:
            return False
        chunk.insert(place, key)
        self._heads[index] = chunk[0]
        self._size += 1
        if len(chunk) > _FULL:
            self._split(index)
        return True

    def discard(self, key: str) -> bool:
        """Remove a key, and return whether it was there."""
        index = bisect_right(self._heads, key) - 1
        if index < 0:
            return False
        chunk = self._chunks[index]
        place = bisect_left(chunk, key)
        if place == len(chunk) or chunk[place] != key:
            return False
        del chunk[place]
        self._size -= 1
        if len(chunk) < _SPARSE:
            self._merge(index)
        if chunk:
            self._heads[index] = chunk[0]
        return True

    def ceiling(self, key: str) -> str | None:
        """Return the first key that is not less than `key`, or None."""
        index, place = self._place(key)
        return None if index == len(self._chunks) else self._chunks[index][place]

    def between(self, low: str, high: str | None) -> Iterator[str]:
        """Yield the keys from `low` up to, but not including, `high` (None: the end), in order.

        A key added or removed meanwhile may or may not be yielded; all others are, once.
        """
        while True:
            index, place = self._place(low)
            if index == len(self._chunks):
                return
            chunk = self._chunks[index]
            end = len(chunk) if high is None else bisect_left(chunk, high, place)
            page = chunk[place:end]
            last = end < len(chunk)
            yield from page
            if last or not page:
                return
            low = page[-1] + "\0"  # the least string greater than the last key

    def count(self, low: str, high: str) -> int:
        """Return how many keys there are from `low` up to, but not including, `high`."""
        first, start = self._place(low)
        last, end = self._place(high)
        return sum(map(len, self._chunks[first:last])) - start + end

    def _place(self, key: str) -> tuple[int, int]:
        """Return the chunk, and the index in it, of the first key that is not less than `key`."""
        index = max(0, bisect_right(self._heads, key) - 1)
        if index == len(self._chunks):
            return index, 0
        place = bisect_left(self._chunks[index], key)
        return (index, place) if place < len(self._chunks[index]) else (index + 1, 0)

    def _split(self, index: int) -> None:
        chunk = self._chunks[index]
        upper = chunk[_FULL // 2 :]
        del chunk[_FULL // 2 :]
        self._chunks.insert(index + 1, upper)
        self._heads.insert(index + 1, upper[0])

    def _merge(self, index: int) -> None:
        """Join a sparse chunk with the next one if both fit into one; drop an empty chunk."""
        chunk = self._chunks[index]
        if not chunk:
            del self._chunks[index], self._heads[index]
        elif index + 1 < len(self._chunks) and len(self._chunks[index + 1]) <= _FULL // 2:
            chunk.extend(self._chunks.pop(index + 1))
            del self._heads[index + 1]
