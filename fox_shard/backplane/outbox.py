"""Outboxes: items that a process keeps until its peers have confirmed them.

Owns: per peer, the order of items that wait for a confirmed number; the frames that are rows of the
sender's store until the receiver's store has them. Never: what a frame means.

A frame of an `Outbox` is sent when its row is durable. The row is deleted when the peer has the
frame in its own store. So the frame has its effect exactly once, whichever process restarts.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar, final

from fox_shard.backplane.frames import Publish
from fox_shard.backplane.link import Link
from fox_shard.store.journal import Journal

T = TypeVar("T")

NO_ITEMS: tuple[()] = ()


@final
class UntilConfirmed(Generic[T]):
    """Items that wait for their peers' confirmations, per peer in the order of their numbers.

    by_peer: has the peers for which something waits, and no others.
    """

    __slots__ = ("by_peer",)

    def __init__(self) -> None:
        self.by_peer: dict[str, deque[tuple[int, T]]] = {}

    def add(self, peer: str, number: int, item: T) -> None:
        """Keep the item until the peer has confirmed `number`, which is not below earlier ones."""
        self.by_peer.setdefault(peer, deque()).append((number, item))

    def confirmed(self, peer: str, number: int) -> Sequence[tuple[int, T]]:
        """Take out the items that waited for that number or lower ones, as (number, item)."""
        waiting = self.by_peer.get(peer)
        if waiting is None or waiting[0][0] > number:
            return NO_ITEMS
        taken = []
        while waiting and waiting[0][0] <= number:
            taken.append(waiting.popleft())
        if not waiting:
            del self.by_peer[peer]
        return taken

    def peer_gone(self, peer: str) -> Sequence[tuple[int, T]]:
        """Take out all items that waited for the peer, which will confirm nothing more."""
        return self.by_peer.pop(peer, NO_ITEMS)


class OutboxRows(Protocol):
    """The keys and values of an outbox's rows in its process's store."""

    def outbox(self, peer: str, number: int, /) -> bytes:
        """Return the key of a frame's row."""

    def last(self, peer: str, /) -> bytes:
        """Return the key of the row that has the number of the last frame for a peer."""

    def encode(self, value: Publish | int, /) -> bytes:
        """Return the value of either row."""


@final
class Outbox:
    """The stored frames of one process for all its peers."""

    __slots__ = ("_journal", "_last", "_links", "_rows", "_stored", "_uncommitted")

    def __init__(self, journal: Journal, links: Mapping[str, Link], rows: OutboxRows) -> None:
        """links: by the peers' names."""
        self._journal = journal
        self._links = links
        self._rows = rows
        # Peer -> the number of its last frame.
        self._last: dict[str, int] = {}
        # Keys of rows, until the peer's store has the frames.
        self._stored: UntilConfirmed[bytes] = UntilConfirmed()
        # (ticket of the transaction that has the frame's row, peer, frame).
        self._uncommitted: deque[tuple[int, str, Publish]] = deque()

    def load(
        self, last: Mapping[str, int], frames: Mapping[str, Sequence[tuple[int, Publish]]]
    ) -> None:
        """Load the last numbers, and the frames with their numbers, in order, by peer."""
        for peer, number in last.items():
            waiting = frames.get(peer, [])
            self._last[peer] = number
            for waiting_number, _ in waiting:
                self._stored.add(peer, waiting_number, self._rows.outbox(peer, waiting_number))
            if peer in self._links:
                self._links[peer].restore(number, [frame for _, frame in waiting])

    def send(self, peer: str, frame: Publish) -> None:
        """Store the frame, which is sent when its row is durable."""
        number = self._last[peer] = self._last.get(peer, 0) + 1
        key = self._rows.outbox(peer, number)
        self._journal.keep(key, self._rows.encode(frame))
        self._journal.keep(self._rows.last(peer), self._rows.encode(number))
        self._stored.add(peer, number, key)
        self._uncommitted.append((self._journal.ticket, peer, frame))

    def committed(self, ticket: int) -> None:
        """Send the frames whose transactions, up to that ticket, are durable."""
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0][0] <= ticket:
            _, peer, frame = uncommitted.popleft()
            self._links[peer].send_reliable(frame)

    def commit_failed(self) -> None:
        """Wait for the next transaction, which now has all rows that are not durable."""
        ticket = self._journal.ticket
        self._uncommitted = deque((ticket, peer, frame) for _, peer, frame in self._uncommitted)

    def confirmed(self, peer: str) -> None:
        """Delete the rows of frames that the peer has in its store."""
        for _, key in self._stored.confirmed(peer, self._links[peer].forgotten):
            self._journal.drop(key)
