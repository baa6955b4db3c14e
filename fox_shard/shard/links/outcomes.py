"""How far the peers' reliable frames are recorded in the store, and how each of them ended.

Owns: watermarks and outcomes, and their rows. Never: what a frame does.

A frame that changes the store is *recorded*: its number and its outcome are in the transaction that
has its effect. After a restart the peers send all frames again that they do not know to be durable.
A frame with an outcome is answered from it and not applied again; any other frame is handled again.
An outcome is kept until the peer has heard that it may forget the frame.
"""

from typing import final

from fox_shard.backplane.outbox import UntilConfirmed
from fox_shard.shard import rows
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.store.journal import Journal

REFUSED = 0
"""In place of a publication id: the store failed, and the publisher is told so."""

PARKED = -(1 << 61)
"""In place of a publication id: the publish waits for its condition, or has waited."""

LIMIT_EXCEEDED = -(1 << 62)
"""In place of a publication id: the publish went beyond a limit."""

QUEUE_FULL = -(3 << 60)
"""In place of a publication id: the queue of a reducer, or of an aggregate's shard, was full."""

INVALID = -(5 << 60)
"""In place of a publication id: a table or a rule did not admit the publish."""

GONE = -1
"""In place of a watermark: this incarnation of a gateway is gone, and not let in again."""

QUEUE_FULL = -(3 << 60)
"""In place of a publication id: the queue of a reducer was full."""

HIDDEN_KEY = 1 << 60
"""In place of the key's publication id: the publisher is not shown the key."""


def condition_failed(present: int) -> int:
    """Return the outcome of a publish whose condition failed; given the outcome, return `present`.

    present: the key's publication id; 0: there is no key; or HIDDEN_KEY.
    """
    return -1 - present


@final
class PeerOutcomes:
    """The outcomes of one peer. identity, watermark: as in its row; 0: there is no row."""

    __slots__ = ("identity", "outcomes", "watermark")

    def __init__(self) -> None:
        self.identity = 0
        self.watermark = 0
        # Outcomes of frames that may be sent again since the restart: rseq -> publication id.
        self.outcomes: dict[int, int] = {}


