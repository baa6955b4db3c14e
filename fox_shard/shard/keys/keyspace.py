"""The retained keys of one realm on one shard.

Owns: each key's value, and what it was when the disk last knew it. Never: who is told of a change.

A change counts at once for those that come after it, and is undone if its commit fails. Whoever is
shown the keys is shown what is durable; the change itself reaches him as an event, later.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import Event
from fox_shard.topics.keytree import KeyTree
from fox_shard.topics.pattern import Pattern


@final
class Unsettled:
    """A key that changes: its durable value, and the values of transactions that may yet fail."""

    __slots__ = ("changes", "durable")

    def __init__(self, durable: Event | None) -> None:
        self.durable = durable
        self.changes: list[tuple[int, Event | None]] = []


@final
class Keys:
    """See the module. No value: None."""

    __slots__ = ("_tree", "_unsettled", "_values")

    def __init__(self) -> None:
        self._values: dict[str, Event] = {}
        self._tree = KeyTree()
        self._unsettled: dict[str, Unsettled] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def settled(self) -> bool:
        """Is no change on its way to the disk?"""
        return not self._unsettled

    def get(self, topic: str) -> Event | None:
        """The key's value, durable or not."""
        return self._values.get(topic)

    def is_changing(self, topic: str) -> bool:
        """Is a change of it on its way to the disk?"""
        return topic in self._unsettled

    def set(self, topic: str, event: Event | None) -> None:
        """Change a key for good. None: erase it."""
        if event is not None:
            if topic not in self._values:
                self._tree.add(topic)
            self._values[topic] = event
        elif self._values.pop(topic, None) is not None:
            self._tree.discard(topic)

    def change(self, topic: str, event: Event | None, ticket: int) -> None:
        """Change a key in that transaction."""
        unsettled = self._unsettled.get(topic)
        if unsettled is None:
            unsettled = self._unsettled[topic] = Unsettled(self._values.get(topic))
        changes = unsettled.changes
        if changes and changes[-1][0] == ticket:
            changes[-1] = (ticket, event)
        else:
            changes.append((ticket, event))
        self.set(topic, event)

    def settle(self, topic: str, ticket: int) -> None:
        """What was changed up to that transaction is durable."""
        unsettled = self._unsettled.get(topic)
        if unsettled is None:
            return
        changes = unsettled.changes
        while changes and changes[0][0] <= ticket:
            unsettled.durable = changes.pop(0)[1]
        if not changes:
            del self._unsettled[topic]

    def undo(self, topic: str) -> None:
        """All transactions that are not durable have failed."""
        unsettled = self._unsettled.pop(topic, None)
        if unsettled is not None:
            self.set(topic, unsettled.durable)

    def durable_value(self, topic: str) -> Event | None:
        """As the disk has it."""
        unsettled = self._unsettled.get(topic)
        return self._values.get(topic) if unsettled is None else unsettled.durable

    def topics(self, pattern: Pattern, start: str = "") -> Iterator[str]:
        """Of the keys that match, those behind `start`, in code point order.

        Keys that come or go meanwhile may or may not be among them.
        """
        return (topic for topic in self._tree.match(pattern) if topic > start)

    def changing(self, pattern: Pattern) -> list[str]:
        """Topics that match, whose changes are on their way to the disk."""
        return [topic for topic in self._unsettled if pattern.matches(topic)]

    def durable(self, pattern: Pattern) -> Iterator[Event]:
        """The keys that match, as the disk has them; by topic, those that change last."""
        unsettled = self._unsettled
        for topic in self._tree.match(pattern):
            if topic not in unsettled:
                yield self._values[topic]
        for topic, key in unsettled.items():
            if key.durable is not None and pattern.matches(topic):
                yield key.durable
