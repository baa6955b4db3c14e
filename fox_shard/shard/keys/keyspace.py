"""The retained keys of one realm on one shard.

Owns: each key's current and durable value. Never: who is told of a change.

A change takes effect at once for later publishes, and is undone if its commit fails. Subscribers
are shown the durable values of keys; the change itself reaches them later, as an event.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import Event
from fox_shard.shard.keys.quota import KeyQuota
from fox_shard.topics.keytree import KeyTree
from fox_shard.topics.pattern import Pattern


@final
class UncommittedKey:
    """A changing key: its durable value, and its values in transactions that may yet fail.

    changes: (ticket, value) of these transactions, in order. No value: None.
    """

    __slots__ = ("changes", "durable")

    def __init__(self, durable: Event | None) -> None:
        self.durable = durable
        self.changes: list[tuple[int, Event | None]] = []


@final
class Keyspace:
    """The keys of one realm on one shard, by topic; None stands for no key."""

    __slots__ = ("_tree", "_uncommitted", "_values", "quota")

    def __init__(self, quota: KeyQuota) -> None:
        """quota: counts the keys, as they are after all changes that have not failed yet."""
        self.quota = quota
        self._values: dict[str, Event] = {}
        self._tree = KeyTree()
        self._uncommitted: dict[str, UncommittedKey] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def is_committed(self) -> bool:
        """Whether all values are durable."""
        return not self._uncommitted

    @property
    def uncommitted(self) -> int:
        """The number of keys that have changes that are not durable yet."""
        return len(self._uncommitted)

    def get(self, topic: str) -> Event | None:
        """Return the key's current value, durable or not."""
        return self._values.get(topic)

    def is_changing(self, topic: str) -> bool:
        """Whether the key has a change that is not durable yet."""
        return topic in self._uncommitted

    def set(self, topic: str, event: Event | None) -> None:
        """Set the key's value without a transaction; None: erase the key."""
        before = self._values.get(topic)
        self.quota.replaced(topic, before, event)
        if event is not None:
            if before is None:
                self._tree.add(topic)
            self._values[topic] = event
        elif before is not None:
            del self._values[topic]
            self._tree.discard(topic)

    def change(self, topic: str, event: Event | None, ticket: int) -> None:
        """Set the key's value in the transaction of that ticket; None: erase the key."""
        uncommitted = self._uncommitted.get(topic)
        if uncommitted is None:
            uncommitted = self._uncommitted[topic] = UncommittedKey(self._values.get(topic))
        changes = uncommitted.changes
        if changes and changes[-1][0] == ticket:
            changes[-1] = (ticket, event)
        else:
            changes.append((ticket, event))
        self.set(topic, event)

    def committed(self, topic: str, ticket: int) -> None:
        """Take the key's values up to that transaction as durable."""
        uncommitted = self._uncommitted.get(topic)
        if uncommitted is None:
            return
        changes = uncommitted.changes
        while changes and changes[0][0] <= ticket:
            uncommitted.durable = changes.pop(0)[1]
        if not changes:
            del self._uncommitted[topic]

    def commit_failed(self, topic: str) -> None:
        """Give the key its durable value back: all transactions after it have failed."""
        uncommitted = self._uncommitted.pop(topic, None)
        if uncommitted is not None:
            self.set(topic, uncommitted.durable)

    def durable_value(self, topic: str) -> Event | None:
        """Return the key's durable value."""
        uncommitted = self._uncommitted.get(topic)
        return self._values.get(topic) if uncommitted is None else uncommitted.durable

    def count_below(self, topic: str) -> int:
        """Return how many keys there are below that topic."""
        return self._tree.count_below(topic)

    def topics(self, pattern: Pattern) -> Iterator[str]:
        """Iterate over the topics of matching keys, in code point order.

        The keys may change meanwhile: topics that are added or erased may or may not be included.
        """
        return self._tree.match(pattern)

    def steps(self, pattern: Pattern, start: str) -> Iterator[str | None]:
        """Do the same for topics beyond `start`, with None for each step that finds none."""
        return self._tree.steps(pattern, start)

    def level(self, above: str, start: str) -> Iterator[tuple[str, int]]:
        """Iterate over what is one level below; see `KeyTree.level`."""
        return self._tree.level(above, start)

    def changing(self, pattern: Pattern) -> list[str]:
        """Return the matching topics whose keys have changes that are not durable yet."""
        return [topic for topic in self._uncommitted if pattern.matches(topic)]

    def durable(self, pattern: Pattern) -> Iterator[Event]:
        """Yield the durable values of matching keys, by topic; changing keys come last."""
        uncommitted = self._uncommitted
        for topic in self._tree.match(pattern):
            if topic not in uncommitted:
                yield self._values[topic]
        for topic, key in uncommitted.items():
            if key.durable is not None and pattern.matches(topic):
                yield key.durable
