"""Nodes: what a process must offer to be run by the event loop or by the simulator.

Owns: the interface between a core and its shell. Never: either of them.
"""

from typing import Protocol

from fox_shard.backplane.frames import Batch
from fox_shard.backplane.totals import Totals
from fox_shard.backplane.tracing import Tracer
from fox_shard.backplane.usage import NO_USAGE, Usage
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal

Notice = tuple[str, dict[str, object]]
"""An event that is worth a line in the log: its name and its fields."""


class Node(Protocol):
    """A gateway, a shard or the coordinator. now: monotonic seconds. wall: seconds since 1970."""

    name: str
    notices: list[Notice]
    deadline: Deadline
    totals: Totals

    @property
    def incarnation(self) -> int:
        """The number that names this life of the process, as its peers see it."""

    @property
    def forgotten(self) -> list[str]:
        """Names of processes that are gone for good; the shell drops their routes, and the names.

        To be looked at after each `flush`.
        """

    @property
    def journal(self) -> Journal | None:
        """The changes that the shell writes to the store once a turn; None: there is no store."""

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch of another process. size: bytes on the wire."""

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """Return (process, batch) for all that is to be sent now. To be called once a turn."""

    def tick(self, now: float) -> None:
        """Do what is due, and set `deadline`, by which `tick` and then `flush` are to be called."""

    def connection_lost(self, peer: str, now: float) -> None:
        """End the pair with that process, because the connection to it is broken."""

    def send_report(self, now: float, usage: Usage = NO_USAGE) -> None:
        """Send the process's metrics to the coordinator."""

    def trace(self, tracer: Tracer) -> None:
        """Let a tracer see all frames that come and go."""

    def health(self) -> dict[str, object]:
        """Return {"name": …, "status": "ok", "degraded" or "unavailable", …}."""
