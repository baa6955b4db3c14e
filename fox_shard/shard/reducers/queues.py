"""The events that wait for reducers.

Owns: the queues and their rows; what a commit, or its failure, means for them. Never: their limits
(see `room`); who is asked about an event, and what becomes of the answer.

An event joins the queues of its reducers in the transaction in which it is published, and is ready
when that is durable. If the key is another shard's, the event joins the queue there instead (see
`ShardOutbox`). It leaves a queue in the transaction in which the key gets its new value.
"""

from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, final

from msgspec.structs import replace

from fox_shard.backplane.frames import ACKNOWLEDGE, REDUCES, Event, Fold, Publish
from fox_shard.config import Reducers as Limits
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.reducer import KeyQueue, Reducer, State
from fox_shard.shard.reducers.room import Room
from fox_shard.shard.rows import QueuedEvent
from fox_shard.store.journal import Journal

Uncommitted = tuple[int, KeyQueue, QueuedEvent, bool]
"""Ticket, queue, event; and whether the event's row is kept if the commit fails."""

WANTING_PER_UNIT: Final = 8
"""Reducers for an event that cost a unit of the turn's budget, whether or not they have room."""

NO_WEBHOOK_COUNTS: Final = {"delivered": 0, "given_up": 0, "dropped": 0, "retries": 0}


