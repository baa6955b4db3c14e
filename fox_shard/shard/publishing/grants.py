"""Publishes that have waited and were let through, until their publishers have heard of it.

Owns: the rows for that, and how long they are kept. Never: letting anybody through, telling.

A gateway forgets a publish that waits, since it is in the store. So what became of it is there,
too, until the gateway has confirmed that it was told; by then every other gateway has its event.
"""

from collections import deque
from collections.abc import Iterator
from typing import final

from fox_shard.shard import rows
from fox_shard.shard.links.peer import Peer
from fox_shard.store.journal import Journal


@final
class Grants:
    """Of one shard."""

    __slots__ = ("_journal", "_loaded", "_told")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # From the store, until everybody has replayed.
        self._loaded: deque[rows.GrantRow] = deque()
        # Gateway -> (reliable number of what told it, row).
        self._told: dict[str, deque[tuple[int, bytes]]] = {}

    def load(self, row: rows.GrantRow) -> None:
        """From the store, in the order of publications."""
        self._loaded.append(row)

    def take_loaded(self, before: int) -> Iterator[rows.GrantRow]:
        """Those up to that id that may not have been told, or sent to all, before the restart."""
        while self._loaded and self._loaded[0].event.publication < before:
            yield self._loaded.popleft()

    def told(self, peer: Peer, publication: int) -> None:
        """The gateway has just been sent `Published`, or need not be."""
        row = rows.grant(publication)
        if peer.gone:
            self._journal.drop(row)
            return
        self._told.setdefault(peer.name, deque()).append((peer.link.reliably_sent, row))

    def prune(self, peer: Peer) -> None:
        """Drop the rows of what the gateway has heard."""
        told = self._told.get(peer.name)
        while told and told[0][0] <= peer.link.forgotten:
            self._journal.drop(told.popleft()[1])

    def gone(self, peer: Peer) -> None:
        """That incarnation will not come back."""
        for _, row in self._told.pop(peer.name, ()):
            self._journal.drop(row)

    @property
    def gateways(self) -> dict[str, int]:
        """Those that are to be told, each with its incarnation."""
        return {row.gateway: row.incarnation for row in self._loaded}
