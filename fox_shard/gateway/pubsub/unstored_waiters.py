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

    __slots__ = ("_at", "waiting")

    def __init__(self) -> None:
        # Shard -> what may wait there, by session and request, in the order of publishing.
        self._at: dict[int, dict[tuple[int, int], Publish]] = {}
        # Session -> request -> shard. Nobody need look for an answer where nothing may wait.
        self.waiting: dict[int, dict[int, int]] = {}

    def note(self, shard: int, publish: Publish) -> None:
        """It may have to wait there, and is answered when it does no longer."""
        session, request = publish.session, publish.request
        self.answered(session, request)
        self._at.setdefault(shard, {})[session, request] = publish
        self.waiting.setdefault(session, {})[request] = shard

    def answered(self, session: int, request: int) -> None:
        """It waits no longer."""
        requests = self.waiting.get(session, {})
        shard = requests.pop(request, None)
        if shard is not None:
            del self._at[shard][session, request]
            if not requests:
                del self.waiting[session]

    def leave(self, session: int) -> None:
        """The session has ended."""
        for request in list(self.waiting.get(session, ())):
            self.answered(session, request)

    def at(self, shard: int) -> list[Publish]:
        """What the shard has lost, if it is another one now; in the order of publishing."""
        return list(self._at.get(shard, {}).values())