@final
class Outcomes:
    """The watermarks and outcomes of all peers of one shard."""

    __slots__ = ("_batch", "_records", "_rows", "gone", "journal")

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._records: dict[str, PeerOutcomes] = {}
        # The incarnations of gateways that were declared gone before the restart.
        self.gone: dict[str, int] = {}
        # Keys of the outcomes' rows, each under the last reliable number in the row.
        self._rows: UntilConfirmed[bytes] = UntilConfirmed()
        # Outcomes of the batch that is being handled: (rseq, publication id).
        self._batch: list[tuple[int, int]] = []

    def _record(self, name: str) -> PeerOutcomes:
        record = self._records.get(name)
        if record is None:
            record = self._records[name] = PeerOutcomes()
        return record

    # Loading

    def load_peer(self, name: str, row: rows.PeerRow) -> None:
        """Add a peer's watermark from the store, or that it is gone."""
        if row.watermark == GONE:
            self.gone[name] = row.identity
            return
        record = self._record(name)
        record.identity, record.watermark = row.identity, row.watermark

    def load_outcomes(self, name: str, key: bytes, outcomes: list[tuple[int, int]]) -> None:
        """Add one row of outcomes from the store. Rows are loaded in the order of their keys."""
        record = self._record(name)
        record.outcomes.update(outcomes)
        self._rows.add(name, outcomes[-1][0], key)

    @property
    def names(self) -> dict[str, int]:
        """The peers that have a watermark, each with its identity."""
        return {name: record.identity for name, record in self._records.items() if record.identity}

    # Recording

    def add(self, rseq: int, publication: int) -> None:
        """Record the outcome of a frame of the present batch.

        rseq: the frame's reliable number; 0: it has none, so nothing is recorded. publication: the
        publication id, REFUSED, PARKED, LIMIT_EXCEEDED, QUEUE_FULL, INVALID, or
        `condition_failed(present)`.
        """
        if rseq:
            self._batch.append((rseq, publication))

    def batch_handled(self, peer: Peer, last: int) -> None:
        """Write the outcomes of the peer's batch, which has been handled.

        last: the highest reliable number of the batch, which has one.
        """
        if not self._batch:
            return
        self.keep_watermark(peer, last)
        key = rows.outcomes(peer.name, self._batch[0][0])
        value = rows.encode(self._batch)
        if any(publication == REFUSED for _, publication in self._batch):
            # Nothing can be put while the store fails, but the refusals have to be written later.
            self.journal.keep(key, value)
        else:
            self.journal.put(key, value)
        self._rows.add(peer.name, self._batch[-1][0], key)
        self._batch = []

    def keep_watermark(self, peer: Peer, last: int) -> None:
        """Note that the present transaction has the effects of the peer's frames up to `last`."""
        record = self._record(peer.name)
        record.identity = peer.link.peer_identity
        record.watermark = max(record.watermark, last)
        row = rows.PeerRow(record.identity, record.watermark)
        self.journal.keep(rows.peer(peer.name), rows.encode(row))

    def commit_failed(self, name: str, identity: int, rseqs: list[int]) -> None:
        """Record that the frames were refused, because their commit has failed.

        name, identity: of the peer that sent the frames, and may be gone since then. rseqs: their
        reliable numbers, ascending; at least one.
        """
        record = self._records.get(name)
        if record is not None and record.identity == identity:
            row, key = [(rseq, REFUSED) for rseq in rseqs], rows.outcomes(name, rseqs[0])
            self.journal.keep(key, rows.encode(row))
            # The batch's own row, which failed, may have begun with another frame. Rows of later
            # frames may have been added since then.
            self._rows.add(name, record.watermark, key)

    # After a restart

    def watermark(self, peer: Peer) -> int:
        """Return the reliable number up to which the peer's frames may be recorded; 0: none is."""
        record = self._records.get(peer.name)
        if record is None or record.identity != peer.link.peer_identity:
            return 0
        return record.watermark

    def is_recorded(self, peer: Peer, rseq: int) -> bool:
        """Whether the frame had its effect before the restart.

        A gateway does not repeat a frame whose outcome is deleted. The coordinator may, because it
        deletes the rows of its outbox late; so for its frames the watermark decides.
        """
        if not 0 < rseq <= self.watermark(peer):
            return False
        return peer.kind is Kind.COORDINATOR or self.outcome(peer, rseq) is not None

    def outcome(self, peer: Peer, rseq: int) -> int | None:
        """Return how the frame ended (see `add`); None: no outcome is known."""
        record = self._records.get(peer.name)
        return None if record is None else record.outcomes.get(rseq)

    # Forgetting

    def confirmed(self, peer: Peer) -> None:
        """Drop the outcomes of frames that the peer will not send again."""
        # Called for every batch, mostly in vain.
        if peer.name not in self._rows.by_peer:
            return
        confirmed = self._rows.confirmed(peer.name, peer.link.peer_forgotten)
        for _, key in confirmed:
            self.journal.drop(key)
        if confirmed and peer.name not in self._rows.by_peer:
            self._records[peer.name].outcomes.clear()

    def link_opened(self, peer: Peer) -> None:
        """Drop what is known of the peer if its new pair begins another numbering."""
        record = self._records.get(peer.name)
        if record is not None and record.identity != peer.link.peer_identity:
            self._drop(peer.name)

    def peer_gone(self, peer: Peer) -> None:
        """Drop what is known of a gateway whose incarnation will not come back.

        The numbering of another process may outlive its incarnation (see `Hello.identity`).
        """
        if peer.kind is Kind.GATEWAY:
            self._drop(peer.name)

    def keep_gone(self, name: str, incarnation: int) -> None:
        """Note that the incarnation is gone, so that a restart does not let it in again.

        incarnation: 0: delete the note.
        """
        row = rows.PeerRow(incarnation, GONE)
        self.journal.keep(rows.peer(name), rows.encode(row) if incarnation else None)

    def _drop(self, name: str) -> None:
        record = self._records.pop(name, None)
        if record is not None:
            for _, key in self._rows.peer_gone(name):
                self.journal.drop(key)
            self.journal.drop(rows.peer(name))

    def resent_handled(self, peer: Peer) -> None:
        """Forget the outcomes: all frames that the peer sent again have been handled."""
        record = self._records.get(peer.name)
        if record is not None:
            record.outcomes.clear()

    @property
    def lowest(self) -> int | None:
        """The lowest publication id that may be sent again since the restart; None: none may."""
        return min(
            (id_ for one in self._records.values() for id_ in one.outcomes.values() if id_ > 0),
            default=None,
        )
