"""Questions how far what a peer has sent has had its effects (architecture: order).

Owns: who has asked about a peer that has yet to replay, or to come back. Never: the answer (see
`deliveries`).
"""

from collections.abc import Callable
from typing import final

from fox_shard.backplane.frames import Ask
from fox_shard.shard.links.peer import Peer


@final
class Fences:
    """Of all peers."""

    __slots__ = ("_asked", "_peer", "everybody_is_here")

    def __init__(self, peer: Callable[[str], Peer]) -> None:
        """peer: finds a peer by its name, or makes one that has never been here."""
        self._peer = peer
        # In the batch that is being handled.
        self._asked: list[tuple[Peer, Ask]] = []
        # Is nobody expected to replay who has not been here?
        self.everybody_is_here = False

    def ask(self, asker: Peer, ask: Ask) -> None:
        """A question, which may be about the batch that it comes in."""
        self._asked.append((asker, ask))

    def close(self) -> None:
        """All of the present batch is known: answer what was asked in it when that is possible."""
        asked, self._asked = self._asked, []
        for asker, ask in asked:
            origin = self._peer(ask.origin)
            origin.asks.append((asker.link, ask))
            absent = self.everybody_is_here and origin.gone
            if absent or (origin.synced and not origin.waiting):
                self.answer(origin)

    def answer(self, origin: Peer) -> None:
        """What that peer has sent again has been handled, or there is nothing of it to come."""
        asks, origin.asks = origin.asks, []
        for asker, ask in asks:
            if origin.passing.is_to_come(ask.epoch):
                origin.asks.append((asker, ask))
            elif asker.open:
                origin.passing.ask(asker, ask)
