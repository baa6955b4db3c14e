"""Whom something concerns that has just been done: peers that got frames, and have to confirm them.

Owns: who that is. Never: how long they are waited for (see `deliveries`).
"""

from collections.abc import Iterable

from fox_shard.shard.links.deliveries import Touched
from fox_shard.shard.links.peer import Peer


def marks(peers: Iterable[Peer], origin: Peer | None) -> list[tuple[Peer, int]]:
    """Where the links to all others are, before something is sent that `origin` caused.

    None: nobody has.
    """
    return [(peer, peer.link.last) for peer in peers if peer is not origin]


def touched(since: list[tuple[Peer, int]]) -> Touched:
    """Who got something since then, and has to confirm it."""
    return [
        (peer.passing, peer.link.last)
        for peer, mark in since
        if peer.link.last > mark and (peer.link.open or _await_return(peer, mark))
    ]


def _await_return(peer: Peer, mark: int) -> bool:
    """Keep what is reliable for a gateway that may come back; returns whether it is any.

    mark: what it was sent before.
    """
    peer.link.keep_reliable(mark)
    return peer.link.last > mark
