"""Mistakes that are planted into reducers, each of which the scenarios must find."""

from collections import deque

import pytest

from fox_shard.backplane.frames import Reduced
from fox_shard.shard.reducers import queues
from fox_shard.shard.reducers.invocations import Invocations
from fox_shard.shard.reducers.queues import Queues, _row
from fox_shard.shard.reducers.reducer import State
from fox_shard.testing.scenarios import SCENARIOS

SEEDS = 60


def fold_before_commit(patch):
    """An event is shown to its reducer before it is durable."""

    def add(self, reducers, event, *, stored):
        genuine(self, reducers, event, stored=stored)
        while stored and self._uncommitted:
            self._is_ready(self._uncommitted.popleft()[1])

    genuine = Queues.add
    patch.setattr(Queues, "add", add)


def next_event_before_commit(patch):
    """The next event is shown before the fold of the last one is durable."""

    def take_off(self, queue, *, reduced):
        genuine(self, queue, reduced=reduced)
        while self._settling:
            _, settled, queued, was_reduced = self._settling.popleft()
            self._settle(settled, queued, reduced=was_reduced)

    genuine = Queues.take_off
    patch.setattr(Queues, "take_off", take_off)


def row_stays(patch):
    """An event that was folded stays in the store."""

    def take_off(self, queue, *, reduced):
        row = _row(queue.events[0])
        genuine(self, queue, reduced=reduced)
        self._journal._changes.pop(row, None)

    genuine = Queues.take_off
    patch.setattr(Queues, "take_off", take_off)


def row_goes_too_early(patch):
    """An event leaves the store when it is shown to its reducer."""

    def ask(self, queue, instance):
        self._journal.keep(_row(queue.events[0]), None)
        genuine(self, queue, instance)

    genuine = Invocations._ask
    patch.setattr(Invocations, "_ask", ask)


def failed_folds_are_forgotten(patch):
    """An event whose fold could not be stored is not asked about again."""

    def commit_failed(self):
        settling, self._settling = self._settling, deque()
        genuine(self)
        for _, queue, queued, reduced in settling:
            self._settle(queue, queued, reduced=reduced)

    genuine = Queues.commit_failed
    patch.setattr(Queues, "commit_failed", commit_failed)


def refused_events_are_folded(patch):
    """An event that was refused because of the disk is folded all the same."""

    def commit_failed(self):
        uncommitted, self._uncommitted = self._uncommitted, deque()
        genuine(self)
        for _, queue, _, _ in uncommitted:
            self._is_ready(queue)

    genuine = Queues.commit_failed
    patch.setattr(Queues, "commit_failed", commit_failed)


def instances_that_leave_keep_events(patch):
    """What was out at an instance that has left is not asked about again."""

    def take_back(self, instance, *, died):
        for number in instance.running:
            queue = self._out.pop(number)
            self._queues.take_off(queue, reduced=False)
        instance.running.clear()

    patch.setattr(Invocations, "take_back", take_back)


def all_events_of_a_topic_at_once(patch):
    """The events of one topic are shown in any order, as soon as there is room."""

    def is_ready(self, queue):
        genuine(self, queue)
        if queue.state is State.IDLE or len(queue.events) > 1:
            queue.events.rotate(1)

    genuine = Queues._is_ready
    patch.setattr(Queues, "_is_ready", is_ready)


def answers_of_webhooks_become_keys(patch):
    """What the worker answers about an event of a webhook becomes a key, as of any reducer."""

    def finish(self, queue, answer):
        if isinstance(answer, Reduced) and queue.reducer.webhook is not None:
            return self._fold(queue, answer)
        return genuine(self, queue, answer)

    genuine = Invocations._finish
    patch.setattr(Invocations, "_finish", finish)


def full_webhooks_refuse(patch):
    """Acknowledged publishes are refused while a webhook's queue is full."""
    patch.setattr(queues, "_refuses", lambda reducer: True)


def run(scenario):
    for seed in range(SEEDS):
        scenario(seed)


@pytest.mark.parametrize(
    ("plant", "scenario"),
    [
        (fold_before_commit, "reducers_on_a_failing_disk"),
        (next_event_before_commit, "reducers_on_a_failing_disk"),
        (row_stays, "reducers_fold"),
        (row_goes_too_early, "reducers_fold"),
        (failed_folds_are_forgotten, "reducers_on_a_failing_disk"),
        (refused_events_are_folded, "reducers_on_a_failing_disk"),
        (instances_that_leave_keep_events, "reducers_fold"),
        (all_events_of_a_topic_at_once, "reducers_fold"),
        (fold_before_commit, "webhooks_on_a_failing_disk"),
        (row_goes_too_early, "webhooks_post"),
        (all_events_of_a_topic_at_once, "webhooks_post"),
        (answers_of_webhooks_become_keys, "webhooks_post"),
        (full_webhooks_refuse, "webhooks_with_full_queues"),
    ],
)
def test_a_planted_mistake_is_found(plant, scenario, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="seed"):
        run(SCENARIOS[scenario])
