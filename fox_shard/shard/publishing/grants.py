"""Publishes that have waited and were let through, until their publishers have heard of it.

Owns: telling what became of them, the rows for that, and how long they are kept. Never: letting
anybody through.

A gateway forgets a publish that waits, since it is in the store. So what became of it is there,
too, until the gateway has confirmed that it was told; by then every other gateway has its event.
"""

from collections import deque
from functools import partial
from typing import final

from fox_shard.backplane.frames import Frame, Publish
from fox_shard.backplane.refusals import refused
from fox_shard.errors import Refusal
from fox_shard.shard import rows
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.links.touched import marks, touched
from fox_shard.shard.publishing.effects import Granted
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.store.journal import Journal


@final
class Grants:
    """Of one shard."""

    __slots__ = ("_broker", "_journal", "_loaded", "_peers", "_told")

    def __init__(self, broker: Broker, peers: dict[str, Peer], journal: Journal) -> None:
        """peers: all there are, by name."""
        self._broker = broker
        self._peers = peers
        self._journal = journal
        # From the store, until everybody has replayed.
        self._loaded: deque[rows.GrantRow] = deque()
        # Gateway -> (reliable number of what told it, row).
        self._told: dict[str, deque[tuple[int, bytes]]] = {}

    def give(self, granted: Granted) -> None:
        """Send the event; its publisher hears of it when that has passed, as of any other."""
        waiter, effect = granted.waiter, granted.effect
        peer = self._peers[waiter.gateway]
        replies: list[Frame] = []
        since = marks(self._peers.values(), peer)
        if isinstance(effect, Refusal):
            publish = waiter.publish
            replies.append(refused(Publish, publish.session, publish.request, effect))
        else:
            self._broker.tell(effect, replies)
        event = granted.event
        publication = event.publication if event is not None and granted.stored else 0
        peer.passing.aside(replies, touched(since), partial(self._passed, peer, publication))

    def give_again(self, before: int) -> None:
        """Send what was let through before the restart, up to that publication id.

        It may not have been told, or not have been sent to all.
        """
        while self._loaded and self._loaded[0].event.publication < before:
            self._give_again(self._loaded.popleft())

    def _give_again(self, row: rows.GrantRow) -> None:
        peer, publication = self._peers[row.gateway], row.event.publication
        replies: list[Frame] = []
        since = marks(self._peers.values(), peer)
        self._broker.send_again(row.event, replies)
        if row.incarnation != peer.incarnation:
            replies.clear()  # its session has gone
        peer.passing.aside(replies, touched(since), partial(self._passed, peer, publication))

    def _passed(self, peer: Peer, publication: int) -> None:
        """The gateway has just been sent `Published`, or need not be. publication: 0: no row."""
        if not publication:
            return
        row = rows.grant(publication)
        if peer.gone:
            self._journal.drop(row)
            return
        self._told.setdefault(peer.name, deque()).append((peer.link.reliably_sent, row))

    # Rows

    def load(self, row: rows.GrantRow) -> None:
        """From the store, in the order of publications."""
        self._loaded.append(row)

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
