"""No client holds up the others: what each causes in a turn is counted and bounded."""

from functools import partial
from itertools import count

import pytest

from fox_shard.gateway.clients.connection import ADVICE, CREDIT, RATE, UNLIMITED, Connection
from fox_shard.gateway.clients.turns import FEW, HEAVY, REST, SLICE, Turns


class Worker:
    """A receiver to which each byte costs `cost` units, and which defers what it cannot afford."""

    def __init__(self, done, name, cost=100):
        self.connection = Connection([], name)
        self.connection.receiver = self
        self.done, self.name, self.cost = done, name, cost

    def receive(self, data, now):
        for at in range(len(data)):
            if self.connection.budget <= 0:
                self.connection.defer(partial(self.receive, data[at:]))
                return
            self.connection.budget -= self.cost
            self.done.append((self.name, data[at]))

    def connection_lost(self, now):
        self.done.append((self.name, "lost"))


@pytest.fixture
def turns():
    return Turns(2000)


CLOCK = count(1.0)
"""Turns that are taken without a time are a second apart."""


def take_turn(turns, now=None):
    now = next(CLOCK) if now is None else now
    for connection in turns.begin(now):
        turns.go_on(connection, now)
    turns.do_chores()


def test_what_a_client_sends_is_handled_in_order_over_several_turns(turns):
    done = []
    worker = Worker(done, "a")
    turns.receive(worker.connection, bytes(range(50)), 1.0)
    turns.receive(worker.connection, bytes(range(50, 60)), 1.0)
    assert len(done) == 20
    assert worker.connection.paused
    steps = []
    while turns.busy:
        before = len(done)
        take_turn(turns)
        steps.append(len(done) - before)
    assert steps == [20, 20]
    assert done == [("a", n) for n in range(60)]
    assert not worker.connection.paused
    assert worker.connection.budget == UNLIMITED


def test_clients_that_have_something_left_share_the_turn(turns):
    done = []
    workers = [Worker(done, name) for name in "abcd"]
    for worker in workers:
        turns.receive(worker.connection, bytes(100), 1.0)
    take_turn(turns)
    done.clear()
    take_turn(turns)
    assert [name for name, _ in done] == [*"aaaaabbbbbcccccddddd"]


def test_clients_that_have_waited_for_a_shard_share_what_it_has_room_for():
    turns = Turns(20_000)
    done = []
    workers = [Worker(done, name) for name in "abcd"]
    for worker in workers:
        turns.receive(worker.connection, bytes(300), 1.0)
    turns.share(8_000)
    for _ in range(2):
        done.clear()
        take_turn(turns)
        assert [name for name, _ in done] == [*"a" * 20, *"b" * 20, *"c" * 20, *"d" * 20]
    while turns.busy:
        take_turn(turns)
    take_turn(turns)
    # Nobody had anything left: now one may use the whole turn.
    done.clear()
    turns.receive(workers[0].connection, bytes(300), 1.0)
    assert len(done) == 200


def test_of_very_many_clients_some_have_to_wait_for_the_next_turn_but_none_for_ever(turns):
    done = []
    workers = [Worker(done, str(n)) for n in range(12)]
    for worker in workers:
        turns.receive(worker.connection, bytes(FEW + 1), 1.0)
    for _ in range(6):
        done.clear()
        take_turn(turns)
        assert len(done) == 2000 // 100
    shares = {}
    for _ in range(6):
        done.clear()
        take_turn(turns)
        for name, _ in done:
            shares[name] = shares.get(name, 0) + 1
    assert set(shares) == {worker.name for worker in workers}
    assert max(shares.values()) == min(shares.values())


def test_a_few_bytes_of_another_client_are_handled_at_once(turns):
    done = []
    many, other = Worker(done, "many"), Worker(done, "other")
    turns.receive(many.connection, bytes(FEW + 1), 1.0)
    done.clear()
    turns.receive(other.connection, b"\0", 1.0)
    assert done == [("other", 0)]
    later = Worker(done, "later")
    turns.receive(later.connection, bytes(FEW + 1), 1.0)
    assert done == [("other", 0)], "much must wait while the turn has no units left"
    assert later.connection.paused


