"""Keep-alive: a client that is silent for too long has gone (MQTT 3.1.2.10).

Owns: when that is. Never: the clock; what follows from it.
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers

CHECK: Final = 30.0
"""Seconds between two looks, at most: what refers to an ended session is let go of by then."""


@final
class KeepAlive:
    """Watches one client that has promised to send something every `interval` seconds."""

    __slots__ = ("_connection", "_interval", "_overdue", "_timers", "heard", "stopped")

    def __init__(
        self,
        interval: int,
        connection: Connection,
        timers: Timers,
        now: float,
        overdue: Callable[[], None],
    ) -> None:
        """overdue: called once, after one and a half intervals of silence [MQTT-3.1.2-24]."""
        self._interval = interval
        self._connection = connection
        self._timers = timers
        self._overdue = overdue
        # When something was last received: whoever reads the connection sets it.
        self.heard = now
        self.stopped = False
        self._check_later(now)

    def _check_later(self, now: float) -> None:
        """Look again when the client is overdue, or before.

        At least twice in each interval: then no pause in reading, during which the silence is ours,
        escapes that is long enough to matter.
        """
        overdue = self.heard + 1.5 * self._interval
        self._timers.at(min(overdue, now + min(0.5 * self._interval, CHECK)), self._check)

    def _check(self, now: float) -> None:
        if self.stopped:
            return
        if self._connection.paused:
            self.heard = now
        if now < self.heard + 1.5 * self._interval:
            self._check_later(now)
        else:
            self._overdue()
