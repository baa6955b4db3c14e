"""Publishes that had their effects before a restart, and come again.

Owns: what their publishers, and those who may have missed their events, are sent. Never: which
publishes these are (see `outcomes`).
"""

from typing import final

from fox_shard.backplane.frames import ACKNOWLEDGE, EMPTY, Again, Event, Frame, Publish, Published
from fox_shard.shard.history.histories import Archive
from fox_shard.shard.keys.retained import Retention
from fox_shard.shard.links.outcomes import PARKED, REFUSED, Ledger, condition_failed
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.commit_queue import Gate
from fox_shard.shard.publishing.effects import PLAIN
from fox_shard.shard.publishing.refusals import Refusals
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.topics.topic import in_sequence


@final
class ResentPublishes:
    """See the module."""

    __slots__ = ("_archive", "_broker", "_gate", "_ledger", "_refusals", "_retention")

    def __init__(
        self,
        broker: Broker,
        retention: Retention,
        archive: Archive,
        ledger: Ledger,
        gate: Gate,
        refusals: Refusals,
    ) -> None:
        self._broker = broker
        self._retention = retention
        self._archive = archive
        self._ledger = ledger
        self._gate = gate
        self._refusals = refusals

    def answer(self, peer: Peer, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """As it was answered then; who has not heard of its event hears of it now."""
        publication = self._ledger.outcome(peer, rseq)
        if publication is None or publication == PARKED:
            return
        if publication == REFUSED:
            replies += self._refusals.unavailable(publish, "the store did not work then")
        elif publication < 0:
            replies += self._refusals.condition_failed(publish, condition_failed(publication))
        else:
            self._send_again(publish, publication, replies)

    def _send_again(self, publish: Publish, publication: int, replies: list[Frame]) -> None:
        event = Event(publication, publish)
        keep = publish.keep
        if keep is not None and keep.sequence:
            publish.topic = in_sequence(publish.topic, publication)
        if keep is not None and keep.patch and not publish.flags & EMPTY:
            key = self._retention.key((publish.realm, publish.topic))
            if key is None or key.publication != publication:
                # What it made of the key is past, and nobody knows it any more.
                if publish.flags & ACKNOWLEDGE:
                    replies.append(Published(publish.session, [publish.request], [publication]))
                return
            event = key
        else:
            self._archive.mark(publish)
        ticket = self._gate.ticket_of(publish.session, publish.realm, publish.topic)
        if ticket:
            self._gate.hold(ticket, Again(event), PLAIN)
        else:
            self._broker.send_again(event, replies)
