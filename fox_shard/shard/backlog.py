"""The backlog: frames that wait for a turn with enough budget.

Owns: which frames wait, and whose go on next. Never: what a frame does (see `dispatch`); frames
that wait for the sync (see `recovery`).

A peer's frames are handled in the order in which they came, so everything behind a frame that waits
waits, too. The peers take turns, a slice each, so that none waits for all that another has sent.
"""

from collections import deque
from typing import final

from fox_shard.shard.budget import SLICE_UNITS, Budget
from fox_shard.shard.dispatch import Dispatcher
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.peer import Peer


@final
class Backlog:
    """The frames of all peers of one shard that wait (`Peer.waiting`)."""

    __slots__ = ("_budget", "_dispatcher", "_fences", "_peers", "_turns")

    def __init__(
        self, peers: dict[str, Peer], dispatcher: Dispatcher, fences: Fences, budget: Budget
    ) -> None:
        """peers: all peers, by name. budget: the turn's."""
        self._peers = peers
        self._dispatcher = dispatcher
        self._fences = fences
        self._budget = budget
        self._turns = 0

    def handle(self, peer: Peer, arrival: Arrival, now: float) -> None:
        """Handle the frames, or let what the turn's budget does not pay for wait."""
        rest: Arrival | None = arrival
        if not (peer.waiting or self._budget.exhausted):
            rest = self._dispatcher.handle(peer, arrival, now, until=0)
        if rest is not None:
            peer.waiting.append(rest)
            peer.link.unhandled += len(rest.frames)
            self._dispatcher.stirred = True

    @property
    def busy(self) -> bool:
        """Whether frames of any peer wait for the next turn's budget."""
        # Asked in every turn, so it is a plain loop.
        for peer in self._peers.values():  # noqa: SIM110
            if peer.waiting and peer.caught_up:
                return True
        return False

    def go_on(self, now: float) -> None:
        """Handle what has waited for a turn with enough budget; call every turn."""
        waiting = deque(peer for peer in self._in_turn() if peer.caught_up and peer.waiting)
        while waiting and not self._budget.exhausted:
            peer = waiting.popleft()
            self.go_on_with(peer, now, until=max(0, self._budget.left - SLICE_UNITS))
            if peer.waiting:
                waiting.append(peer)

    def _in_turn(self) -> list[Peer]:
        """Return the peers, each turn beginning with another one."""
        self._turns += 1
        peers = list(self._peers.values())
        first = self._turns % len(peers)
        return peers[first:] + peers[:first]

    def go_on_with(self, peer: Peer, now: float, until: int = 0) -> None:
        """Handle what has waited of a peer, until no more than `until` of the budget is left."""
        while peer.waiting and self._budget.left > until:
            rest = self._dispatcher.handle(peer, peer.waiting[0], now, until)
            if rest is None:
                peer.waiting.popleft()
            else:
                peer.waiting[0] = rest
        # The peer gets its credit back, and is told that calls have moved, for what was handled.
        peer.link.unhandled = sum(len(arrival.frames) for arrival in peer.waiting)
        peer.link.acknowledge_soon()
        if not peer.waiting:
            self._fences.answer(peer)