def test_a_message_that_costs_more_than_a_turn_is_paid_for_in_later_ones(turns):
    done = []
    worker, other = Worker(done, "big", cost=9000), Worker(done, "other")
    turns.receive(worker.connection, b"\0\1", 1.0)
    assert done == [("big", 0)]
    waited = 0
    while len(done) < 2:
        take_turn(turns)
        waited += 1
    assert waited == 5
    assert done == [("big", 0), ("big", 1)]
    # Even a client that has nothing left pays before it sends more.
    while turns.busy:
        take_turn(turns)
    turns.receive(worker.connection, b"\2", 1.0)
    turns.receive(other.connection, b"\0", 1.0)
    assert done[2:] == [("other", 0)]


def test_a_client_that_publishes_to_a_shard_without_credit_goes_on_when_there_is_some(turns):
    done = []
    worker = Worker(done, "a")
    turns.receive(worker.connection, bytes(30), 1.0)
    worker.connection.pause(paused=True, why=CREDIT)
    take_turn(turns)
    assert len(done) == 20
    assert not turns.busy
    assert not turns.idle
    worker.connection.pause(paused=False, why=CREDIT)
    assert worker.connection.paused
    take_turn(turns)
    assert len(done) == 30
    assert turns.idle
    assert not worker.connection.paused


def test_what_is_deferred_inside_comes_before_what_is_left_outside(turns):
    """An MQTT packet in a WebSocket message: both have something left."""
    done = []

    class Outer:
        def __init__(self):
            self.connection = Connection([], "outer")
            self.connection.receiver = self
            self.inner = Worker(done, "inner", cost=1000)
            self.inner.connection = self.connection

        def receive(self, data, now):
            for at in range(0, len(data), 3):
                if self.connection.budget <= 0:
                    self.connection.defer(partial(self.receive, data[at:]))
                    return
                self.inner.receive(data[at : at + 3], now)

    outer = Outer()
    turns.receive(outer.connection, bytes(range(12)), 1.0)
    turns.receive(outer.connection, bytes(range(12, 15)), 1.0)
    while turns.busy:
        take_turn(turns)
    assert done == [("inner", n) for n in range(15)]


def test_what_a_failed_client_has_left_is_forgotten(turns):
    done = []
    worker = Worker(done, "a")
    turns.receive(worker.connection, bytes(100), 1.0)
    (due,) = turns.begin(1.0)
    turns.failed(due)
    take_turn(turns)
    assert len(done) == 20
    assert turns.idle


def test_chores_are_done_a_part_at_a_time(turns):
    parts = [*range(10)]
    turns.add_chore(lambda: bool(parts.pop()) and bool(parts))
    for _ in range(3):
        before = len(parts)
        turns.begin(1.0)
        turns.do_chores()
        assert before - len(parts) <= 2000 // SLICE
    assert parts == []
    assert turns.idle


def test_after_a_message_that_cost_much_more_than_a_turn_the_leftovers_of_all_clients_rest(turns):
    """Else five clients that take turns with such messages leave no time for anybody else."""
    done = []
    cost = 2000 + 8 * HEAVY
    heavy = [Worker(done, name, cost) for name in "abc"]
    other = Worker(done, "other")
    for worker in heavy:
        turns.receive(worker.connection, bytes(FEW + 1), 1.0)
    assert done == [("a", 0)]
    rest = 8 * HEAVY * REST
    take_turn(turns, 1.0)
    assert turns.rest(1.0) == pytest.approx(rest)
    assert turns.busy
    # A few bytes of others are handled meanwhile, many are not.
    turns.receive(other.connection, b"\0", 1.0)
    take_turn(turns, 1.0 + rest / 2)
    assert done == [("a", 0), ("other", 0)]
    take_turn(turns, 1.001 + rest)
    assert done == [("a", 0), ("other", 0), ("b", 0)]
    assert turns.rest(1.001 + rest) == 0.0


def test_a_client_that_gets_credit_back_during_the_rest_of_all_goes_on_after_it(turns):
    done = []
    worker, heavy = Worker(done, "a"), Worker(done, "heavy", 2000 + 8 * HEAVY)
    worker.connection.pause(paused=True, why=CREDIT)
    turns.receive(worker.connection, bytes(30), 1.0)
    take_turn(turns, 1.0)
    assert len(done) == 20
    turns.receive(heavy.connection, b"\0", 1.0)
    take_turn(turns, 1.0)
    worker.connection.pause(paused=False, why=CREDIT)
    take_turn(turns, 1.0)
    # Whoever turns asks for the time of the next turn only while somebody waits.
    assert turns.busy
    take_turn(turns, 1.001 + turns.rest(1.0))
    assert len(done) == 31


