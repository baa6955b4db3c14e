"""Deliveries: when everything that a peer's batch caused has been confirmed by its recipients.

Owns: for each inbound batch, the confirmations that it waits for, and the replies that wait with
it. Never: what frames mean.

A publisher is told `Published`, and need not fence what it sends to other shards, once the gateways
that have to deliver the event have confirmed it. The origin itself, the peer that sent the batch,
need not confirm: its link is first in, first out, so its events precede the reply.

A batch has parts that are answered separately: the effects that it had at once, and for each
transaction that frames of it wait for, the effects that these have when the transaction is durable.
"""

from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import final

from fox_shard.backplane.frames import FencePassed, FenceQuery, Frame, Publish, Published, Refused
from fox_shard.backplane.link import Link
from fox_shard.topics.ids import MAX_ID

EPOCHS = 1 << 20
"""A number of pairs that no incarnation of a process ever reaches."""

PUBLISH_TAG = Publish.__struct_config__.tag

Recipients = list[tuple["Deliveries", int]]
"""The peers that got frames, each with the sequence number of the last frame."""


@final
class InboundBatch:
    """One batch of an origin, until it is delivered.

    parts: how many parts have not been confirmed. without_effect: how many parts have not had their
    effects, plus the number of shards that have not confirmed what was forwarded to them.
    """

    __slots__ = (
        "before",
        "durable",
        "gone",
        "last",
        "pair_ended",
        "parts",
        "serial",
        "without_effect",
    )

    def __init__(self, serial: int, before: int, last: int, durable: int) -> None:
        """serial: counts the origin's batches, over all pairs.

        before: the sequence number of the last frame of the preceding batch. last: that of the last
        frame of this batch. durable: the highest reliable number of this batch; 0: it has none.
        """
        self.serial = serial
        self.before = before
        self.last = last
        self.durable = durable
        self.parts = 0
        self.without_effect = 0
        # Whether the pair of the batch has ended, and whether the origin is gone for good.
        self.pair_ended = False
        self.gone = False


@final
class PendingPart:
    """One part of a batch that has had its effects and waits for the recipients to confirm them.

    replies: sent to the origin then. then: called after that. waiting: how many recipients have not
    confirmed. forwards: how many of these are shards.
    """

    __slots__ = ("batch", "forwards", "origin", "replies", "then", "waiting")

    def __init__(
        self,
        origin: "Deliveries",
        batch: InboundBatch,
        replies: list[Frame],
        then: Callable[[], None] | None,
    ) -> None:
        self.origin = origin
        self.batch = batch
        self.replies = replies
        self.then = then
        self.waiting = 0
        self.forwards = 0


