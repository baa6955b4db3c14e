"""The outcomes that a store reports, and waiting for them."""

from threading import Condition

PATIENCE = 60.0
"""Seconds until a test gives up, far more than anything takes."""


class Outcomes:
    """The outcomes that one store has reported; a store gets this object as `on_outcome`."""

    def __init__(self):
        self.all = []
        self._news = Condition()

    def __call__(self, ticket, why):
        with self._news:
            self.all.append((ticket, why))
            self._news.notify_all()

    @property
    def durable(self):
        """The highest ticket that was reported as durable; 0: none."""
        return max((ticket for ticket, why in self.all if not why), default=0)

    @property
    def failures(self):
        return [(ticket, why) for ticket, why in self.all if why]

    def wait_for(self, ticket):
        """Wait until all tickets up to that one are durable."""
        with self._news:
            assert self._news.wait_for(lambda: self.durable >= ticket, PATIENCE), self.all

    def wait_for_failure(self, number=1):
        """Wait for that number of failures; returns the last one's ticket and reason."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.failures) >= number, PATIENCE), self.all
        return self.failures[number - 1]
