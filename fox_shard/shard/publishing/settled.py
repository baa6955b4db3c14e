"""What gateways need not expect to be sent again.

Owns: the id up to which no recorded event, and no change, can come again. Never: what is held, or
may come again, itself.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import Settled
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.commit_queue import CommitQueue

SETTLED_EVERY = 1000
"""Recorded publishes after which the gateways hear what will not come again."""


@final
class SettledEvents:
    """See the module."""

    __slots__ = ("_commit_queue", "_last", "_outcomes", "_recorded", "_unannounced")

    def __init__(
        self, commit_queue: CommitQueue, outcomes: Outcomes, unannounced: UnannouncedChanges
    ) -> None:
        self._commit_queue = commit_queue
        self._outcomes = outcomes
        self._unannounced = unannounced
        # The last publication that was recorded, and how many were since all gateways heard of it.
        self._last = 0
        self._recorded = 0

    def add(self, publication: int) -> None:
        """That one is recorded."""
        self._last = max(self._last, publication)
        self._recorded += 1

    def announce(self, peer: Peer) -> None:
        """A gateway hears of what it has not missed, if that is news."""
        if self._last <= peer.settled:
            return
        lowest = (self._commit_queue.lowest, self._outcomes.lowest, self._unannounced.lowest)
        unsettled = [one for one in lowest if one is not None]
        peer.settled = min(unsettled) - 1 if unsettled else self._last
        peer.reply(Settled(peer.settled))

    def announce_regularly(self, peers: Iterable[Peer]) -> None:
        """All gateways hear of it if many publications have been recorded."""
        if self._recorded < SETTLED_EVERY:
            return
        self._recorded = 0
        for peer in peers:
            if peer.kind is Kind.GATEWAY and peer.synced:
                self.announce(peer)
