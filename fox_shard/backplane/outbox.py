"""Outboxes: items that a process keeps until its peers have confirmed them.

Owns: per peer, the order of items that wait for a confirmed number; the frames that are rows of the
sender's store until the receiver's store has them. Never: what a frame means.

A frame of an `Outbox` is sent when its row is durable. The row is deleted when the peer has the
frame in its own store. So the frame has its effect exactly once, whichever process restarts.

A frame is given to its link only while less than a *window* of bytes is given and not confirmed.
So what is sent again in a new pair is bounded, however much waits for a peer that is down.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from sys import maxsize
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, final

from fox_shard.backplane.frames import Frame
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

    def encode(self, value: Frame | int, /) -> bytes:
        """Return the value of either row."""


class StoredFrame(NamedTuple):
    """A frame that has a row. number: its reliable number. size: bytes of the row's value."""

    number: int
    size: int
    frame: Frame


class _Uncommitted(NamedTuple):
    """A frame whose row is in the transaction with that ticket, which is not durable."""

    ticket: int
    peer: str
    stored: StoredFrame
    revocable: bool


UNLIMITED: Final = maxsize
"""A window that is never used up."""


@final
class Outbox:
    """The stored frames of one process for all its peers."""

    __slots__ = (
        "_given",
        "_journal",
        "_last",
        "_links",
        "_ready",
        "_rows",
        "_sizes",
        "_uncommitted",
        "_under_way",
        "_window",
    )

    def __init__(
        self,
        journal: Journal,
        links: Mapping[str, Link],
        rows: OutboxRows,
        window: int = UNLIMITED,
    ) -> None:
        """links: by the peers' names. window: bytes, see the module."""
        self._journal = journal
        self._links = links
        self._rows = rows
        self._window = window
        # Peer -> the number of its last frame.
        self._last: dict[str, int] = {}
        # Frames whose rows are not durable; frames whose rows are, until they are given to their
        # links; and those that are given, until the peers' stores have them.
        self._uncommitted: deque[_Uncommitted] = deque()
        self._ready: dict[str, deque[StoredFrame]] = {}
        self._given: UntilConfirmed[StoredFrame] = UntilConfirmed()
        # Peer -> bytes of all its frames, and of those that are given.
        self._sizes: dict[str, int] = {}
        self._under_way: dict[str, int] = {}

    def load(
        self, last: Mapping[str, int], frames: Mapping[str, Sequence[tuple[int, Frame]]]
    ) -> None:
        """Load the last numbers, and the frames with their numbers, in order, by peer.

        The first frames, a window of them, may have been sent before.
        """
        for peer, number in last.items():
            self._last[peer] = number
            waiting = deque(self._stored(n, frame) for n, frame in frames.get(peer, ()))
            self._sizes[peer] = sum(stored.size for stored in waiting)
            again: list[Frame] = []
            while waiting and self._under_way.get(peer, 0) < self._window:
                stored = waiting.popleft()
                self._note_given(peer, stored)
                again.append(stored.frame)
            if waiting:
                self._ready[peer] = waiting
                number = waiting[0].number - 1
            if peer in self._links:
                self._links[peer].restore(number, again)

    def _stored(self, number: int, frame: Frame) -> StoredFrame:
        return StoredFrame(number, len(self._rows.encode(frame)), frame)

    def send(self, peer: str, frame: Frame, *, revocable: bool = False) -> None:
        """Store the frame in the present transaction; it is sent when that is durable.

        If the commit fails, the row is written again, unless the frame is revocable: then it is
        dropped, because the request that caused it is refused.
        """
        number = self._last.get(peer, 0) + 1
        stored = self._write(peer, number, frame, revocable=revocable)
        self._sizes[peer] = self._sizes.get(peer, 0) + stored.size

    def _write(self, peer: str, number: int, frame: Frame, *, revocable: bool) -> StoredFrame:
        journal, rows = self._journal, self._rows
        value = rows.encode(frame)
        write = journal.put if revocable else journal.keep
        write(rows.outbox(peer, number), value)
        self._keep_last(peer, number)
        stored = StoredFrame(number, len(value), frame)
        self._uncommitted.append(_Uncommitted(journal.ticket, peer, stored, revocable))
        return stored

    def _keep_last(self, peer: str, number: int) -> None:
        self._last[peer] = number
        self._journal.keep(self._rows.last(peer), self._rows.encode(number))

    def committed(self, ticket: int) -> None:
        """Send the frames whose transactions, up to that ticket, are durable."""
        uncommitted = self._uncommitted
        if not uncommitted or uncommitted[0].ticket > ticket:
            return
        ready = self._ready
        while uncommitted and uncommitted[0].ticket <= ticket:
            _, peer, stored, _ = uncommitted.popleft()
            ready.setdefault(peer, deque()).append(stored)
        for peer in list(ready):
            self._give(peer)

    def _give(self, peer: str) -> None:
        """Give the link as many of the peer's frames as the window lets through."""
        ready = self._ready.get(peer)
        if ready is None:
            return
        link = self._links[peer]
        while ready and self._under_way.get(peer, 0) < self._window:
            stored = ready.popleft()
            self._note_given(peer, stored)
            link.send_reliable(stored.frame)
        if not ready:
            del self._ready[peer]

    def _note_given(self, peer: str, stored: StoredFrame) -> None:
        self._given.add(peer, stored.number, stored)
        self._under_way[peer] = self._under_way.get(peer, 0) + stored.size

    def commit_failed(self) -> None:
        """Wait for the next transaction, which has the rows that are not durable.

        The frames that take the places of revoked ones take their numbers, too, so that the numbers
        have no hole.
        """
        failed, self._uncommitted = self._uncommitted, deque()
        free: dict[str, deque[int]] = {}
        for _, peer, stored, _ in failed:
            free.setdefault(peer, deque()).append(stored.number)
        for _, peer, stored, revocable in failed:
            if revocable:
                self._sizes[peer] -= stored.size
            else:
                self._write(peer, free[peer].popleft(), stored.frame, revocable=False)
        for peer, numbers in free.items():
            if numbers:
                self._keep_last(peer, numbers[0] - 1)
            for number in numbers:
                self._journal.keep(self._rows.outbox(peer, number), None)

    def confirmed(self, peer: str) -> None:
        """Delete the rows of frames that the peer has in its store."""
        # Called for every batch, mostly in vain.
        if peer not in self._given.by_peer:
            return
        for number, stored in self._given.confirmed(peer, self._links[peer].forgotten):
            self._journal.drop(self._rows.outbox(peer, number))
            self._under_way[peer] -= stored.size
            self._sizes[peer] -= stored.size
        self._give(peer)

    def waiting(self, peer: str) -> int:
        """Return the bytes of the frames that the peer is not known to have in its store."""
        return self._sizes.get(peer, 0)

    @property
    def total(self) -> int:
        """The bytes of all frames that peers are not known to have in their stores."""
        return sum(self._sizes.values())