def test_a_few_bytes_that_cost_much_are_handled_at_once_only_once(turns):
    """A thousand bytes may inflate to a million."""
    done = []
    many, small = Worker(done, "many"), Worker(done, "small", cost=1500)
    turns.receive(many.connection, bytes(FEW + 1), 1.0)
    done.clear()
    turns.receive(small.connection, b"\0", 1.0)
    turns.receive(small.connection, b"\1", 1.0)
    assert done == [("small", 0)]


class Asking(Worker):
    """A worker that waits for advice after the byte `?`."""

    def receive(self, data, now):
        for at in range(len(data)):
            if self.connection.budget <= 0:
                self.connection.defer(partial(self.receive, data[at:]))
                return
            self.done.append((self.name, data[at : at + 1]))
            if data[at : at + 1] == b"?":
                self.connection.hold(ADVICE)


def test_a_client_that_waits_for_advice_goes_on_where_it_stopped_and_takes_no_units(turns):
    done = []
    asking, other = Asking(done, "asking"), Worker(done, "other", cost=1)
    turns.receive(asking.connection, b"a?b", 0.0)
    turns.receive(asking.connection, b"c", 0.0)
    assert done == [("asking", b"a"), ("asking", b"?")]
    # The other one is handled at once, as there are units left.
    turns.receive(other.connection, b"x" * (FEW + 1), 0.0)
    assert len(done) == 2 + FEW + 1
    take_turn(turns)
    assert len(done) == 2 + FEW + 1
    assert not turns.busy
    turns.release(asking.connection, ADVICE)
    take_turn(turns)
    assert done[-2:] == [("asking", b"b"), ("asking", b"c")]
    assert turns.idle
    assert not asking.connection.paused


def test_a_client_that_began_to_wait_outside_of_its_turns_goes_on(turns):
    done = []
    asking = Asking(done, "asking")
    asking.receive(b"?ab", 0.0)
    assert done == [("asking", b"?")]
    turns.release(asking.connection, ADVICE)
    take_turn(turns)
    assert done == [("asking", b"?"), ("asking", b"a"), ("asking", b"b")]
    assert asking.connection.budget == UNLIMITED


def test_a_client_that_is_held_for_two_reasons_goes_on_after_both(turns):
    done = []
    asking = Asking(done, "asking")
    turns.receive(asking.connection, b"?ab", 0.0)
    asking.connection.hold(RATE)
    turns.release(asking.connection, ADVICE)
    take_turn(turns)
    assert done == [("asking", b"?")]
    assert asking.connection.paused
    turns.release(asking.connection, RATE)
    take_turn(turns)
    assert done == [("asking", b"?"), ("asking", b"a"), ("asking", b"b")]
    assert turns.idle
    assert not asking.connection.paused


def test_a_client_that_was_held_outside_of_its_turns_for_two_reasons_goes_on(turns):
    done = []
    asking = Asking(done, "asking")
    asking.receive(b"?a", 0.0)
    asking.connection.hold(RATE, lambda _now: done.append("rest"))
    for why in (RATE, ADVICE):
        assert len(done) == 1
        turns.release(asking.connection, why)
        take_turn(turns)
    assert done == [("asking", b"?"), ("asking", b"a"), "rest"]
    assert asking.connection.budget == UNLIMITED
    assert asking.connection.unused == 0
    assert not asking.connection.paused


def test_a_client_that_is_released_in_its_own_turn_goes_on_once(turns):
    done = []

    class Released(Asking):
        def receive(self, data, now):
            super().receive(data, now)
            turns.release(self.connection, ADVICE)

    released, other = Released(done, "released"), Worker(done, "other", cost=1)
    turns.receive(released.connection, b"?a", 0.0)
    assert done == [("released", b"?")]
    assert turns._queue == [released.connection]
    # It has used no units, and got none.
    turns.receive(other.connection, b"x" * 5000, 0.0)
    assert len(done) == 1 + turns.units
    while turns.busy:
        take_turn(turns)
    assert ("released", b"a") in done


def test_of_a_client_that_has_gone_everything_is_handled_although_it_was_too_fast(turns):
    done = []
    worker = Worker(done, "a")
    worker.connection.hold(RATE)
    turns.receive(worker.connection, b"\1\2", 0.0)
    turns.client_gone(worker.connection)
    worker.connection.defer(worker.connection_lost)
    take_turn(turns)
    assert done == [("a", 1), ("a", 2), ("a", "lost")]
    assert worker.connection.gone
