"""The publication id up to which nothing will be sent again.

Owns: this id, for recorded events and key changes, and when gateways are told it. Never: the events
and changes that are held or may be sent again.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import Settled
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.commit_queue import CommitQueue

SETTLED_EVERY = 1000
"""Recorded publishes after which all gateways are told the id."""


@final
class SettledEvents:
    """The events and key changes of one shard that are settled: they are not sent again."""

    __slots__ = ("_commit_queue", "_last", "_outcomes", "_recorded", "_unannounced")

    def __init__(
        self, commit_queue: CommitQueue, outcomes: Outcomes, unannounced: UnannouncedChanges
    ) -> None:
        self._commit_queue = commit_queue
        self._outcomes = outcomes
        self._unannounced = unannounced
        # The last id that was recorded, and how many were since all gateways were last told.
        self._last = 0
        self._recorded = 0

    def add(self, publication: int) -> None:
        """Note that the publication is recorded."""
        self._last = max(self._last, publication)
        self._recorded += 1

    def announce(self, peer: Peer) -> None:
        """Tell the gateway the id, if anything was recorded beyond the one it was last told.

        A gateway whose followers still miss events is told later.
        """
        if self._last <= peer.settled or peer.followers_behind:
            return
        lowest = (self._commit_queue.lowest, self._outcomes.lowest, self._unannounced.lowest)
        unsettled = [one for one in lowest if one is not None]
        peer.settled = min(unsettled) - 1 if unsettled else self._last
        peer.reply(Settled(peer.settled))

    def announce_regularly(self, peers: Iterable[Peer]) -> None:
        """Tell all gateways that have caught up, SETTLED_EVERY recorded publications later."""
        if self._recorded < SETTLED_EVERY:
            return
        self._recorded = 0
        for peer in peers:
            if peer.kind is Kind.GATEWAY and peer.caught_up:
                self.announce(peer)
