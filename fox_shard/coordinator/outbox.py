"""What the coordinator has to tell the shards, and each of them just once.

Owns: the frames that are not known to be in the shards' stores, their rows and numbers. Never: what
they mean.

A frame goes to its shard when its row is durable, and the row is deleted when the shard has it in
its own store: so it is told once, whoever restarts meanwhile.
"""

from collections import deque
from typing import final

from fox_shard.backplane.frames import Publish
from fox_shard.backplane.link import Link
from fox_shard.coordinator import rows
from fox_shard.store.journal import Journal


@final
class Outbox:
    """For all shards. links: by the shards' names."""

    __slots__ = ("_forgotten", "_journal", "_last", "_links", "_waiting")

    def __init__(self, journal: Journal, links: dict[str, Link]) -> None:
        self._journal = journal
        self._links = links
        # The last number that was given, and the last whose row is deleted.
        self._last: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}
        # (ticket, shard, frame), for the transaction in which its row is.
        self._waiting: deque[tuple[int, str, Publish]] = deque()

    def load(self, last: dict[str, int], frames: dict[str, list[tuple[int, Publish]]]) -> None:
        """From the store: the counters, and the frames with their numbers, in order."""
        for shard, number in last.items():
            waiting = [frame for _, frame in frames.get(shard, [])]
            self._last[shard] = number
            self._forgotten[shard] = number - len(waiting)
            if shard in self._links:
                self._links[shard].restore(number, waiting)

    def send(self, shard: str, frame: Publish) -> None:
        """Send it when that is durable."""
        number = self._last[shard] = self._last.get(shard, 0) + 1
        self._journal.keep(rows.outbox(shard, number), rows.encode(frame))
        self._journal.keep(rows.last(shard), rows.encode(number))
        self._waiting.append((self._journal.ticket, shard, frame))

    def durable(self, ticket: int) -> None:
        """All up to that transaction is."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= ticket:
            _, shard, frame = waiting.popleft()
            self._links[shard].send_reliable(frame)

    def failed(self) -> None:
        """What was not durable is in the next transaction."""
        ticket = self._journal.ticket
        self._waiting = deque((ticket, shard, frame) for _, shard, frame in self._waiting)

    def prune(self, shard: str) -> None:
        """Delete the rows of what is in the shard's store."""
        forgotten = self._forgotten.get(shard, 0)
        safe = min(self._links[shard].forgotten, self._last.get(shard, 0))
        for number in range(forgotten + 1, safe + 1):
            self._journal.drop(rows.outbox(shard, number))
        self._forgotten[shard] = max(forgotten, safe)
