"""The inbox: frames of other shards' outboxes, and what handles them.

Owns: how far the other shards' frames are in this store, and who handles which kind of frame.
Never: what a frame does.

The transaction that has a frame's effects also has the sender's *watermark*, the number of its last
frame that was handled. When that is durable, the sender is told, and deletes the frame's row. After
a restart the link leaves out what the watermark includes. Both rows are kept if a commit fails, so
a handler has to keep its rows, too (`Journal.keep`).
"""

from collections import deque
from collections.abc import Callable
from typing import Any, final

from fox_shard.backplane.frames import Frame, OutboxFrame
from fox_shard.shard import rows
from fox_shard.shard.links.peer import Peer
from fox_shard.store.journal import Journal

Handler = Callable[[Any, int], None]
"""Handles a frame of one kind. Its arguments are the frame and the number of the sending shard."""


@final
class Inbox:
    """The inbox of one shard. handlers: by the frames' types."""

    __slots__ = ("_journal", "_uncommitted", "handlers")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.handlers: dict[type[OutboxFrame], Handler] = {}
        # (ticket of the transaction that has the watermark, peer, its identity, watermark).
        self._uncommitted: deque[tuple[int, Peer, int, int]] = deque()

    def load(self, peer: Peer, row: rows.PeerRow) -> None:
        """Take another shard's watermark from the store."""
        link = peer.link
        link.peer_identity = row.identity
        link.watermark = link.durable = peer.applied = row.watermark

    def handle(self, frame: Frame, shard: int) -> None:
        """Handle a frame of that shard. Its effects are kept if the commit fails."""
        handler = self.handlers.get(type(frame))  # type: ignore[arg-type]
        if handler is None:
            raise TypeError(f"shard-{shard} sent a {type(frame).__name__} to a shard")
        handler(frame, shard)

    def batch_handled(self, peer: Peer, last: int) -> None:
        """Note that the present transaction has the effects of the peer's frames up to `last`."""
        identity = peer.link.peer_identity
        self._journal.keep(rows.peer(peer.name), rows.encode(rows.PeerRow(identity, last)))
        self._uncommitted.append((self._journal.ticket, peer, identity, last))

    def committed(self, ticket: int) -> None:
        """Tell the senders that what is in transactions up to that ticket is durable."""
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0][0] <= ticket:
            _, peer, identity, last = uncommitted.popleft()
            if peer.link.peer_identity == identity:
                peer.link.durable = max(peer.link.durable, last)
                peer.link.acknowledge_soon()

    def commit_failed(self) -> None:
        """Wait for the next transaction, in which the journal writes all these rows again."""
        ticket = self._journal.ticket
        self._uncommitted = deque((ticket, *one[1:]) for one in self._uncommitted)

    @property
    def idle(self) -> bool:
        """Whether all that was handled is durable."""
        return not self._uncommitted
