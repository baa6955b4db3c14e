"""Publishes that wait at a shard for their conditions, in realms whose keys are in memory only.

Owns: which publishes a restarted shard has lost. Never: publishing.

In a realm whose keys are on disk, waiting publishes are in the shard's store. In other realms they
are lost when the shard dies, like its keys, and the publisher's gateway has to publish them again.
"""

from typing import final

from fox_shard.backplane.frames import Publish


@final
class UnstoredWaiters:
    """The publishes of one gateway's sessions that may wait where nothing is stored."""

    __slots__ = ("_at", "waiting")

    def __init__(self) -> None:
        # Shard -> (session, request) -> publish that may wait there, in the order of publishing.
        self._at: dict[int, dict[tuple[int, int], Publish]] = {}
        # Session -> request -> shard. While it is empty, answers need not be looked up.
        self.waiting: dict[int, dict[int, int]] = {}

    def add(self, shard: int, publish: Publish) -> None:
        """Note that a publish to that shard may have to wait; its answer ends the wait."""
        session, request = publish.session, publish.request
        self.answered(session, request)
        self._at.setdefault(shard, {})[session, request] = publish
        self.waiting.setdefault(session, {})[request] = shard

    def answered(self, session: int, request: int) -> None:
        """Note that a publish no longer waits, if it ever did."""
        requests = self.waiting.get(session, {})
        shard = requests.pop(request, None)
        if shard is not None:
            del self._at[shard][session, request]
            if not requests:
                del self.waiting[session]

    def session_ended(self, session: int) -> None:
        """Drop the publishes of a session that has ended."""
        for request in list(self.waiting.get(session, ())):
            self.answered(session, request)

    def at(self, shard: int) -> list[Publish]:
        """Return the publishes that a new incarnation of the shard has lost, in order."""
        return list(self._at.get(shard, {}).values())
