"""Recipients: the peers that got frames because of a batch, and have to confirm them.

Owns: which peers these are. Never: waiting for the confirmations (see `deliveries`).
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import Frame
from fox_shard.shard.links.deliveries import Recipients
from fox_shard.shard.links.peer import Peer


def last_numbers(peers: Iterable[Peer], origin: Peer | None) -> list[tuple[Peer, int]]:
    """Return the last frame's number on each link, to be noted before the effects are sent.

    origin: the peer whose batch causes the effects, which is left out (see `deliveries`); None: no
    peer's batch does.
    """
    return [(peer, peer.link.last) for peer in peers if peer is not origin]


def recipients(since: list[tuple[Peer, int]]) -> Recipients:
    """Return the peers that got frames since then, each with its last frame's number.

    since: the result of `last_numbers`.
    """
    return [
        (peer.deliveries, peer.link.last)
        for peer, mark in since
        if peer.link.last > mark and (peer.link.open or _await_return(peer, mark))
    ]


@final
class Outboxes:
    """The outboxes of all peers: the same as the functions above, for what happens with each batch.

    Most batches have effects for few of the peers, so the others cost as little as can be.
    """

    __slots__ = ("_outboxes", "_peers")

    def __init__(self) -> None:
        self._peers: list[Peer] = []
        # Of the peers' links, which keep theirs for good.
        self._outboxes: list[list[Frame]] = []

    def add(self, peer: Peer) -> None:
        """Add a peer."""
        self._peers.append(peer)
        self._outboxes.append(peer.link.outbox)

    def remove(self, peer: Peer) -> None:
        """Remove a peer, between the turns."""
        place = self._peers.index(peer)
        del self._peers[place], self._outboxes[place]

    def sizes(self) -> list[int]:
        """Return how many frames wait for each peer, to be noted before the effects are sent."""
        return list(map(len, self._outboxes))

    def recipients(self, before: list[int], origin: Peer) -> Recipients:
        """Return the peers but `origin` that got frames since `sizes` returned `before`."""
        after = list(map(len, self._outboxes))
        if after == before:
            return []
        reached: Recipients = []
        for place, size in enumerate(before):
            if after[place] > size:
                peer = self._peers[place]
                link = peer.link
                if peer is not origin and (link.open or _await_return(peer, link.sent + size)):
                    reached.append((peer.deliveries, link.last))
        return reached


def _await_return(peer: Peer, mark: int) -> bool:
    """Keep the reliable frames for a peer that may come back; return whether there are any.

    mark: the number of the last frame before these.
    """
    peer.link.drop_plain(mark)
    return peer.link.last > mark
