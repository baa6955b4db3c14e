"""Which new connections are let in.

Owns: how many connections there may be, of all clients and of one address, and how many new ones in
a second. Never: sockets, the clock.
"""

from typing import final

from fox_shard.config import Gateway as Settings

NOTED = 10.0
"""Seconds for which further refusals for the same reason are only counted."""


@final
class Admission:
    """The connections of one gateway process."""

    __slots__ = ("_count", "_credit", "_noted", "_of_address", "_refilled", "_unnoted")

    def __init__(self) -> None:
        self._count = 0
        self._of_address: dict[str, int] = {}
        # How many may come at once; it grows by `connects_per_second`, up to as many.
        self._credit = float("inf")
        self._refilled = 0.0
        # Reason -> when it was last noted, and how many were refused since.
        self._noted: dict[str, float] = {}
        self._unnoted: dict[str, int] = {}

    def admit(self, address: str, settings: Settings, now: float) -> str:
        """Let a connection in, or return the setting that forbids it. address: without the port."""
        rate = float(settings.connects_per_second)
        self._credit = min(rate, self._credit + (now - self._refilled) * rate)
        self._refilled = now
        of_address = self._of_address.get(address, 0)
        why = ""
        if self._count >= settings.max_connections:
            why = "max_connections"
        elif of_address >= settings.max_connections_per_address:
            why = "max_connections_per_address"
        elif self._credit < 1:
            why = "connects_per_second"
        if why:
            return why
        self._credit -= 1
        self._count += 1
        self._of_address[address] = of_address + 1
        return ""

    def move(self, address: str, real: str, settings: Settings) -> str:
        """Count a connection at another address, which a proxy names, or return what forbids it."""
        if address == real:
            return ""
        if self._of_address.get(real, 0) >= settings.max_connections_per_address:
            return "max_connections_per_address"
        self._of_address[real] = self._of_address.get(real, 0) + 1
        self._drop(address)
        return ""

    def leave(self, address: str) -> None:
        """Note that a connection that was let in is over."""
        self._count -= 1
        self._drop(address)

    def _drop(self, address: str) -> None:
        left = self._of_address[address] - 1
        if left:
            self._of_address[address] = left
        else:
            del self._of_address[address]

    def to_note(self, why: str, now: float) -> int:
        """Return how many refusals for this reason the log is to mention now; 0: none."""
        count = self._unnoted.get(why, 0) + 1
        if now - self._noted.get(why, -NOTED) < NOTED:
            self._unnoted[why] = count
            return 0
        self._noted[why] = now
        self._unnoted[why] = 0
        return count
