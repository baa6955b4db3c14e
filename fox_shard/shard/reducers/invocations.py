"""Invocations: the events that are out at the instances of reducers, and what becomes of them.

Owns: whom an event is shown to, the answers, repetitions. Never: queues' rows; who is told of a
change of a key.

Everything is done in `go_on`, outside of the handling of batches, as far as the turn's budget goes.
While the store fails nothing is reduced.
"""

from collections import deque
from heapq import heappop, heappush
from typing import Final, final

from fox_shard.backplane.frames import NotReduced, Reduce, Reduced
from fox_shard.deadline import NEVER, Deadline
from fox_shard.errors import AskAgain, LimitExceeded, Refusal
from fox_shard.shard.budget import Budget, units_of
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.reducers.answers import (
    failure,
    first_result,
    refusal_of,
    sentence_of,
    wanted_delay,
)
from fox_shard.shard.reducers.built_in import AT_ONCE, BuiltIns, Effect
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.queues import Queues
from fox_shard.shard.reducers.reducer import Instance, KeyQueue, State
from fox_shard.store.journal import Journal

FOLD_UNITS: Final = 4
INVOCATION_UNITS: Final = 2
"""Units of the turn's budget for an answer, and for an invocation."""

CHOICE_UNITS: Final = 1
INSTANCES_PER_UNIT: Final = 16
"""Units for the choice of an instance, and instances that cost one more. When one comes or goes, it
is chosen anew for all keys whose events wait."""

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 30.0
"""Seconds until a reducer is asked again; each failed attempt doubles them."""

Answer = Reduced | NotReduced


