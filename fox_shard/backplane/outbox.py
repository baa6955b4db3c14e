"""What a process keeps until its peers have confirmed it.

Owns: per peer, the order of what waits for a confirmed number; the frames that are rows of the
sender's store until the receiver's store has them. Never: what a frame means.

A frame of an `Outbox` goes to its peer when its row is durable. The row is deleted when the peer
has the frame in its own store. So the frame has its effect once, whichever process restarts
meanwhile.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar, final

from fox_shard.backplane.frames import Publish
from fox_shard.backplane.link import Link
from fox_shard.store.journal import Journal

T = TypeVar("T")


@final
class UntilConfirmed(Generic[T]):
    """Items that wait for their peers' confirmations, per peer in the order of their numbers."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, deque[tuple[int, T]]] = {}

    def add(self, peer: str, number: int, item: T) -> None:
        """Keep the item until the peer has confirmed `number`, which is not below earlier ones."""
        self._waiting.setdefault(peer, deque()).append((number, item))

    def confirmed(self, peer: str, number: int) -> list[tuple[int, T]]:
        """Take what waited for that number or lower ones, with the numbers."""
        waiting = self._waiting.get(peer)
        taken = []
        while waiting and waiting[0][0] <= number:
            taken.append(waiting.popleft())
        return taken

    def peer_gone(self, peer: str) -> list[tuple[int, T]]:
        """Take all that waited for that peer, which will confirm nothing more."""
        return list(self._waiting.pop(peer, ()))

    def is_awaited(self, peer: str) -> bool:
        """Does anything wait for that peer?"""
        return bool(self._waiting.get(peer))


class OutboxRows(Protocol):
    """How an outbox's state is written into its process's store."""

    def outbox(self, peer: str, number: int, /) -> bytes:
        """The key of a frame's row."""

    def last(self, peer: str, /) -> bytes:
        """The key of the row that counts the frames for a peer."""

    def encode(self, value: Publish | int, /) -> bytes:
        """The value of either row."""


@final
class Outbox:
    """The frames of one process for all its peers. links: by the peers' names."""

    __slots__ = ("_journal", "_last", "_links", "_rows", "_stored", "_uncommitted")

    def __init__(self, journal: Journal, links: Mapping[str, Link], rows: OutboxRows) -> None:
        self._journal = journal
        self._links = links
        self._rows = rows
        # The last number that was given, by peer.
        self._last: dict[str, int] = {}
        # Keys of rows, until the peer's store has the frames.
        self._stored: UntilConfirmed[bytes] = UntilConfirmed()
        # (ticket, peer, frame), for the transaction that has the frame's row.
        self._uncommitted: deque[tuple[int, str, Publish]] = deque()

    def load(
        self, last: Mapping[str, int], frames: Mapping[str, Sequence[tuple[int, Publish]]]
    ) -> None:
        """From the store: the counters, and the frames with their numbers, in order."""
        for peer, number in last.items():
            waiting = frames.get(peer, [])
            self._last[peer] = number
            for one, _ in waiting:
                self._stored.add(peer, one, self._rows.outbox(peer, one))
            if peer in self._links:
                self._links[peer].restore(number, [frame for _, frame in waiting])

    def send(self, peer: str, frame: Publish) -> None:
        """Send the frame when its row is durable."""
        number = self._last[peer] = self._last.get(peer, 0) + 1
        key = self._rows.outbox(peer, number)
        self._journal.keep(key, self._rows.encode(frame))
        self._journal.keep(self._rows.last(peer), self._rows.encode(number))
        self._stored.add(peer, number, key)
        self._uncommitted.append((self._journal.ticket, peer, frame))

    def committed(self, ticket: int) -> None:
        """Transactions up to that one are durable."""
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0][0] <= ticket:
            _, peer, frame = uncommitted.popleft()
            self._links[peer].send_reliable(frame)

    def commit_failed(self) -> None:
        """What was not durable is in the next transaction."""
        ticket = self._journal.ticket
        self._uncommitted = deque((ticket, peer, frame) for _, peer, frame in self._uncommitted)

    def confirmed(self, peer: str) -> None:
        """Delete the rows of what the peer has in its store."""
        for _, key in self._stored.confirmed(peer, self._links[peer].forgotten):
            self._journal.drop(key)
