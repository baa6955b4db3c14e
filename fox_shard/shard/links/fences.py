"""Fence queries, which ask how far a peer's frames have had their effects (architecture: order).

Owns: the queries about peers that have yet to replay or to come back. Never: the answers (see
`deliveries`).
"""

from typing import final

from fox_shard.backplane.frames import FencePassed, FenceQuery
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.links.peers import Peers
from fox_shard.topics.ids import MAX_ID


@final
class Fences:
    """The fence queries of one shard that wait for a batch, a replay, or a peer's return."""

    __slots__ = ("_asked", "_peers")

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        # Queries in the batch that is being handled, with the peers that sent them.
        self._asked: list[tuple[Peer, FenceQuery]] = []

    def ask(self, asker: Peer, ask: FenceQuery) -> None:
        """Take a query, which may be about the very batch that contains the query."""
        self._asked.append((asker, ask))

    def batch_handled(self) -> None:
        """Pass on the queries of the present batch, now that all its effects are known."""
        asked, self._asked = self._asked, []
        for asker, ask in asked:
            origin = self._peers.expected(ask.origin)
            if origin is None:
                asker.reply(FencePassed(ask.origin, ask.epoch, MAX_ID))
                continue
            origin.fence_queries.append((asker.link, ask))
            absent = self._peers.synced and origin.gone
            if absent or (origin.caught_up and not origin.waiting):
                self.answer(origin)

    def answer(self, origin: Peer) -> None:
        """Pass on the queries about the peer: its resent frames are handled, or will not come."""
        asks, origin.fence_queries = origin.fence_queries, []
        for asker, ask in asks:
            if origin.deliveries.is_to_come(ask.epoch):
                origin.fence_queries.append((asker, ask))
            elif asker.open:
                origin.deliveries.ask(asker, ask)
