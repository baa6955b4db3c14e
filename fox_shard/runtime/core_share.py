"""How much of a core this process has used lately.

Owns: samples of its processor time. Never: who asks.
"""

PERIOD = 5.0
"""Seconds between two samples; the share is that of the last one to two periods."""


class CoreShare:
    """A process's use of the processor, over the last 5 to 10 seconds.

    All its threads count, so that a gateway whose ZeroMQ thread is busy too has more than 1.
    """

    def __init__(self, now: float, used: float) -> None:
        """now: monotonic seconds. used: processor seconds of the process so far."""
        self._old = self._new = (now, used)

    def sample(self, now: float, used: float) -> None:
        """Note the processor seconds used so far, once every PERIOD."""
        self._old, self._new = self._new, (now, used)

    def value(self, now: float, used: float) -> float:
        """Return the share of a core, 0.0 to the number of cores."""
        since, before = self._old
        return round((used - before) / (now - since), 2) if now > since else 0.0