@final
class Queues:
    """The queues of one shard.

    awake: queues whose first events wait to be dealt with. waiting: the number of events in the
    queues of reducers, webhooks_waiting: in those of webhooks. Since the last report, folded:
    events that were reduced; failed: that were skipped; dropped: that did not find room, or whose
    reducer did not come back; those of webhooks are counted by themselves.
    """

    __slots__ = (
        "_budget",
        "_catalog",
        "_clock",
        "_journal",
        "_outbox",
        "_settling",
        "_uncommitted",
        "_unconfigured",
        "_webhook_counts",
        "awake",
        "dropped",
        "failed",
        "folded",
        "room",
        "waiting",
        "webhooks_waiting",
    )

    def __init__(
        self,
        shard: int,
        outbox: ShardOutbox,
        catalog: Catalog,
        clock: PublicationClock,
        journal: Journal,
        limits: Limits,
        budget: Budget,
    ) -> None:
        self._outbox = outbox
        self._catalog = catalog
        self._clock = clock
        self._journal = journal
        self._budget = budget
        self.room = Room(shard, outbox, catalog, limits)
        self._uncommitted: deque[Uncommitted] = deque()
        # (ticket, queue, event, whether it was reduced) of events that were taken off in
        # transactions that may yet fail.
        self._settling: deque[tuple[int, KeyQueue, QueuedEvent, bool]] = deque()
        self.awake: deque[KeyQueue] = deque()
        self.waiting = 0
        self.webhooks_waiting = 0
        self._webhook_counts = Counter(NO_WEBHOOK_COUNTS)
        # Webhook that is not configured -> events that were dropped.
        self._unconfigured: Counter[int] = Counter()
        self.folded = self.failed = self.dropped = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits for a commit."""
        return not (self._uncommitted or self._settling)

    # Events join

    def admit(self, publish: Publish) -> list[Reducer]:
        """Return the reducers whose queues the publish's event is to join, and set REDUCES.

        Raises QueueFull if one of them is full and the publish is acknowledged. Otherwise the event
        passes that reducer by.
        """
        admitted: list[Reducer] = []
        size = len(publish.args) + len(publish.kwargs)
        # Shard -> bytes of the event's copies that will wait for it.
        copies: Counter[int] = Counter()
        wanting = self._catalog.wanting(publish)
        self._budget.spend(len(wanting) // WANTING_PER_UNIT)
        for reducer in wanting:
            full = self.room.full(reducer, size, copies)
            if full is None:
                admitted.append(reducer)
                publish.flags |= REDUCES
                if len(wanting) > 1:
                    # A copy for another shard has their names, too.
                    names = len(reducer.pattern.text) + len(reducer.mission)
                    copies[self.room.waits_for(reducer)] += size + rows.OVERHEAD + names
            elif publish.flags & ACKNOWLEDGE and _refuses(reducer):
                raise full
            else:
                self._count_dropped(reducer, 1)
        return admitted

    def add(self, reducers: Sequence[Reducer], event: Event, *, stored: bool) -> None:
        """Let an event join the queues of reducers that `admit` has returned.

        stored: the event is part of the present transaction.
        """
        publish = event.publish
        if publish.fence is not None or publish.retain is not None:
            event = Event(event.publication, replace(publish, fence=None, retain=None))
        for reducer in reducers:
            if self.room.is_elsewhere(reducer):
                self._outbox.send_to_owner(_fold(reducer, event), revocable=stored)
                continue
            if reducer.function is not None:
                continue  # See `BuiltIns.fold`.
            topic = reducer.mission or publish.topic
            queued = QueuedEvent(reducer.id, event.publication, topic, event)
            queue = self._join(reducer, queued)
            if stored:
                self._journal.put(_row(queued), rows.encode(queued))
                self._uncommitted.append((self._journal.ticket, queue, queued, False))
            else:
                self._is_ready(queue)

    def add_fold(self, fold: Fold) -> Reducer:
        """Let an event of another shard join; return its reducer.

        Its shard keeps it until it is durable here, so that it is kept if a commit fails.
        """
        reducer = self._catalog.get(
            fold.reducer, fold.realm, fold.pattern, fold.target_topic, fold.durable
        )
        queued = QueuedEvent(reducer.id, self._clock.next(), fold.target_topic, fold.event)
        queue = self._join(reducer, queued)
        if self._catalog.is_stored(fold.realm):
            self._journal.keep(_row(queued), rows.encode(queued))
            self._uncommitted.append((self._journal.ticket, queue, queued, True))
        else:
            self._is_ready(queue)
        return reducer

    def _join(self, reducer: Reducer, queued: QueuedEvent) -> KeyQueue:
        queue = reducer.queue(queued.topic)
        queue.events.append(queued)
        self._count(reducer, queued, 1)
        return queue

    def _count(self, reducer: Reducer, queued: QueuedEvent, one: int) -> None:
        if one > 0:
            reducer.arrivals[queued.arrival] = None
        else:
            del reducer.arrivals[queued.arrival]
        if reducer.webhook is None:
            self.waiting += one
        else:
            self.webhooks_waiting += one
        size = one * queued.size
        reducer.size += size
        if reducer.webhook is None:
            # A target that does not answer takes no room from reducers.
            self._catalog.realm(reducer.realm).size += size

    def _is_ready(self, queue: KeyQueue) -> None:
        queue.ready += 1
        if queue.state is State.IDLE:
            self.wake(queue)

    def wake(self, queue: KeyQueue) -> None:
        """Let the queue's first event be dealt with; without one the queue may go."""
        if queue.ready:
            queue.state = State.WAITING
            self.awake.append(queue)
            return
        queue.state = State.IDLE
        if not queue.events:
            reducer = queue.reducer
            if reducer.queues.get(queue.topic) is queue:
                del reducer.queues[queue.topic]
            self._catalog.discard_unused(reducer)

    # Events leave

    def take_off(self, queue: KeyQueue, *, reduced: bool) -> None:
        """Take the first event off in the present transaction: it was reduced, or is skipped."""
        queued = queue.events.popleft()
        queue.ready -= 1
        queue.attempts = 0
        if self._catalog.is_stored(queue.reducer.realm):
            self._journal.put(_row(queued), None)
            queue.state = State.SETTLING
            self._settling.append((self._journal.ticket, queue, queued, reduced))
        else:
            self._settle(queue, queued, reduced=reduced)

    def _settle(self, queue: KeyQueue, queued: QueuedEvent, *, reduced: bool) -> None:
        reducer = queue.reducer
        self.note(reducer, folded=reduced, failed=not reduced)
        self._count(reducer, queued, -1)
        self.wake(queue)

    def remove(self, queue: KeyQueue) -> None:
        """Remove the first event for good, unreduced."""
        queued = queue.events.popleft()
        queue.ready -= 1
        self._count(queue.reducer, queued, -1)
        if self._catalog.is_stored(queue.reducer.realm):
            self._journal.keep(_row(queued), None)

    def drop(self, reducer: Reducer, most: int) -> int:
        """Drop events of a reducer that has not come back; return how many, at most `most`."""
        done = 0
        for queue in list(islice(reducer.queues.values(), most)):
            if queue.state is State.SETTLING:
                continue  # If that commit fails, there is one event more.
            while queue.ready and done < most:
                self.remove(queue)
                done += 1
            if queue.ready:
                break
            self.wake(queue)
        self._count_dropped(reducer, done)
        return done

    def _count_dropped(self, reducer: Reducer, number: int) -> None:
        reducer.dropped += number
        if reducer.webhook is None:
            self.dropped += number
        else:
            self._webhook_counts["dropped"] += number

    def note(self, reducer: Reducer, *, folded: bool, failed: bool) -> None:
        """Count an event that was reduced, or skipped."""
        reducer.folded += folded
        reducer.failed += failed
        if reducer.webhook is None:
            self.folded += folded
            self.failed += failed
        else:
            self._webhook_counts["delivered"] += folded
            self._webhook_counts["given_up"] += failed

    def retried(self, reducer: Reducer) -> None:
        """Count an event that will be asked about again."""
        reducer.retried += 1
        if reducer.webhook is not None:
            self._webhook_counts["retries"] += 1

    def take_webhook_counts(self) -> Counter[str]:
        """Return what has become of the events of webhooks since the last call."""
        counts, self._webhook_counts = self._webhook_counts, Counter(NO_WEBHOOK_COUNTS)
        return counts

    def take_unconfigured(self) -> list[tuple[tuple[str, str], int]]:
        """Return the webhooks, by realm and name, whose events were dropped; how many of each."""
        found, self._unconfigured = self._unconfigured, Counter()
        return [(self._catalog.unconfigured[id_], events) for id_, events in found.items()]

    # The store

    def committed(self, ticket: int) -> None:
        """Take the transactions up to that one as durable."""
        uncommitted, settling = self._uncommitted, self._settling
        while uncommitted and uncommitted[0][0] <= ticket:
            self._is_ready(uncommitted.popleft()[1])
        while settling and settling[0][0] <= ticket:
            _, queue, queued, reduced = settling.popleft()
            self._settle(queue, queued, reduced=reduced)

    def commit_failed(self) -> None:
        """Undo all transactions that are not durable: they have failed."""
        uncommitted, self._uncommitted = self._uncommitted, deque()
        kept: dict[KeyQueue, list[QueuedEvent]] = {}
        for _, queue, queued, keeps in uncommitted:
            of_queue = kept.setdefault(queue, [])
            if keeps:
                of_queue.append(queued)
                self._uncommitted.append((self._journal.ticket, queue, queued, True))
            else:
                self._count(queue.reducer, queued, -1)
        for queue, of_queue in kept.items():
            while len(queue.events) > queue.ready:
                queue.events.pop()
            queue.events.extend(of_queue)
        while self._settling:
            _, queue, queued, _ = self._settling.pop()
            queue.events.appendleft(queued)
            queue.ready += 1
            self.wake(queue)
        for queue in kept:
            if queue.state is State.IDLE:
                self.wake(queue)

    def load(self, queued: QueuedEvent) -> None:
        """Take an event from the store, after all reducers, in the order of arrival."""
        reducer = self._catalog.by_id.get(queued.reducer)
        if reducer is None or not self._catalog.is_stored(reducer.realm):
            self._journal.drop(_row(queued))
            if queued.reducer in self._catalog.unconfigured:
                self._unconfigured[queued.reducer] += 1
            return
        self._is_ready(self._join(reducer, queued))


def _fold(reducer: Reducer, event: Event) -> Fold:
    pattern = reducer.pattern.text
    return Fold(reducer.realm, reducer.mission, reducer.id, pattern, reducer.durable, event)


def _row(queued: QueuedEvent) -> bytes:
    return rows.queued(queued.reducer, queued.arrival)


def _refuses(reducer: Reducer) -> bool:
    """Whether acknowledged publishes are refused while the reducer's queue is full."""
    return reducer.webhook is None or reducer.webhook.when_full == "refuse"
