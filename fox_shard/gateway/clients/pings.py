"""Pings: whether a silent client is still there.

Owns: when it is pinged, and when it is taken for gone. Never: the bytes of a Ping, the clock.

Only idle clients are pinged. The kernel finds out about peers that vanished, too, but later, and it
answers for a client that has hung.
"""

from collections.abc import Callable
from typing import final

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers


@final
class Pings:
    """Watches one client. `interval` seconds of silence bring a Ping, as many more the end."""

    __slots__ = ("_connection", "_gone", "_interval", "_ping", "_pinged", "_timers", "heard")

    def __init__(
        self,
        connection: Connection,
        timers: Timers,
        interval: float,
        now: float,
        ping: Callable[[], None],
        gone: Callable[[], None],
    ) -> None:
        """ping: sends a Ping. gone: called once, if nothing comes for two intervals."""
        self._connection = connection
        self._timers = timers
        self._interval = interval
        self._ping = ping
        self._gone = gone
        # When something was last received; the connection's receiver sets it.
        self.heard = now
        # What `heard` was when the client was pinged; None: it has not been pinged.
        self._pinged: float | None = None
        timers.gathered(now + interval, self._check)

    def _check(self, now: float) -> None:
        connection = self._connection
        if connection.closing or connection.transport is None:
            return
        if connection.paused:
            # The silence is the gateway's doing.
            self.heard = now
        due = self.heard + self._interval
        if now < due:
            self._timers.gathered(due, self._check)
        elif self._pinged != self.heard:
            self._pinged = self.heard
            self._ping()
            self._timers.gathered(now + self._interval, self._check)
        else:
            self._gone()
