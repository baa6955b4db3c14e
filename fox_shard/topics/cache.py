"""A match cache: what was last computed for a topic, until the subscriptions change.

Owns: the bound, and which entries a change of a pattern makes stale.
Never: the computing (see `trie`).
"""

from itertools import islice
from typing import Generic, TypeVar

from fox_shard.topics.pattern import Pattern

T = TypeVar("T")


class MatchCache(Generic[T]):
    """A bounded mapping from topic to what its matches amount to.

    A hot caller asks `entries.get(topic)` itself, which saves a call (about 40 ns); `entries` stays
    the same dict for ever and only this class changes it.
    """

    __slots__ = ("entries", "limit")

    def __init__(self, limit: int) -> None:
        """limit: the most entries held at any time; at least 1."""
        if limit < 1:
            raise ValueError(f"the limit is {limit}; it must be at least 1")
        self.limit = limit
        self.entries: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, topic: str) -> T | None:
        return self.entries.get(topic)

    def put(self, topic: str, value: T) -> None:
        """Remember a value. Where the cache is full, the oldest eighth of it goes first.

        An eighth at once, because finding the first key of a dict whose first keys were deleted
        takes time proportional to how many.
        """
        entries = self.entries
        if len(entries) >= self.limit and topic not in entries:
            for oldest in list(islice(entries, max(1, self.limit // 8))):
                del entries[oldest]
        entries[topic] = value

    def drop(self, pattern: Pattern) -> None:
        """Forget what a change of this pattern's subscribers may have made stale."""
        if pattern.is_exact:
            self.entries.pop(pattern.literal, None)
        else:
            self.entries.clear()
