"""How far the peers' reliable frames are in the store, and how each ended.

Owns: watermarks and outcomes, and their rows. Never: what a frame does.

A frame that changes the store is *recorded*: its number and its outcome are in the transaction that
has its effect. After a restart the peers send again what they do not know to be safe. What has an
outcome is answered from it, and not applied again. An outcome is kept until the peer has heard that
it may forget the frame. Whatever else comes again is handled again.
"""

from collections import deque
from typing import final

from fox_shard.shard import rows
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.store.journal import Journal

REFUSED = 0
"""In place of a publication id: the store did not work, and the publisher is told so."""


PARKED = -(1 << 61)
"""In place of a publication id: the publish waits for its condition, or did."""

HIDDEN = 1 << 60
"""In place of the id that the key has: the publisher is not shown it."""


def condition_failed(present: int) -> int:
    """In place of a publication id, and back: a condition failed. present: the key's id, or 0."""
    return -1 - present


@final
class Record:
    """Of one peer. identity, watermark: as in its row; 0: there is none."""

    __slots__ = ("identity", "outcomes", "rows", "watermark")

    def __init__(self) -> None:
        self.identity = 0
        self.watermark = 0
        # Since the restart, what may come again: rseq -> publication id.
        self.outcomes: dict[int, int] = {}
        # Rows of outcomes: (last rseq, key).
        self.rows: deque[tuple[int, bytes]] = deque()


@final
class Ledger:
    """Of all peers."""

    __slots__ = ("_batch", "_records", "journal")

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._records: dict[str, Record] = {}
        # Of the batch that is being handled: (rseq, publication id).
        self._batch: list[tuple[int, int]] = []

    def _record(self, name: str) -> Record:
        record = self._records.get(name)
        if record is None:
            record = self._records[name] = Record()
        return record

    # Loading

    def load_peer(self, name: str, row: rows.PeerRow) -> None:
        """A watermark from the store."""
        record = self._record(name)
        record.identity, record.watermark = row.identity, row.watermark

    def load_outcomes(self, name: str, key: bytes, outcomes: list[tuple[int, int]]) -> None:
        """Outcomes from the store; in the order of their keys."""
        record = self._record(name)
        record.outcomes.update(outcomes)
        record.rows.append((outcomes[-1][0], key))

    @property
    def names(self) -> dict[str, int]:
        """The peers that are named in the store, with their identities."""
        return {name: record.identity for name, record in self._records.items() if record.identity}

    # Recording

    def note(self, rseq: int, publication: int) -> None:
        """That frame of the present batch is recorded. publication: its id, or REFUSED."""
        if rseq:
            self._batch.append((rseq, publication))

    def close(self, peer: Peer, last: int) -> None:
        """The batch has been handled. last: its last reliable number, of which it has some."""
        if not self._batch:
            return
        self.keep_watermark(peer, last)
        record = self._record(peer.name)
        key = rows.outcomes(peer.name, self._batch[0][0])
        value = rows.encode(self._batch)
        if any(publication == REFUSED for _, publication in self._batch):
            self.journal.keep(key, value)
        else:
            self.journal.put(key, value)
        record.rows.append((self._batch[-1][0], key))
        self._batch = []

    def keep_watermark(self, peer: Peer, last: int) -> None:
        """In this transaction is what the peer's reliable frames up to `last` did to the store."""
        record = self._record(peer.name)
        record.identity = peer.link.peer_identity
        record.watermark = max(record.watermark, last)
        row = rows.PeerRow(record.identity, record.watermark)
        self.journal.keep(rows.peer(peer.name), rows.encode(row))

    def refused(self, name: str, identity: int, rseqs: list[int]) -> None:
        """The commit of those frames has failed, and their publishers are told so.

        name, identity: of the peer that has sent them; it may have gone since then.
        """
        record = self._records.get(name)
        if record is not None and record.identity == identity:
            row = [(rseq, REFUSED) for rseq in rseqs]
            self.journal.keep(rows.outcomes(name, rseqs[0]), rows.encode(row))

    # After a restart

    def watermark(self, peer: Peer) -> int:
        """Up to which of its numbers the peer's frames may be recorded."""
        record = self._records.get(peer.name)
        if record is None or record.identity != peer.link.peer_identity:
            return 0
        return record.watermark

    def is_recorded(self, peer: Peer, rseq: int) -> bool:
        """Has that frame had its effect before the restart?

        A gateway sends nothing again whose outcome is deleted; an outbox, whose own rows are
        deleted late, does.
        """
        if not 0 < rseq <= self.watermark(peer):
            return False
        return peer.kind is Kind.COORDINATOR or self.outcome(peer, rseq) is not None

    def outcome(self, peer: Peer, rseq: int) -> int | None:
        """How that frame ended; None: it is not recorded."""
        record = self._records.get(peer.name)
        return None if record is None else record.outcomes.get(rseq)

    # Forgetting

    def prune(self, peer: Peer) -> None:
        """Drop the outcomes of what the peer will not send again."""
        record = self._records.get(peer.name)
        if record is None:
            return
        forgotten = peer.link.peer_forgot
        while record.rows and record.rows[0][0] <= forgotten:
            self.journal.drop(record.rows.popleft()[1])
            if not record.rows:
                record.outcomes.clear()

    def opened(self, peer: Peer) -> None:
        """A link has begun. Its numbers may be those of another than was known by that name."""
        record = self._records.get(peer.name)
        if record is not None and record.identity != peer.link.peer_identity:
            self._drop(peer.name)

    def gone(self, peer: Peer) -> None:
        """That incarnation will not come back. What others than gateways number may."""
        if peer.kind is Kind.GATEWAY:
            self._drop(peer.name)

    def _drop(self, name: str) -> None:
        record = self._records.pop(name, None)
        if record is not None:
            for _, key in record.rows:
                self.journal.drop(key)
            self.journal.drop(rows.peer(name))

    def caught_up(self, peer: Peer) -> None:
        """All that the peer sent again since the restart has been handled."""
        record = self._records.get(peer.name)
        if record is not None:
            record.outcomes.clear()

    @property
    def lowest(self) -> int | None:
        """The lowest id of those that may come again since the restart; None: there is none."""
        return min(
            (id_ for one in self._records.values() for id_ in one.outcomes.values() if id_ > 0),
            default=None,
        )
