"""What a gateway has to do later."""

import pytest

from fox_shard.deadline import NEVER, Deadline
from fox_shard.gateway.clients.timers import Timers


@pytest.fixture
def deadline():
    return Deadline()


@pytest.fixture
def timers(deadline):
    return Timers(deadline)


def test_what_is_due_is_called_in_order_once(timers):
    called = []
    for when in (3.0, 1.0, 2.0, 9.0):
        timers.at(when, lambda now, when=when: called.append((when, now)))
    timers.run(0.5)
    assert called == []
    timers.run(3.0)
    timers.run(4.0)
    assert called == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]
    assert timers.next() == 9.0


def test_what_is_due_at_the_same_time_is_called_in_the_order_of_asking(timers):
    called = []
    for name in "abc":
        timers.at(1.0, lambda now, name=name: called.append(name))
    timers.run(1.0)
    assert called == ["a", "b", "c"]


def test_a_callback_may_ask_for_another_call(timers):
    called = []

    def again(now):
        called.append(now)
        timers.at(now + 1.0, again)

    timers.at(1.0, again)
    for now in (1.0, 2.0, 2.5, 3.0):
        timers.run(now)
    assert called == [1.0, 2.0, 3.0]


def test_the_process_is_told_of_the_earliest(timers, deadline):
    assert timers.next() == NEVER
    timers.at(5.0, lambda now: None)
    timers.at(7.0, lambda now: None)
    assert deadline.at == timers.next() == 5.0
    timers.at(3.0, lambda now: None)
    assert deadline.at == timers.next() == 3.0
