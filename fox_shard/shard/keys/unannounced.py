"""Changes of keys that somebody who follows the state may not have heard of.

Owns: a row for each such key, until every gateway concerned has confirmed its last change. Never:
who is told, keys.

A shard that dies takes along what it was about to tell. A publish comes again, if its gateway still
lives; a key that has gone by itself does not. Whoever follows the state would be wrong about it for
ever. So after a restart the state of these keys is told once more.
"""

from collections import deque
from typing import final

from fox_shard.shard import rows
from fox_shard.shard.keys.change import Change
from fox_shard.shard.links.deliveries import EVERYTHING
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.rows import Place
from fox_shard.store.journal import Journal


@final
class Untold:
    """Of one shard."""

    __slots__ = ("_awaited", "_changing", "_journal", "_loaded", "_told")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # Changes that were noted and have not been told.
        self._changing: dict[Place, int] = {}
        # Place -> gateways that have been told and have not confirmed, with the reliable number.
        self._awaited: dict[Place, dict[str, int]] = {}
        # The same by gateway, in the order of numbers.
        self._told: dict[str, deque[tuple[int, Place]]] = {}
        # From the store, until everybody has replayed.
        self._loaded: dict[Place, rows.UntoldRow] = {}

    def note(self, change: Change) -> None:
        """In this transaction; `told` or `undo` is to follow."""
        change.noted = True
        key = rows.untold(*change.place)
        value = rows.encode(rows.UntoldRow(change.publication, change.removed))
        if change.event is not None or change.unsettled:
            self._journal.put(key, value)
        else:
            self._journal.keep(key, value)
        self._changing[change.place] = self._changing.get(change.place, 0) + 1

    def told(self, change: Change, peers: list[Peer]) -> None:
        """Those gateways have just been sent it."""
        left = self._changing.pop(change.place) - 1
        if left:
            self._changing[change.place] = left
        self._await(change.place, peers)

    def _await(self, place: Place, peers: list[Peer]) -> None:
        awaited = self._awaited.setdefault(place, {})
        for peer in peers:
            awaited[peer.name] = peer.link.reliably_sent
            self._told.setdefault(peer.name, deque()).append((peer.link.reliably_sent, place))
        self._drop_if_told(place)

    def _drop_if_told(self, place: Place) -> None:
        if not self._awaited.get(place) and place not in self._changing:
            self._awaited.pop(place, None)
            self._journal.drop(rows.untold(*place))

    def undo(self) -> None:
        """All transactions that are not durable have failed, and what waited for them."""
        self._changing.clear()

    def prune(self, peer: Peer) -> None:
        """What the gateway has confirmed."""
        self._confirmed(peer, peer.link.forgotten)

    def gone(self, peer: Peer) -> None:
        """That incarnation will not come back."""
        self._confirmed(peer, EVERYTHING)

    def _confirmed(self, peer: Peer, number: int) -> None:
        told = self._told.get(peer.name)
        while told and told[0][0] <= number:
            sent, place = told.popleft()
            awaited = self._awaited.get(place, {})
            if awaited.get(peer.name) == sent:
                del awaited[peer.name]
                self._drop_if_told(place)

    # After a restart

    def load(self, place: Place, row: rows.UntoldRow) -> None:
        """From the store."""
        if place not in self._loaded or not row.publication:
            self._loaded[place] = row

    def went_meanwhile(self, place: Place, removed: str) -> None:
        """That key has gone while the shard was down; that has no id yet (0)."""
        row = self._loaded[place] = rows.UntoldRow(0, removed)
        # The shard may die again before it is told.
        self._journal.keep(rows.untold(*place), rows.encode(row))

    @property
    def lowest(self) -> int | None:
        """The lowest id of the changes that are yet to be told again; None: there is none."""
        ids = (row.publication for row in self._loaded.values() if row.publication)
        return min(ids, default=None)

    def take_loaded(self) -> dict[Place, rows.UntoldRow]:
        """What may not have been told before it. Each is to be told again."""
        loaded, self._loaded = self._loaded, {}
        return loaded

    def told_again(self, place: Place, peers: list[Peer]) -> None:
        """Those gateways have just been sent the state of that key."""
        self._await(place, peers)
