"""What a process must offer to be run: by the event loop, or by the simulator.

Owns: the interface between a core and its shell. Never: either of them.
"""

from typing import Protocol

from fox_shard.backplane.frames import Batch
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal

Notice = tuple[str, dict[str, object]]
"""Something worth a line in the log: what happened, and to whom."""


class Node(Protocol):
    """A gateway, a shard or the coordinator. Seconds: `now` monotonic, `wall` since 1970."""

    name: str
    notices: list[Notice]
    deadline: Deadline

    @property
    def journal(self) -> Journal | None:
        """What is to go into its store, once a turn; None: it has no store."""

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch of another process. size: bytes on the wire."""

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """(process, batch) for each that there is news for; once a turn."""

    def tick(self, now: float) -> None:
        """Do what is due, and set `deadline`. Call it then, and `flush`."""

    def connection_lost(self, peer: str, now: float) -> None:
        """The connection to that process is broken."""

    def send_report(self, now: float) -> None:
        """Tell the coordinator the metrics."""

    def health(self) -> dict[str, object]:
        """{"name", "status": "ok", "degraded" or "unavailable", …}."""
