"""Pages of the history that gateways ask for (`get_events`).

Owns: the pages that are being made. Never: which events there are (see `history`).

A pattern may pass over any number of events for one page, so a page is made in slices, beside all
others.
"""

from collections import deque
from typing import final

from fox_shard.backplane.frames import Event, HistoryPage, ReadHistory
from fox_shard.shard.budget import SLICE_UNITS, Budget
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.pubsub.replay import size_of
from fox_shard.topics.pattern import Pattern

PAGE_BYTES = 1 << 20
"""Bytes of arguments in one `HistoryPage`, which ends with the event that exceeds this size."""


@final
class UnfinishedPage:
    """A page that is being made for a peer. events: those found so far, with `size` bytes."""

    __slots__ = ("_first", "_last", "_pattern", "_request", "_size", "events", "peer")

    def __init__(self, peer: Peer, request: ReadHistory) -> None:
        self.peer = peer
        self._request = request
        self._pattern = Pattern.parse(request.pattern)
        # The ids that are still to be looked at.
        self._first, self._last = request.first, request.last
        self.events: list[Event] = []
        self._size = 0

    def go_on(self, histories: Histories, budget: Budget) -> HistoryPage | None:
        """Look for further events for a slice of the budget; return the page once it is complete.

        None: it is not complete yet.
        """
        request, until = self._request, budget.left - SLICE_UNITS
        steps = histories[request.realm].steps(
            self._pattern, self._first, self._last, reverse=request.reverse
        )
        for publication, event in steps:
            budget.left -= 1
            if event is not None:
                if len(self.events) == request.limit or self._size > PAGE_BYTES:
                    return HistoryPage(request.token, self.events, more=True)
                self.events.append(event)
                self._size += size_of(event)
            if request.reverse:
                self._last = publication - 1
            else:
                self._first = publication + 1
            if budget.left <= until or budget.exhausted:
                return None
        return HistoryPage(request.token, self.events, more=False)


@final
class HistoryPages:
    """The pages of the history that one shard is making."""

    __slots__ = ("_budget", "_histories", "_unfinished")

    def __init__(self, histories: Histories, budget: Budget) -> None:
        """budget: the turn's, which pays for looking at events."""
        self._histories = histories
        self._budget = budget
        self._unfinished: deque[UnfinishedPage] = deque()

    def ask(self, peer: Peer, request: ReadHistory) -> None:
        """Begin the page that the peer asks for; it is sent as soon as it is complete."""
        self._unfinished.append(UnfinishedPage(peer, request))

    @property
    def busy(self) -> bool:
        """Whether any page is not complete."""
        return bool(self._unfinished)

    def go_on(self, _now: float) -> None:
        """Make pages, a slice each, as far as the turn's budget goes; call every turn."""
        budget = self._budget
        while self._unfinished and not budget.exhausted:
            unfinished = self._unfinished.popleft()
            budget.left -= 1
            page = unfinished.go_on(self._histories, budget)
            if page is None:
                self._unfinished.append(unfinished)
            else:
                unfinished.peer.reply(page)

    def link_broken(self, peer: Peer) -> None:
        """Drop the pages that the peer has asked for in the pair that has ended."""
        self._unfinished = deque(one for one in self._unfinished if one.peer is not peer)
