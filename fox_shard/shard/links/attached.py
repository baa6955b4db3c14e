"""The credit of attached gateways, each of which holds back itself only.

Owns: which of them are behind. Never: their links; configured gateways, for which all wait.

Attached gateways come and go (see `backplane.attached`), and may be slow: they share their
processes with applications. One that is behind gets no credit, so it does not read its publishers.
If more than `attached_buffer` bytes are on their way to it, or wait for it while its link is
broken, the shard gives it up.
"""

from typing import final

from fox_shard.backplane.frames import encode
from fox_shard.backplane.links import Links
from fox_shard.backplane.terms import LinkSettings
from fox_shard.shard.links.peer import Peer


@final
class AttachedGateways:
    """The attached gateways of one shard that are linked, or may come back."""

    __slots__ = ("_behind", "_links", "_peers", "_settings", "_waiting")

    def __init__(self, links: Links, settings: LinkSettings) -> None:
        self._links = links
        self._settings = settings
        self._peers: list[Peer] = []
        self._behind: list[Peer] = []
        # Of those that are lost and may come back: the frames that wait and their bytes, so far.
        self._waiting: dict[Peer, tuple[int, int]] = {}

    def add(self, peer: Peer) -> None:
        """Add one."""
        self._peers.append(peer)

    def remove(self, peer: Peer) -> None:
        """Remove one that is gone."""
        self._peers.remove(peer)
        self._waiting.pop(peer, None)

    def limit_credit(self, *, overloaded: bool, now: float) -> None:
        """Give those that are behind no credit, and give up those that are far behind.

        overloaded: no gateway gets any credit. To be called once a turn.
        """
        if not self._peers:
            return
        credit, most = self._settings.credit, self._settings.attached_buffer
        behind = [peer for peer in self._peers if peer.link.in_flight > credit]
        for peer in (*self._behind, *behind):
            holds = overloaded or peer in behind
            if peer.link.hold_credit is not holds:
                peer.link.hold_credit = holds
                peer.link.acknowledge_soon()
        self._behind = behind
        for peer in self._peers:
            if peer.link.in_flight > most or (
                not peer.link.open and self._bytes_waiting(peer) > most
            ):
                self._links.give_up(peer.link, now)

    def _bytes_waiting(self, peer: Peer) -> int:
        """Return how many bytes wait for the gateway, which is lost: its reliable frames."""
        outbox = peer.link.outbox
        if not outbox:
            self._waiting.pop(peer, None)
            return 0
        count, size = self._waiting.get(peer, (0, 0))
        if count > len(outbox):
            # It has been here in the meantime.
            count, size = 0, 0
        size += sum(len(encode(frame)) for frame in outbox[count:])
        self._waiting[peer] = len(outbox), size
        return size
