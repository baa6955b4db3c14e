"""What gateways need not expect to be sent again.

Owns: the id up to which no recorded event, and no change, can come again. Never: what is held, or
may come again, itself.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import Settled
from fox_shard.shard.keys.unannounced import Untold
from fox_shard.shard.links.outcomes import Ledger
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.commit_queue import Gate

SETTLED_EVERY = 1000
"""Recorded publishes after which the gateways hear what will not come again."""


@final
class SettledEvents:
    """See the module."""

    __slots__ = ("_gate", "_last", "_ledger", "_recorded", "_untold")

    def __init__(self, gate: Gate, ledger: Ledger, untold: Untold) -> None:
        self._gate = gate
        self._ledger = ledger
        self._untold = untold
        # The last publication that was recorded, and how many were since all gateways heard of it.
        self._last = 0
        self._recorded = 0

    def note(self, publication: int) -> None:
        """That one is recorded."""
        self._last = max(self._last, publication)
        self._recorded += 1

    def say(self, peer: Peer) -> None:
        """A gateway hears of what it has not missed, if that is news."""
        if self._last <= peer.settled:
            return
        lowest = (self._gate.lowest, self._ledger.lowest, self._untold.lowest)
        unsettled = [one for one in lowest if one is not None]
        peer.settled = min(unsettled) - 1 if unsettled else self._last
        peer.reply(Settled(peer.settled))

    def say_now_and_then(self, peers: Iterable[Peer]) -> None:
        """All gateways hear of it if many publications have been recorded."""
        if self._recorded < SETTLED_EVERY:
            return
        self._recorded = 0
        for peer in peers:
            if peer.kind is Kind.GATEWAY and peer.synced:
                self.say(peer)
