"""Unannounced changes: key changes that some state stream may not have received.

Owns: a row for each such key, until every gateway concerned has confirmed its last change. Never:
who is told; keys.

A shard that dies loses the frames that it was about to send. A publish is sent again by its
gateway, if that still lives; the removal of a key by time or by a session's end is not. Subscribers
to state would be wrong about the key for ever. So a restarted shard announces the state of these
keys once more.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.outbox import UntilConfirmed
from fox_shard.shard import rows
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.rows import KeyRef
from fox_shard.store.journal import Journal


@final
class UnannouncedChanges:
    """The unannounced changes of one shard."""

    __slots__ = ("_awaited", "_changing", "_journal", "_loaded", "_sent")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # Key -> the number of its changes that have rows and have not been announced.
        self._changing: dict[KeyRef, int] = {}
        # Key -> gateways that have been sent its last change and have not confirmed it, each with
        # the reliable number of that frame.
        self._awaited: dict[KeyRef, dict[str, int]] = {}
        # The same by gateway, in the order of the numbers.
        self._sent: UntilConfirmed[KeyRef] = UntilConfirmed()
        # Rows from the store, until the peers have replayed.
        self._loaded: dict[KeyRef, rows.UnannouncedRow] = {}

    def add(self, change: KeyChange) -> None:
        """Write the change's row in the present transaction.

        `announced` must follow, or `commit_failed`.
        """
        change.unannounced = True
        key = rows.unannounced(*change.ref)
        row = rows.UnannouncedRow(change.publication, change.removed, change.computed)
        value = rows.encode(row)
        if change.event is not None or change.uncommitted:
            self._journal.put(key, value)
        else:
            self._journal.keep(key, value)
        self._changing[change.ref] = self._changing.get(change.ref, 0) + 1

    def announced(self, change: KeyChange, peers: list[Peer]) -> None:
        """Note that the change has just been sent to these gateways."""
        remaining = self._changing.pop(change.ref) - 1
        if remaining:
            self._changing[change.ref] = remaining
        self._await(change.ref, peers)

    def _await(self, ref: KeyRef, peers: list[Peer]) -> None:
        awaited = self._awaited.setdefault(ref, {})
        for peer in peers:
            awaited[peer.name] = peer.link.reliably_sent
            self._sent.add(peer.name, peer.link.reliably_sent, ref)
        self._drop_if_confirmed(ref)

    def _drop_if_confirmed(self, ref: KeyRef) -> None:
        if not self._awaited.get(ref) and ref not in self._changing:
            self._awaited.pop(ref, None)
            self._journal.drop(rows.unannounced(*ref))

    def commit_failed(self) -> None:
        """Forget the changes that waited to be announced: their transactions have failed."""
        self._changing.clear()

    def confirmed(self, peer: Peer) -> None:
        """Drop the rows of changes that the gateway was the last to confirm."""
        if peer.name in self._sent.by_peer:
            self._confirmed(peer, self._sent.confirmed(peer.name, peer.link.forgotten))

    def peer_gone(self, peer: Peer) -> None:
        """Expect no more confirmations: that incarnation of the gateway will not come back."""
        self._confirmed(peer, self._sent.peer_gone(peer.name))

    def _confirmed(self, peer: Peer, announced: Iterable[tuple[int, KeyRef]]) -> None:
        for sent, ref in announced:
            awaited = self._awaited.get(ref, {})
            if awaited.get(peer.name) == sent:
                del awaited[peer.name]
                self._drop_if_confirmed(ref)

    # After a restart

    def load(self, ref: KeyRef, row: rows.UnannouncedRow) -> None:
        """Take a row from the store."""
        if ref not in self._loaded or not row.publication:
            self._loaded[ref] = row

    def expired_while_down(self, ref: KeyRef, removed: str) -> None:
        """Note that the key expired while the shard was down; the change has no id yet (0)."""
        row = self._loaded[ref] = rows.UnannouncedRow(0, removed)
        # The shard may die again before it announces the change.
        self._journal.keep(rows.unannounced(*ref), rows.encode(row))

    @property
    def lowest(self) -> int | None:
        """The lowest id of the changes that are still to be announced again; None: none are."""
        ids = (row.publication for row in self._loaded.values() if row.publication)
        return min(ids, default=None)

    def take_loaded(self) -> dict[KeyRef, rows.UnannouncedRow]:
        """Take the loaded rows; the caller announces the state of each key again."""
        loaded, self._loaded = self._loaded, {}
        return loaded

    def announced_again(self, ref: KeyRef, peers: list[Peer]) -> None:
        """Note that the key's state has just been sent to these gateways."""
        self._await(ref, peers)