@final
class Deliveries:
    """The deliveries of one peer: the batches that it sent, and the frames it has to confirm."""

    __slots__ = (
        "_batches",
        "_first_batch",
        "_handled",
        "_owed",
        "_queries",
        "_received",
        "_serial",
        "awaited",
        "link",
        "through_shards",
    )

    def __init__(self, link: Link, *, through_shards: bool) -> None:
        """through_shards: the peer is a shard.

        Frames to a gateway count as confirmed when the gateway has handled them, frames to a shard
        when the shard reports them as delivered.
        """
        self.link = link
        self.through_shards = through_shards
        self._handled = 0
        # The last frame of this pair's first batch; 0: the batch has not arrived.
        self._first_batch = 0
        # The frame of this pair up to which a shard is known to have received what it was sent.
        self._received = 0
        self._batches: deque[InboundBatch] = deque()
        # What the peer has to confirm, with the sequence numbers of the frames.
        self.awaited: deque[tuple[int, PendingPart]] = deque()
        # Fence queries about this peer with the links of the askers, and the serial number up to
        # which batches must have had their effects if the query is about an earlier pair.
        self._queries: list[tuple[Link, FenceQuery, int]] = []
        # Batches of earlier pairs that are not delivered yet.
        self._owed: deque[InboundBatch] = deque()
        self._serial = 0

    @property
    def is_delivered(self) -> bool:
        """Whether all handled batches of the present pair are delivered."""
        return not self._batches

    @property
    def idle(self) -> bool:
        """Whether nothing waits: no batch, no confirmation, no fence query."""
        return not (self._batches or self.awaited or self._queries or self._owed)

    def arrived(self, last: int) -> None:
        """Note that a batch up to the sequence number `last` has arrived.

        Only the first one of a pair matters, see `effective_up_to`; others need not be told.
        """
        self._first_batch = self._first_batch or last

    def batch_handled(
        self,
        last: int,
        durable: int,
        replies: list[Frame],
        recipients: Recipients,
        uncommitted: int = 0,
    ) -> InboundBatch | None:
        """Note that a batch up to the sequence number `last` has been handled.

        durable: the highest reliable number of the batch; 0: it has none. replies: sent to this
        peer when the recipients of the immediate effects have confirmed them. recipients: the other
        peers that got frames because of the batch. uncommitted: how many parts wait for the store
        (see `release`). Return the batch; None: it is delivered already.
        """
        before, self._handled = self._handled, last
        if not (recipients or uncommitted or self._batches or self._owed):
            self._mark_delivered(last, durable)
            if replies:
                self._send(replies)
            if self._queries:
                self.answer()
            return None
        self._serial += 1
        batch = InboundBatch(self._serial, before, last, durable)
        batch.parts = uncommitted
        batch.without_effect = uncommitted
        self._batches.append(batch)
        self._add(batch, replies, recipients)
        if self._queries:
            self.answer()
        return batch

    def release(self, batch: InboundBatch, replies: list[Frame], recipients: Recipients) -> None:
        """Note that a part of the batch that waited for the store has had its effects."""
        batch.parts -= 1
        batch.without_effect -= 1
        self._add(batch, replies, recipients)
        self.report_delivered()

    def add_grant(
        self, replies: list[Frame], recipients: Recipients, then: Callable[[], None]
    ) -> None:
        """Do the same as `batch_handled` for effects that belong to no batch of this pair: grants.

        then: called when the recipients have confirmed the effects and the replies are sent.
        """
        self._serial += 1
        batch = InboundBatch(self._serial, self._handled, self._handled, 0)
        self._batches.append(batch)
        self._add(batch, replies, recipients, then)
        self.report_delivered()

    def _add(
        self,
        batch: InboundBatch,
        replies: list[Frame],
        recipients: Recipients,
        then: Callable[[], None] | None = None,
    ) -> None:
        if not recipients:
            self._answer_part(batch, replies)
            if then is not None:
                then()
            return
        pending = PendingPart(self, batch, replies, then)
        batch.parts += 1
        for destination, number in recipients:
            pending.waiting += 1
            pending.forwards += destination.through_shards
            destination.await_confirmation(number, pending)
        batch.without_effect += pending.forwards

    def await_confirmation(self, number: int, pending: PendingPart) -> None:
        """Let the part wait until this peer has confirmed the frame of that sequence number."""
        self.awaited.append((number, pending))
        if pending.replies or pending.origin.through_shards:
            # A publisher waits for the reply, or another shard for the origin's confirmation.
            self.link.prompt = True

    def peer_confirmed(self) -> None:
        """Take new confirmations of the peer (see `Link.handled`, `Link.peer_delivered`)."""
        awaited = self.awaited
        if not awaited:
            return
        confirmed = self.link.handled
        if self.through_shards:
            self._received = max(self._received, confirmed)
            confirmed = self.link.peer_delivered
        while awaited and awaited[0][0] <= confirmed:
            self._confirm(awaited.popleft()[1])

    def link_broken(self) -> list[tuple[Link, FenceQuery]]:
        """Note that the pair has ended; return the fence queries, for when the peer is back.

        The peer is still told how its publishes end, and which of its frames are durable. A gateway
        that comes back is sent again what it has to confirm. Frames that a shard has not received
        are lost, so nothing waits for them any more. What it has received still has its effects:
        the shard reports them with the first frames of the next pair.
        """
        self._handled = self._first_batch = 0
        for batch in self._batches:
            batch.pair_ended = True
        self._owed.extend(self._batches)
        self._batches.clear()
        queries = [(asker, ask) for asker, ask, _ in self._queries]
        self._queries.clear()
        if self.through_shards:
            lost = [pending for number, pending in self.awaited if number > self._received]
            # Number 1 stands for them until `link_opened`, however often this is called before.
            self.awaited = deque((1, kept) for n, kept in self.awaited if n <= self._received)
            self._received = 1
            for pending in lost:
                self._confirm(pending)
        return queries

    def link_opened(self) -> None:
        """Note that a new pair has begun: all frames that are not confirmed are in its outbox.

        What a shard received in the pair before is delivered when the new pair's first frames are.
        """
        last = self._received = self.link.last
        self.awaited = deque((last, pending) for _, pending in self.awaited)

    def peer_gone(self) -> None:
        """Stop waiting for the peer, which is gone for good.

        Frames of the peer may still wait for the store, so the fence queries about it are not
        answered before these frames have had their effects.
        """
        queries = self.link_broken()
        for batch in self._owed:
            batch.gone = True
        self._confirm_all()
        for asker, ask in queries:
            self.ask(asker, ask)

    def _confirm_all(self) -> None:
        while self.awaited:
            self._confirm(self.awaited.popleft()[1])

    def _confirm(self, pending: PendingPart) -> None:
        pending.waiting -= 1
        if self.through_shards:
            pending.forwards -= 1
            pending.batch.without_effect -= 1
        if not pending.waiting:
            pending.batch.parts -= 1
            pending.origin.confirmed(pending.batch, pending.replies)
            if pending.then is not None:
                pending.then()

    def confirmed(self, batch: InboundBatch, replies: list[Frame]) -> None:
        """Note that all recipients of a part of this peer's batch have confirmed it."""
        self._answer_part(batch, replies)
        self.report_delivered()

    def report_delivered(self) -> None:
        """Report batches that wait for nothing any more as delivered, in order; answer queries."""
        while self._owed and not self._owed[0].parts:
            # Sequence numbers of an ended pair mean nothing, but reliable numbers still do.
            batch = self._owed.popleft()
            if not batch.gone:
                self.link.durable = max(self.link.durable, batch.durable)
                self.link.acknowledge_soon()
        batches = self._batches
        while batches and not self._owed and not batches[0].parts:
            batch = batches.popleft()
            self._mark_delivered(batch.last, batch.durable)
        if self._queries:
            self.answer()

    def _mark_delivered(self, last: int, durable: int) -> None:
        link = self.link
        link.delivered = last
        link.durable = max(link.durable, durable)
        if self.through_shards:
            link.acknowledge_soon()

    def _answer_part(self, batch: InboundBatch, replies: list[Frame]) -> None:
        if replies and not batch.gone:
            self._send(
                [one for one in replies if _ends_publish(one)] if batch.pair_ended else replies
            )

    def _send(self, replies: list[Frame]) -> None:
        """Send the replies: reliably, if they tell the ends of publishes.

        For all other requests, the end of the pair is an answer.
        """
        outbox, reliable = self.link.outbox, self.link.reliable
        for reply in replies:
            if _ends_publish(reply):
                reliable.append(len(outbox))
            outbox.append(reply)

    # Fences (architecture: order)

    @property
    def effective_up_to(self) -> int:
        """The sequence number up to which all frames of the peer have had their effects.

        Forwarded calls have had theirs when their homes have confirmed them. 0 while batches of an
        earlier pair have effects to come: frames that are repeated in this pair may be theirs. The
        first batch of a pair, of which a shard may handle a slice at a time, counts as a whole: a
        fence names its first frame in place of one that waited for the pair, and had no number.
        """
        if any(batch.without_effect for batch in self._owed):
            return 0
        reached = self._handled
        for batch in self._batches:
            if batch.without_effect:
                reached = batch.before
                break
        return reached if reached >= self._first_batch else 0

    def is_to_come(self, epoch: int) -> bool:
        """Whether the epoch is of a pair that the peer has yet to open. Epochs count up."""
        return 0 < epoch - self.link.peer_epoch < EPOCHS

    def ask(self, asker: Link, ask: FenceQuery) -> None:
        """Answer `asker` when all frames up to `ask.seq` have had their effects.

        If `ask.epoch` is that of an earlier pair, this means all frames of that pair.
        """
        # All frames of earlier pairs that are to come have been handled in this one by now.
        self._queries.append((asker, ask, self._serial))
        self.answer()

    def answer(self) -> None:
        """Answer the fence queries that can be answered now."""
        if not self._queries:
            return
        epoch, now = self.link.peer_epoch, self.effective_up_to
        waiting = []
        for asker, ask, serial in self._queries:
            effective_up_to = now if ask.epoch == epoch else self._reached_earlier(serial)
            if ask.seq > effective_up_to:
                waiting.append((asker, ask, serial))
            elif asker.open:
                asker.send(FencePassed(ask.origin, ask.epoch, effective_up_to))
        self._queries = waiting

    def _reached_earlier(self, serial: int) -> int:
        """Return how far an earlier pair has had its effects: MAX_ID: completely; 0: not yet.

        serial: the last batch that may have frames of that pair.
        """
        for batch in chain(self._owed, self._batches):
            if batch.without_effect:
                return MAX_ID if batch.serial > serial else 0
        return MAX_ID


def _ends_publish(reply: Frame) -> bool:
    """Whether the reply tells how a publish ended. It must arrive: nobody repeats the publish."""
    return type(reply) is Published or (type(reply) is Refused and reply.kind == PUBLISH_TAG)
