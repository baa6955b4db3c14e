"""Missed events: what followers are sent when their gateway's link is open again.

Owns: how far the recorded events have been sent that a gateway's followers missed while the link
was broken. Never: which followers there are (see `subscriptions`).

Followers get recorded events in the order of ids, and their gateway ignores what comes too late. So
while the missed ones are sent, a slice at a time, the selector (`behind`) gets no live ones: these
are in the history by then.
"""

from typing import final

from fox_shard.backplane.frames import SelectedEvent
from fox_shard.shard.budget import SLICE_UNITS, Budget
from fox_shard.shard.history.cursor import START, Cursor
from fox_shard.shard.history.history import History
from fox_shard.shard.keys.documents import Documents
from fox_shard.shard.pubsub.selectors import Selector


@final
class Missed:
    """The events that one selector's followers have missed."""

    __slots__ = ("_budget", "_documents", "_history", "_start_id", "_trims", "selector")

    def __init__(
        self,
        selector: Selector,
        start_id: int,
        documents: Documents,
        history: History,
        budget: Budget,
    ) -> None:
        """start_id: the last recorded event that they got. budget: the turn's."""
        self.selector = selector
        selector.behind = True
        self._documents = documents
        self._history = history
        self._budget = budget
        self._start_id = start_id
        # `History.trims` when `gap` last found the history complete; None: not asked yet.
        self._trims: list[int] | None = None

    def gap(self) -> int:
        """Return the id from which on the history is complete, if missed events are missing in it.

        0: none is. Trims before the previous call are not looked at again.
        """
        pattern = self.selector.pattern
        gap = self._history.gap(pattern, Cursor([self._start_id]), self._trims)
        self._trims = self._history.trims(pattern)
        return gap

    def go_on(self) -> bool:
        """Send a slice of the events; return whether all have been sent."""
        selector, budget = self.selector, self._budget
        until = max(0, budget.left - SLICE_UNITS)
        steps = self._history.steps_after(selector.pattern, START, self._start_id)
        for publication, event in steps:
            budget.left -= 1
            self._start_id = publication
            if event is not None and selector.wants(event, self._documents):
                selector.peer.link.send_reliable(SelectedEvent(event, [selector.id], follow=True))
            if budget.left <= until:
                return False
        selector.behind = False
        return True
