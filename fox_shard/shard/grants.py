"""Publishes that have waited and were let through, until their publishers have heard of it.

Owns: telling them, also after a restart, and the rows for that. Never: letting anybody through.

A gateway forgets a publish that waits, since it is in the store. So what became of it is there,
too, until the gateway has confirmed that it was told; by then every other gateway has its event.
"""

from collections import deque
from typing import final

from fox_shard.backplane.frames import ACKNOWLEDGE, Event, Published
from fox_shard.shard import rows
from fox_shard.shard.peer import Peer
from fox_shard.store.journal import Journal


@final
class Grants:
    """Of one shard."""

    __slots__ = ("_journal", "_stored", "_told", "loaded")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # Since the restart: of each gateway, those that it has not been told again.
        self._stored: dict[str, list[rows.GrantRow]] = {}
        # Gateway -> (reliable number of what told it, row).
        self._told: dict[str, deque[tuple[int, bytes]]] = {}
        # Their events, which other gateways may have missed.
        self.loaded: list[Event] = []

    def load(self, row: rows.GrantRow) -> None:
        """From the store, in the order of publications."""
        self._stored.setdefault(row.gateway, []).append(row)
        self.loaded.append(row.event)

    def told(self, peer: Peer, publication: int) -> None:
        """The gateway has just been sent `Published`, or need not be."""
        row = rows.grant(publication)
        self._told.setdefault(peer.name, deque()).append((peer.link.reliably_sent, row))

    def prune(self, peer: Peer) -> None:
        """Drop the rows of what the gateway has heard."""
        told = self._told.get(peer.name)
        while told and told[0][0] <= peer.link.forgotten:
            self._journal.drop(told.popleft()[1])

    def opened(self, peer: Peer) -> None:
        """The gateway is back. Unless it is another, tell it what it may not have heard."""
        for row in self._stored.pop(peer.name, []):
            publish = row.event.publish
            if row.incarnation != peer.link.peer_incarnation:
                self._journal.drop(rows.grant(row.event.publication))
                continue
            if publish.flags & ACKNOWLEDGE:
                told = Published(publish.session, [publish.request], [row.event.publication])
                peer.link.send_reliable(told)
            self.told(peer, row.event.publication)

    def gone(self, peer: Peer) -> None:
        """That incarnation will not come back."""
        for _, row in self._told.pop(peer.name, ()):
            self._journal.drop(row)
        for stored in self._stored.pop(peer.name, []):
            self._journal.drop(rows.grant(stored.event.publication))

    @property
    def gateways(self) -> dict[str, int]:
        """Those that are to be told, each with its incarnation."""
        return {name: stored[-1].incarnation for name, stored in self._stored.items()}
