"""Publishes that wait at a shard for their conditions, in realms whose keys are in memory only.

Owns: what is to be published again to a shard that has lost it. Never: publishing.

In a realm that is stored, what waits is in the shard's store. Here it is gone when the shard is, as
its keys are, and its gateway alone knows of it.
"""

from typing import final

from fox_shard.backplane.frames import Publish


@final
class Watches:
    """Of all sessions of a gateway."""

    __slots__ = ("_by_shard", "waiting")

    def __init__(self) -> None:
        self._by_shard: dict[int, dict[tuple[int, int], Publish]] = {}
        # How many may wait: nobody need look for an answer where it is 0.
        self.waiting = 0

    def note(self, shard: int, publish: Publish) -> None:
        """It may have to wait there."""
        publishes = self._by_shard.setdefault(shard, {})
        if (publish.session, publish.request) not in publishes:
            self.waiting += 1
        publishes[publish.session, publish.request] = publish

    def answered(self, session: int, request: int) -> None:
        """It waits no longer."""
        for publishes in self._by_shard.values():
            if publishes.pop((session, request), None) is not None:
                self.waiting -= 1

    def leave(self, session: int) -> None:
        """The session has ended."""
        if self.waiting:
            for publishes in self._by_shard.values():
                for of, request in list(publishes):
                    if of == session:
                        self.answered(of, request)

    def at(self, shard: int) -> list[Publish]:
        """What the shard has lost, if it is another one now; in the order of publishing."""
        return list(self._by_shard.get(shard, {}).values())
