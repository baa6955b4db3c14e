"""Timers: callbacks that a gateway runs later."""

import pytest

from fox_shard.deadline import NEVER, Deadline
from fox_shard.gateway.clients.timers import GATHERED, Timers


@pytest.fixture
def deadline():
    return Deadline()


@pytest.fixture
def timers(deadline):
    return Timers(deadline)


def test_due_callbacks_are_called_once_in_the_order_of_their_times(timers):
    called = []
    for when in (3.0, 1.0, 2.0, 9.0):
        timers.at(when, lambda now, when=when: called.append((when, now)))
    timers.run(0.5)
    assert called == []
    timers.run(3.0)
    timers.run(4.0)
    assert called == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]
    assert timers.next() == 9.0


def test_callbacks_due_at_the_same_time_are_called_in_the_order_of_adding(timers):
    called = []
    for name in "abc":
        timers.at(1.0, lambda now, name=name: called.append(name))
    timers.run(1.0)
    assert called == ["a", "b", "c"]


def test_a_callback_may_add_another(timers):
    called = []

    def again(now):
        called.append(now)
        timers.at(now + 1.0, again)

    timers.at(1.0, again)
    for now in (1.0, 2.0, 2.5, 3.0):
        timers.run(now)
    assert called == [1.0, 2.0, 3.0]


def test_the_deadline_is_the_time_of_the_earliest_callback(timers, deadline):
    assert timers.next() == NEVER
    timers.at(5.0, lambda now: None)
    timers.at(7.0, lambda now: None)
    assert deadline.at == timers.next() == 5.0
    timers.at(3.0, lambda now: None)
    assert deadline.at == timers.next() == 3.0


def test_timers_that_watch_over_clients_are_due_together(timers, deadline):
    called = []
    wanted = [7.0 + number / 1000 for number in range(200)]
    due = [timers.gathered(when, called.append) for when in wanted]
    assert len(set(due)) <= 4
    assert all(when - 1e-9 <= at <= when + GATHERED for when, at in zip(wanted, due, strict=True))
    turns = 0
    while timers.next() < 1e9:
        assert deadline.at <= timers.next()
        timers.run(timers.next())
        turns += 1
    assert (turns, len(called)) == (len(set(due)), 200)
