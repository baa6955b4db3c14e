"""Changes of keys that somebody who follows the state may not have heard of.

Owns: a row for each such key, until every gateway concerned has confirmed its last change. Never:
who is told, keys.

A shard that dies takes along what it was about to tell. A publish comes again, if its gateway still
lives; a key that has gone by itself does not. Whoever follows the state would be wrong about it for
ever. So after a restart the state of these keys is told once more.
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
    """Of one shard."""

    __slots__ = ("_awaited", "_changing", "_journal", "_loaded", "_sent")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # Changes that were noted and have not been told.
        self._changing: dict[KeyRef, int] = {}
        # Place -> gateways that have been told and have not confirmed, with the reliable number.
        self._awaited: dict[KeyRef, dict[str, int]] = {}
        # The same by gateway, in the order of numbers.
        self._sent: UntilConfirmed[KeyRef] = UntilConfirmed()
        # From the store, until everybody has replayed.
        self._loaded: dict[KeyRef, rows.UnannouncedRow] = {}

    def add(self, change: KeyChange) -> None:
        """In this transaction; `told` or `undo` is to follow."""
        change.unannounced = True
        key = rows.unannounced(*change.ref)
        value = rows.encode(rows.UnannouncedRow(change.publication, change.removed))
        if change.event is not None or change.uncommitted:
            self._journal.put(key, value)
        else:
            self._journal.keep(key, value)
        self._changing[change.ref] = self._changing.get(change.ref, 0) + 1

    def announced(self, change: KeyChange, peers: list[Peer]) -> None:
        """Those gateways have just been sent it."""
        left = self._changing.pop(change.ref) - 1
        if left:
            self._changing[change.ref] = left
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
        """All transactions that are not durable have failed, and what waited for them."""
        self._changing.clear()

    def confirmed(self, peer: Peer) -> None:
        """What the gateway has confirmed."""
        self._confirmed(peer, self._sent.confirmed(peer.name, peer.link.forgotten))

    def peer_gone(self, peer: Peer) -> None:
        """That incarnation will not come back."""
        self._confirmed(peer, self._sent.peer_gone(peer.name))

    def _confirmed(self, peer: Peer, announced: Iterable[tuple[int, KeyRef]]) -> None:
        for sent, ref in announced:
            awaited = self._awaited.get(ref, {})
            if awaited.get(peer.name) == sent:
                del awaited[peer.name]
                self._drop_if_confirmed(ref)

    # After a restart

    def load(self, ref: KeyRef, row: rows.UnannouncedRow) -> None:
        """From the store."""
        if ref not in self._loaded or not row.publication:
            self._loaded[ref] = row

    def expired_while_down(self, ref: KeyRef, removed: str) -> None:
        """That key has gone while the shard was down; that has no id yet (0)."""
        row = self._loaded[ref] = rows.UnannouncedRow(0, removed)
        # The shard may die again before it is told.
        self._journal.keep(rows.unannounced(*ref), rows.encode(row))

    @property
    def lowest(self) -> int | None:
        """The lowest id of the changes that are yet to be told again; None: there is none."""
        ids = (row.publication for row in self._loaded.values() if row.publication)
        return min(ids, default=None)

    def take_loaded(self) -> dict[KeyRef, rows.UnannouncedRow]:
        """What may not have been told before it. Each is to be told again."""
        loaded, self._loaded = self._loaded, {}
        return loaded

    def announced_again(self, ref: KeyRef, peers: list[Peer]) -> None:
        """Those gateways have just been sent the state of that key."""
        self._await(ref, peers)
