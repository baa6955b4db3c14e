"""Publishes that had their effects before a restart and are sent again.

Owns: the answers to their publishers, and the events for gateways that may have missed them. Never:
which publishes these are (see `outcomes`).
"""

from typing import final

from fox_shard.backplane.frames import ACKNOWLEDGE, EMPTY, Again, Event, Frame, Publish, Published
from fox_shard.errors import InvalidPayload, LimitExceeded, QueueFull
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.outcomes import (
    INVALID,
    LIMIT_EXCEEDED,
    PARKED,
    QUEUE_FULL,
    REFUSED,
    Outcomes,
    condition_failed,
)
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.commit_queue import CommitQueue
from fox_shard.shard.publishing.effects import NOT_STORED
from fox_shard.shard.publishing.refusals import Refusals
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.topics.topic import in_sequence


@final
class ResentPublishes:
    """The answers to resent publishes, from their recorded outcomes."""

    __slots__ = (
        "_broker",
        "_commit_queue",
        "_histories",
        "_outcomes",
        "_refusals",
        "_retained_keys",
    )

    def __init__(
        self,
        broker: Broker,
        retained_keys: RetainedKeys,
        histories: Histories,
        outcomes: Outcomes,
        commit_queue: CommitQueue,
        refusals: Refusals,
    ) -> None:
        self._broker = broker
        self._retained_keys = retained_keys
        self._histories = histories
        self._outcomes = outcomes
        self._commit_queue = commit_queue
        self._refusals = refusals

    def answer(self, peer: Peer, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """Answer a resent publish as recorded, and send its event to gateways that may lack it.

        rseq: the publish's reliable number. replies: see `StoredPublishes.publish`.
        """
        publication = self._outcomes.outcome(peer, rseq)
        if publication is None or publication == PARKED:
            # The peer has confirmed this outcome already, or the publish is answered by its grant.
            return
        if publication == REFUSED:
            replies += self._refusals.unavailable(publish, "the store did not work then")
        elif publication == LIMIT_EXCEEDED:
            then = LimitExceeded("the publish went beyond a limit then: publish again later")
            replies += self._refusals.refuse(publish, then)
        elif publication == QUEUE_FULL:
            full = QueueFull("what the publish was for had a full queue then: publish again later")
            replies += self._refusals.refuse(publish, full)
        elif publication == INVALID:
            invalid = InvalidPayload("the schema did not admit the publish then")
            replies += self._refusals.refuse(publish, invalid)
        elif publication < 0:
            replies += self._refusals.condition_failed(publish, condition_failed(publication))
        else:
            self._send_again(publish, publication, replies)

    def _send_again(self, publish: Publish, publication: int, replies: list[Frame]) -> None:
        event = Event(publication, publish)
        retain = publish.retain
        if retain is not None and retain.sequence:
            publish.topic = in_sequence(publish.topic, publication)
        if retain is not None and retain.patch and not publish.flags & EMPTY:
            key = self._retained_keys.key((publish.realm, publish.topic))
            if key is None or key.publication != publication:
                # The key has changed since then, so the patched document is not known any more.
                if publish.flags & ACKNOWLEDGE:
                    replies.append(Published(publish.session, [publish.request], [publication]))
                return
            event = key
        else:
            self._histories.mark(publish)
        ticket = self._commit_queue.ticket_of(publish.session, publish.realm, publish.topic)
        if ticket:
            self._commit_queue.hold(ticket, Again(event), NOT_STORED)
        else:
            self._broker.send_again(event, replies)
