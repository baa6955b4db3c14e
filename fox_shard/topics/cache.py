"""A match cache: the result last computed for a topic, until the subscriptions change.

Owns: the bound, and which entries a change of a pattern makes stale.
Never: the computation (see `trie`).
"""

from itertools import islice
from typing import Generic, TypeVar

from fox_shard.topics.pattern import Pattern

T = TypeVar("T")


class MatchCache(Generic[T]):
    """A bounded mapping from topics to values computed from the patterns that match them.

    A hot caller reads `entries` directly, which saves a call (about 40 ns); `entries` is always the
    same dict, and only this class changes it.
    """

    __slots__ = ("entries", "limit")

    def __init__(self, limit: int) -> None:
        """Begin empty. limit: the maximum number of entries; ValueError if less than 1."""
        if limit < 1:
            raise ValueError(f"the limit is {limit}; it must be at least 1")
        self.limit = limit
        self.entries: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, topic: str) -> T | None:
        """Return the cached value, or None."""
        return self.entries.get(topic)

    def put(self, topic: str, value: T) -> None:
        """Remember a value. A full cache first drops the oldest eighth of its entries.

        Dropping them one by one would be slow: finding a dict's first key takes time proportional
        to the number of keys deleted before it.
        """
        entries = self.entries
        if len(entries) >= self.limit and topic not in entries:
            for oldest in list(islice(entries, max(1, self.limit // 8))):
                del entries[oldest]
        entries[topic] = value

    def clear(self) -> None:
        """Drop all entries."""
        self.entries.clear()

    def drop(self, pattern: Pattern) -> None:
        """Drop the entries that a change of this pattern's subscribers may have made stale."""
        if pattern.is_exact:
            self.entries.pop(pattern.literal, None)
        else:
            self.entries.clear()
