"""Grants: waiting publishes that were let through, until their publishers know.

Owns: the events and answers of grants, and how long the grants' rows are kept. Never: which publish
is let through (see `conditional`).

A gateway forgets a publish that waits, since the publish is in the shard's store. So its result has
to be in the store, too, until the gateway has confirmed the answer; by then every other gateway has
confirmed the event.
"""

from collections import deque
from functools import partial
from typing import final

from fox_shard.backplane.frames import Frame, Publish
from fox_shard.backplane.outbox import UntilConfirmed
from fox_shard.backplane.refusals import refused
from fox_shard.errors import Refusal
from fox_shard.shard import rows
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.links.recipients import last_numbers, recipients
from fox_shard.shard.publishing.effects import Granted
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.store.journal import Journal


@final
class Grants:
    """The grants of one shard."""

    __slots__ = ("_broker", "_journal", "_loaded", "_peers", "_sent")

    def __init__(self, broker: Broker, peers: dict[str, Peer], journal: Journal) -> None:
        """peers: all peers, by name."""
        self._broker = broker
        self._peers = peers
        self._journal = journal
        # Grants from the store, until every peer has replayed.
        self._loaded: deque[rows.GrantRow] = deque()
        # Keys of grants' rows, until the publisher's gateway has confirmed the answer.
        self._sent: UntilConfirmed[bytes] = UntilConfirmed()

    def send(self, granted: Granted) -> None:
        """Send the grant's event, and answer its publisher when the event is delivered."""
        waiter, effect = granted.waiter, granted.effect
        peer = self._peers[waiter.gateway]
        replies: list[Frame] = []
        since = last_numbers(self._peers.values(), peer)
        if isinstance(effect, Refusal):
            publish = waiter.publish
            replies.append(refused(Publish, publish.session, publish.request, effect))
        else:
            self._broker.deliver(effect, replies)
        event = granted.event
        publication = event.publication if event is not None and granted.stored else 0
        peer.deliveries.add_grant(
            replies, recipients(since), partial(self._delivered, peer, publication)
        )

    def send_next_again(self, before: int) -> bool:
        """Send the next grant from before the restart whose publication id is below `before`.

        Its event may not have reached all gateways, or its answer the publisher. Return whether
        there was one.
        """
        if not self._loaded or self._loaded[0].event.publication >= before:
            return False
        self._give_again(self._loaded.popleft())
        return True

    def _give_again(self, row: rows.GrantRow) -> None:
        peer, publication = self._peers[row.gateway], row.event.publication
        replies: list[Frame] = []
        since = last_numbers(self._peers.values(), peer)
        self._broker.send_again(row.event, replies)
        if row.incarnation != peer.incarnation:
            replies.clear()  # the publisher's session has ended
        peer.deliveries.add_grant(
            replies, recipients(since), partial(self._delivered, peer, publication)
        )

    def _delivered(self, peer: Peer, publication: int) -> None:
        """Keep the grant's row until the gateway has confirmed the answer that was just sent.

        publication: the grant's id; 0: the grant has no row.
        """
        if not publication:
            return
        row = rows.grant(publication)
        if peer.gone:
            self._journal.drop(row)
            return
        self._sent.add(peer.name, peer.link.reliably_sent, row)

    # Rows

    def load(self, row: rows.GrantRow) -> None:
        """Add a grant from the store. Grants are loaded in the order of publication ids."""
        self._loaded.append(row)

    def confirmed(self, peer: Peer) -> None:
        """Drop the rows of grants whose answers the gateway has confirmed."""
        if peer.name not in self._sent.by_peer:
            return
        for _, row in self._sent.confirmed(peer.name, peer.link.forgotten):
            self._journal.drop(row)

    def peer_gone(self, peer: Peer) -> None:
        """Drop the rows that wait for the gateway, whose incarnation will not come back."""
        for _, row in self._sent.peer_gone(peer.name):
            self._journal.drop(row)

    @property
    def gateways(self) -> dict[str, int]:
        """The gateways of the publishers of loaded grants, each with its incarnation."""
        return {row.gateway: row.incarnation for row in self._loaded}
