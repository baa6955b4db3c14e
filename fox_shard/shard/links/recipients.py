"""Recipients: the peers that got frames because of a batch, and have to confirm them.

Owns: which peers these are. Never: waiting for the confirmations (see `deliveries`).
"""

from collections.abc import Iterable

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


def _await_return(peer: Peer, mark: int) -> bool:
    """Keep the reliable frames for a peer that may come back; return whether there are any.

    mark: the number of the last frame before these.
    """
    peer.link.drop_plain(mark)
    return peer.link.last > mark
