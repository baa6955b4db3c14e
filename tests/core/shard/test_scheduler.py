"""The scheduler: how much one turn of a shard does, and what goes on in the next one."""

import pytest
from limited_turns import KEEP, keeps, limit, made, seen, settle
from msgspec import msgpack
from shard_harness import REALM, call, leave, publish, register

from fox_shard.backplane.frames import CONDITION, EMPTY, CallError, RetainOptions, Will
from fox_shard.shard.budget import TURN_UNITS, Budget
from fox_shard.shard.scheduler import Scheduler


class Countdown:
    """Work that takes so many units, and notes in which order units are done."""

    def __init__(self, name, units, budget, done):
        self.name, self.left, self.budget, self.done = name, units, budget, done

    @property
    def busy(self):
        return self.left > 0

    def go_on(self, _now):
        while self.left and not self.budget.exhausted:
            self.left -= 1
            self.budget.spend(1)
            self.done.append(self.name)


def test_work_goes_on_until_the_budget_is_spent_and_the_next_turn_has_all_of_it_again():
    budget, done = Budget(3), []
    scheduler = Scheduler(budget, [Countdown("a", 5, budget, done)])
    assert scheduler.busy
    assert scheduler.end_turn(0.0)
    assert (done, budget.left) == (["a"] * 3, 3)
    assert not scheduler.end_turn(0.0)
    assert done == ["a"] * 5


@pytest.fixture
def short_slices(monkeypatch):
    monkeypatch.setattr("fox_shard.shard.scheduler.SLICE_UNITS", 2)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize(("spent", "left"), [(0, 5), (2, 3), (3, 2), (5, 2), (9, 2)])
def test_work_gets_what_the_turn_has_left_and_a_slice_in_any_case(spent, left):
    budget, done = Budget(5), []
    scheduler = Scheduler(budget, [Countdown("a", 9, budget, done)])
    budget.spend(spent)
    assert scheduler.end_turn(0.0)
    assert done == ["a"] * left


@pytest.mark.usefixtures("short_slices")
def test_each_kind_of_work_gets_a_slice_in_turn():
    budget, done = Budget(6), []
    works = [Countdown("a", 9, budget, done), Countdown("b", 1, budget, done)]
    scheduler = Scheduler(budget, [*works, Countdown("c", 9, budget, done)])
    scheduler.end_turn(0.0)
    assert "".join(done) == "bccaac"
    scheduler.end_turn(0.0)
    assert "".join(done) == "bccaac" + "ccaacc"


@pytest.mark.usefixtures("short_slices")
def test_no_kind_of_work_waits_for_ever_when_every_turn_is_used_up():
    budget, done = Budget(2), []
    works = [Countdown(name, 100, budget, done) for name in "abc"]
    scheduler = Scheduler(budget, works)
    for _ in range(3):
        budget.spend(2)
        scheduler.end_turn(0.0)
    assert sorted(done) == [*"aabbcc"]


# Ends of sessions


def test_the_sessions_of_a_gateway_that_has_gone_end_over_several_turns():
    harness = made(20)
    harness.say("gateway-0", *(will(session) for session in range(1, 51)))
    settle(harness)
    harness.kill("gateway-0")
    harness.shard.peer_gone(harness.shard.peers["gateway-0"].link, harness.now)
    assert settle(harness) > 5
    assert sorted(seen(harness)) == [*range(1, 51)]


def will(session):
    return Will(publish("w", session=session, request=session, flags=0))


def test_the_keys_of_a_session_end_over_several_turns():
    harness = made(TURN_UNITS)
    weak = RetainOptions(weak=True)
    for first in (1, 1001):
        harness.say(
            "gateway-0",
            *(
                publish(f"k.{n}", request=n, flags=KEEP, retain=weak)
                for n in range(first, first + 1000)
            ),
            reliable=True,
        )
    harness.send("gateway-0", leave(1))
    harness.turn()
    harness.turn()
    assert harness.shard.retained_keys.keys_held == 1000
    harness.turns()
    assert harness.shard.retained_keys.keys_held == 0


