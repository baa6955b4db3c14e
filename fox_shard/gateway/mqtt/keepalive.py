"""Keep-alive: a client that is silent for too long is taken for gone (MQTT 3.1.2.10).

Owns: when a client is overdue. Never: the clock; the consequences.
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers

CHECK: Final = 30.0
"""The most seconds between two checks, so that no timer refers to an ended session for long."""


@final
class KeepAlive:
    """Watches one client that has promised to send something every `interval` seconds."""

    __slots__ = ("_connection", "_due", "_interval", "_overdue", "_timers", "heard", "stopped")

    def __init__(
        self,
        interval: int,
        connection: Connection,
        timers: Timers,
        now: float,
        overdue: Callable[[], None],
    ) -> None:
        """interval: seconds.

        overdue: called once, after one and a half intervals of silence [MQTT-3.1.2-24].
        """
        self._interval = interval
        self._connection = connection
        self._timers = timers
        self._overdue = overdue
        # When something was last received; the connection's receiver sets it.
        self.heard = now
        self.stopped = False
        self._check_later(now)

    def _check_later(self, now: float) -> None:
        """Check again when the client will be overdue, or earlier.

        There are at least two checks in each interval, so that every long pause in reading is
        noticed: during such a pause the silence is the gateway's doing, not the client's.
        """
        overdue = self.heard + 1.5 * self._interval
        due = min(overdue, now + min(0.5 * self._interval, CHECK))
        self._due = self._timers.gathered(due, self._check)

    def _check(self, now: float) -> None:
        if self.stopped:
            return
        if self._connection.paused:
            self.heard = now
        # If the check comes late, the gateway stood still, and what the client sent is unread.
        self.heard = min(now, self.heard + now - self._due)
        if now < self.heard + 1.5 * self._interval:
            self._check_later(now)
        else:
            self._overdue()