@final
class Invocations:
    """The invocations of one shard's reducers. now: monotonic seconds, set by the shard."""

    __slots__ = (
        "_answers",
        "_budget",
        "_built_ins",
        "_catalog",
        "_deadline",
        "_delayed",
        "_journal",
        "_limit",
        "_next",
        "_open",
        "_out",
        "_queues",
        "_retained_keys",
        "now",
    )

    def __init__(
        self,
        catalog: Catalog,
        queues: Queues,
        built_ins: BuiltIns,
        retained_keys: RetainedKeys,
        journal: Journal,
        budget: Budget,
        deadline: Deadline,
        limit: int,
    ) -> None:
        """limit: bytes of a key's value at most."""
        self._catalog = catalog
        self._queues = queues
        self._built_ins = built_ins
        self._retained_keys = retained_keys
        self._journal = journal
        self._budget = budget
        self._deadline = deadline
        self._limit = limit
        self.now = 0.0
        self._next = 0
        # Number -> queue whose first event is out.
        self._out: dict[int, KeyQueue] = {}
        self._answers: deque[tuple[KeyQueue, Answer]] = deque()
        # Instances that have room again.
        self._open: deque[Instance] = deque()
        # (when, number, queue) of queues that wait before their first events are asked about again.
        self._delayed: list[tuple[float, int, KeyQueue]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is out, and nothing waits to be dealt with."""
        return not (self._out or self._answers or self._queues.awake or self._delayed)

    @property
    def busy(self) -> bool:
        """Whether `go_on` has something to do."""
        return bool(self._answers or self._queues.awake or self._open) and not self._journal.failing

    def go_on(self) -> list[Effect]:
        """Deal with answers, then with waiting events; return the effects of answers, in order."""
        effects: list[Effect] = []
        budget = self._budget
        while self.busy and not budget.exhausted:
            if self._answers:
                effects += self._finish(*self._answers.popleft())
            elif self._open:
                self._serve(self._open.popleft())
            else:
                effects += self._assign(self._queues.awake.popleft())
        return effects

    # Asking

    def _assign(self, queue: KeyQueue) -> list[Effect]:
        """Ask about the queue's first event, or let the queue wait for an instance."""
        if queue.state is not State.WAITING:
            return []
        if queue.reducer.function is not None:
            self._budget.spend(FOLD_UNITS * min(queue.ready, AT_ONCE))
            return self._built_ins.fold_queue(queue)
        instance = self._choose(queue)
        if instance is None:
            queue.reducer.parked.append(queue)
        elif instance.has_room:
            self._ask(queue, instance)
        else:
            instance.waiting.append(queue)
        return []

    def _choose(self, queue: KeyQueue) -> Instance | None:
        units = CHOICE_UNITS + len(queue.reducer.instances) // INSTANCES_PER_UNIT
        self._budget.spend(units)
        return queue.choose()

    def _serve(self, instance: Instance) -> None:
        """Ask an instance that has room about events that waited for it."""
        waiting = instance.waiting
        while waiting and instance.has_room and not self._budget.exhausted:
            queue = waiting.popleft()
            if queue.state is State.WAITING:
                if self._choose(queue) is instance:
                    self._ask(queue, instance)
                else:
                    self._queues.awake.append(queue)
        if waiting and instance.has_room:
            self._open.append(instance)

    def _ask(self, queue: KeyQueue, instance: Instance) -> None:
        reducer, event = queue.reducer, queue.events[0].event
        retained = None if reducer.webhook is not None else self._show_key(queue)
        self._next += 1
        number = queue.invocation = self._next
        queue.instance, queue.state = instance, State.ASKED
        self._out[number] = queue
        instance.running.add(number)
        self._budget.spend(INVOCATION_UNITS)
        instance.peer.link.send(Reduce(number, instance.session, reducer.id, event, retained))

    def _show_key(self, queue: KeyQueue) -> tuple[int, bytes, bytes] | None:
        """Return the key's present value for the instance, and note which one it was."""
        ref = (queue.reducer.realm, queue.topic)
        present = self._retained_keys.key(ref)
        queue.shown = 0 if present is None else present.publication
        key = self._retained_keys.shown_to_reducers(ref)
        if key is None:
            return None
        value = key.publish
        self._budget.spend(units_of(len(value.args) + len(value.kwargs)))
        return (value.encoding, value.args, value.kwargs)

    # Answers

    def answered(self, answer: Answer) -> None:
        """Take an instance's answer; ignore it if the invocation is over."""
        queue = self._end(answer.invocation)
        if queue is not None:
            queue.state = State.ANSWERED
            self._answers.append((queue, answer))

    def _end(self, number: int) -> KeyQueue | None:
        """End an invocation: its instance has room for another. None: it was over."""
        queue = self._out.pop(number, None)
        if queue is None:
            return None
        instance, queue.instance = queue.instance, None
        if instance is not None:
            instance.running.discard(number)
            if instance.waiting:
                self._open.append(instance)
        return queue

    def _finish(self, queue: KeyQueue, answer: Answer) -> list[Effect]:
        if queue.state is not State.ANSWERED:
            return []
        self._budget.spend(FOLD_UNITS)
        if isinstance(answer, NotReduced):
            return self._failed(queue, answer)
        if queue.reducer.webhook is not None:
            self._queues.take_off(queue, reduced=True)
            return []
        return self._fold(queue, answer)

    def _fold(self, queue: KeyQueue, answer: Reduced) -> list[Effect]:
        ref = (queue.reducer.realm, queue.topic)
        present = self._retained_keys.key(ref)
        if queue.shown != (0 if present is None else present.publication):
            # Somebody else has changed the key: the result does not know of that.
            self._queues.wake(queue)
            return []
        publication = queue.events[0].event.publication
        try:
            value = first_result(answer.encoding, answer.args)
            if len(value) > self._limit:
                raise LimitExceeded(
                    f"the result has {len(value)} bytes, and a message has at most {self._limit} "
                    "(gateway.max_message_size): the key is unchanged"
                )
            self._retained_keys.check_fold(ref, answer.encoding, value, publication)
        except Refusal as refusal:
            return self._failed(queue, refusal_of(refusal))
        stored = self._catalog.is_stored(queue.reducer.realm)
        change = self._retained_keys.fold(ref, answer.encoding, value, publication, stored=stored)
        self._queues.take_off(queue, reduced=True)
        return [] if change is None else [change]

    def _failed(self, queue: KeyQueue, error: NotReduced) -> list[Effect]:
        """Skip the event, or ask again later; return what is told of it."""
        self._budget.spend(units_of(len(error.args) + len(error.kwargs)))
        reducer = queue.reducer
        reducer.last_failure = sentence_of(error)
        if error.uri == AskAgain.uri and not error.timed_out:
            self._queues.retried(reducer)
            self._ask_later(queue, wanted_delay(error))
            return []
        told = failure(reducer, queue.events[0].event, error, self._limit)
        if error.timed_out:
            self._ask_later(queue)
            return [told]
        self._queues.take_off(queue, reduced=False)
        return [told]

    def _ask_later(self, queue: KeyQueue, delay: float = 0.0) -> None:
        """Ask again after so many seconds; 0: after twice as many as the last time."""
        delay = delay or min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(queue.attempts, 20))
        queue.attempts += 1
        queue.state = State.DELAYED
        self._next += 1
        due = self.now + delay
        heappush(self._delayed, (due, self._next, queue))
        heappush(queue.reducer.retries, (due, self._next))
        self._deadline.by(due)

    # Time, and instances that leave

    @property
    def next_due(self) -> float:
        """When `tick` is due, by the clock of `now`."""
        return self._delayed[0][0] if self._delayed else NEVER

    def tick(self, now: float) -> None:
        """Wake the queues whose delays are over."""
        self.now = now
        while self._delayed and self._delayed[0][0] <= now:
            queue = heappop(self._delayed)[2]
            # In both heaps what belongs to the reducer has the same order.
            heappop(queue.reducer.retries)
            if queue.state is State.DELAYED:
                self._queues.wake(queue)

    def take_back(self, instance: Instance, *, died: bool) -> None:
        """Ask others about the events that are out at an instance that has left.

        died: perhaps because of one of these events, so they are asked about again after a while.
        """
        for number in sorted(instance.running):
            queue = self._out.pop(number)
            queue.instance = None
            if died:
                self._ask_later(queue)
            else:
                self._queues.wake(queue)
        instance.running.clear()