def test_the_calls_of_a_busy_callee_that_leaves_are_refused_over_several_turns():
    harness = made(TURN_UNITS)
    harness.say("gateway-1", register(777))
    harness.say("gateway-0", *(call(session, session) for session in range(1, 101)))
    limit(harness, 10)
    harness.send("gateway-1", leave(777, graceful=False))
    harness.turn()
    # The registration ends at once.
    harness.send("gateway-0", call(200, 200))
    assert settle(harness) > 5
    errors = [(one.request, one.uri) for one in harness.got("gateway-0", CallError)]
    assert ("wamp.error.no_such_procedure", 200) in [(uri, request) for request, uri in errors[:50]]
    canceled = [request for request, uri in errors if uri == "wamp.error.canceled"]
    assert canceled == [*range(1, 101)]
    assert harness.shard.dealer.idle


def test_keys_that_expire_at_one_moment_are_erased_over_several_turns(monkeypatch):
    monkeypatch.setattr("fox_shard.shard.keys.retained.EXPIRED_AT_ONCE", 10)
    harness = made(TURN_UNITS)
    brief = RetainOptions(seconds=5)
    owned = [publish(f"k.{n}", request=n, flags=KEEP, retain=brief) for n in range(1, 101)]
    harness.say("gateway-0", *owned, reliable=True)
    harness.now += 6
    left = []
    while harness.shard.retained_keys.keys_held:
        harness.shard.tick(harness.now)
        assert harness.shard.deadline.at <= harness.now or not harness.shard.retained_keys.keys_held
        harness.turn()
        left.append(harness.shard.retained_keys.keys_held)
    assert left == [*range(90, -1, -10)]


# Chains of waiters


@pytest.mark.parametrize("unstored", [(), (REALM,)])
def test_a_long_chain_of_waiters_is_let_through_over_several_turns_in_order(unstored, monkeypatch):
    monkeypatch.setattr("fox_shard.shard.publishing.chains.SLICE_UNITS", 10)
    harness = made(TURN_UNITS, unstored=unstored)
    harness.say("gateway-0", *keeps(1, topic="a.b"), reliable=True)
    anything = RetainOptions(watch=True, when=msgpack.encode({"go": 1}))
    waiting = [
        publish(session=n, request=n, flags=KEEP | CONDITION, args=b'[{"go":1}]', retain=anything)
        for n in range(2, 52)
    ]
    for one in waiting:
        harness.say("gateway-0", one, reliable=True)
    limit(harness, 20)
    assert harness.shard.health()["waiting_publishes"] == 50
    harness.got("gateway-2")
    go = publish(request=99, flags=KEEP, args=b'[{"go":1}]')
    harness.send("gateway-0", go, reliable=True)
    assert settle(harness) > 5
    assert seen(harness) == [99, *range(2, 52)]
    assert harness.shard.health()["waiting_publishes"] == 0


def test_a_change_between_the_slices_of_a_chain_lets_at_most_one_more_through(monkeypatch):
    """What the rest of the chain waits for does not hold any more."""
    monkeypatch.setattr("fox_shard.shard.publishing.chains.SLICE_UNITS", 10)
    harness = made(TURN_UNITS)
    harness.say("gateway-0", *keeps(1, topic="a.b"), reliable=True)
    on = RetainOptions(watch=True, when=msgpack.encode({"go": 1}))
    for n in range(2, 22):
        one = publish(session=n, request=n, flags=KEEP | CONDITION, args=b'[{"go":1}]', retain=on)
        harness.say("gateway-0", one, reliable=True)
    limit(harness, 10)
    go = publish(request=99, flags=KEEP, args=b'[{"go":1}]')
    stop = publish(request=100, flags=KEEP | EMPTY, args=b"")
    harness.send("gateway-0", go, stop, reliable=True)
    settle(harness)
    left = harness.shard.health()["waiting_publishes"]
    assert 0 < left < 20
    harness.say("gateway-0", publish(request=101, flags=KEEP, args=b'[{"go":1}]'), reliable=True)
    settle(harness)
    assert harness.shard.health()["waiting_publishes"] == 0
