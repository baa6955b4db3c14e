"""Relays: inquiries of gateways that other gateways answer, by way of a shard.

Owns: which answers are under way, and the failure of those whose gateway goes down. Never: what is
asked.

Gateways have no links with each other. A shard passes the frames on, and keeps nothing but who
waits for whom.
"""

from typing import final

from fox_shard.backplane.frames import InquiryPage, RelayedInquiry, RelayedPage
from fox_shard.errors import Unavailable
from fox_shard.shard.links.peer import Peer


@final
class Relays:
    """The relays of one shard."""

    __slots__ = ("_peers", "_waiting")

    def __init__(self, peers: dict[str, Peer]) -> None:
        """peers: all peers, by name."""
        self._peers = peers
        # The gateway that is to answer -> (the gateway that asks, its token).
        self._waiting: dict[str, dict[tuple[str, int], None]] = {}

    def ask(self, asker: Peer, frame: RelayedInquiry) -> None:
        """Pass the inquiry on, or refuse it if the gateway that it is for is down."""
        peer = self._peers.get(frame.gateway)
        if peer is None or not peer.link.open:
            self._refuse(asker, frame.gateway, frame.inquiry.token)
            return
        self._waiting.setdefault(peer.name, {})[asker.name, frame.inquiry.token] = None
        peer.reply(RelayedInquiry(asker.name, frame.inquiry))

    def page(self, answerer: Peer, frame: RelayedPage) -> None:
        """Pass the page on to the gateway that asked, if that is still there."""
        self._forget(answerer.name, (frame.gateway, frame.page.token))
        peer = self._peers.get(frame.gateway)
        if peer is not None:
            peer.reply(RelayedPage(answerer.name, frame.page))

    def link_broken(self, peer: Peer) -> None:
        """Refuse what the gateway was to answer, and forget what it has asked."""
        for asker, token in self._waiting.pop(peer.name, {}):
            waits = self._peers.get(asker)
            if waits is not None and waits is not peer:
                self._refuse(waits, peer.name, token)
        for answerer, asked in list(self._waiting.items()):
            for one in [one for one in asked if one[0] == peer.name]:
                self._forget(answerer, one)

    def _forget(self, answerer: str, one: tuple[str, int]) -> None:
        asked = self._waiting.get(answerer)
        if asked is not None:
            asked.pop(one, None)
            if not asked:
                del self._waiting[answerer]

    @property
    def idle(self) -> bool:
        """Whether no gateway waits for another."""
        return not self._waiting

    @staticmethod
    def _refuse(asker: Peer, gateway: str, token: int) -> None:
        down = Unavailable(f"{gateway} is down: call again soon")
        page = InquiryPage(token, [], b"", down.uri, down.message)
        asker.reply(RelayedPage(gateway, page))
