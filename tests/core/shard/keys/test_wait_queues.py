"""Publishes that wait: in order of arrival, and whom a change of the key lets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack
from shard_harness import REALM, publish

from fox_shard.backplane.frames import Event, Keep
from fox_shard.shard.keys import wait_queues
from fox_shard.shard.keys.conditions import hold
from fox_shard.shard.keys.wait_queues import Waiting
from fox_shard.shard.rows import Waiter

PLACE = (REALM, "a.b")
NO_KEY = {"when": msgpack.encode(None)}
ON = {"when": msgpack.encode({"state": "on"})}
ANYTHING = {"when": msgpack.encode({})}


def waiter(arrival, condition, *, session=1, topic="a.b"):
    keep = Keep(watch=True, **condition)
    return Waiter(arrival, "gateway-0", 1, publish(topic, session=session, keep=keep))


def key(publication=7, args=b'[{"state":"on"}]', *, session=9, private=False, kwargs=b""):
    keep = Keep(weak=True, private=True) if private else None
    return Event(publication, publish(session=session, args=args, kwargs=kwargs, keep=keep))


@pytest.fixture
def waiting():
    return Waiting()


def all_taken(waiting, value, **more):
    """The arrivals of all whom the value lets through, one after the other."""
    arrivals = []
    while (taken := waiting.take(PLACE, value, **more)) is not None:
        arrivals.append(taken.arrival)
    return arrivals


def test_nobody_waits_at_first(waiting):
    assert (len(waiting), waiting.places) == (0, [])
    assert waiting.take(PLACE, None) is None
    assert waiting.session_left(1) == []
    assert not waiting.remove(waiter(1, NO_KEY))


def test_the_first_that_came_goes_first_whatever_it_waits_for(waiting):
    for one in (
        waiter(1, ON),
        waiter(2, {"when_id": 7}),
        waiter(3, ANYTHING),
        waiter(4, ON),
        waiter(5, NO_KEY),
        waiter(6, {"when_id": 8}),
        waiter(7, {"when_id": 7, **ON}),
    ):
        waiting.add(one)
    assert all_taken(waiting, key(7)) == [1, 2, 3, 4, 7]
    assert len(waiting) == 2
    assert all_taken(waiting, None) == [5]
    assert all_taken(waiting, key(8, b"[]")) == [6]
    assert (len(waiting), waiting.places) == (0, [])


@pytest.mark.parametrize("condition", [{"when_id": 0}, NO_KEY])
def test_where_there_is_no_key_its_id_is_0(condition, waiting):
    waiting.add(waiter(1, condition))
    assert waiting.take(PLACE, key()) is None
    assert waiting.take(PLACE, None).arrival == 1


def test_each_key_has_waiters_of_its_own(waiting):
    waiting.add(waiter(1, NO_KEY, topic="else"))
    waiting.add(waiter(2, {"when_id": 0}))
    assert sorted(waiting.places) == [PLACE, (REALM, "else")]
    assert all_taken(waiting, None) == [2]
    assert waiting.places == [(REALM, "else")]


def test_one_that_is_put_back_is_the_first_again(waiting):
    for arrival in (1, 2, 3):
        waiting.add(waiter(arrival, NO_KEY))
    first, second = waiting.take(PLACE, None), waiting.take(PLACE, None)
    waiting.add(waiter(4, NO_KEY))
    waiting.put_back(second)
    waiting.put_back(first)
    assert all_taken(waiting, None) == [1, 2, 3, 4]


def test_one_that_was_the_only_one_is_put_back(waiting):
    waiting.add(waiter(1, {"when_id": 7}))
    waiting.put_back(waiting.take(PLACE, key(7)))
    assert len(waiting) == 1
    assert all_taken(waiting, key(7)) == [1]


def test_who_is_removed_does_not_wait_any_more(waiting):
    one, other = waiter(1, NO_KEY), waiter(2, NO_KEY)
    waiting.add(one)
    waiting.add(other)
    assert waiting.remove(one)
    assert not waiting.remove(one)
    assert all_taken(waiting, None) == [2]
    assert not waiting.remove(other)


def test_what_a_session_waits_for_goes_with_it(waiting):
    for arrival, condition in enumerate((NO_KEY, {"when_id": 7}, ON)):
        waiting.add(waiter(arrival, condition, session=1))
        waiting.add(waiter(10 + arrival, condition, session=2))
    assert [one.arrival for one in waiting.session_left(1)] == [0, 1, 2]
    assert len(waiting) == 3
    assert all_taken(waiting, key(7)) == [11, 12]
    assert all_taken(waiting, None) == [10]


@pytest.mark.parametrize("condition", [ON, {"when_id": 7}, ANYTHING])
def test_a_private_key_meets_the_conditions_of_its_owner_alone(condition, waiting):
    waiting.add(waiter(1, condition, session=1))
    waiting.add(waiter(2, condition, session=2))
    waiting.add(waiter(3, condition, session=2, topic="else"))
    waiting.add(waiter(4, condition, session=2))
    assert all_taken(waiting, key(7, session=2, private=True)) == [2, 4]
    assert all_taken(waiting, key(7, session=2)) == [1]


def test_the_document_may_do_without_keyword_arguments(waiting):
    waiting.add(waiter(1, ON))
    value = key(7, b"[]", kwargs=b'{"state":"on"}')
    assert waiting.take(PLACE, value, headers=True) is None
    assert waiting.take(PLACE, value).arrival == 1


# However many wait


@pytest.fixture
def compared(monkeypatch):
    """The arrivals of those whose conditions were compared with a key."""
    arrivals = []

    def counted(keep, key, session=0, *, headers=False):
        arrivals.append(session)
        return hold(keep, key, session, headers=headers)

    monkeypatch.setattr(wait_queues, "hold", counted)
    return arrivals


MANY = 10_000


def test_a_change_is_compared_once_with_what_many_wait_for(waiting, compared):
    for arrival in range(1, MANY + 1):
        waiting.add(waiter(arrival, NO_KEY, session=arrival))
    for turn in (1, 2, 3):
        assert waiting.take(PLACE, None).arrival == turn
        assert len(compared) == turn
    assert waiting.take(PLACE, key()) is None
    assert len(compared) == 4


def test_a_change_is_compared_with_nobody_who_waits_for_another_publication(waiting, compared):
    for arrival in range(1, MANY + 1):
        waiting.add(waiter(arrival, {"when_id": arrival}, session=arrival))
    assert waiting.take(PLACE, key(MANY // 2)).arrival == MANY // 2
    assert waiting.take(PLACE, key(MANY // 2)) is None
    assert compared == []


def test_a_private_key_is_compared_with_what_its_owner_waits_for(waiting, compared):
    for arrival in range(1, MANY + 1):
        waiting.add(waiter(arrival, {**ON, "when_id": arrival}, session=arrival))
    assert waiting.take(PLACE, key(5, session=5, private=True)).arrival == 5
    assert compared == [5]


def test_one_among_many_is_found_when_its_session_leaves(waiting, compared):
    for arrival in range(1, MANY + 1):
        waiting.add(waiter(arrival, NO_KEY, session=arrival))
    for session in (MANY, MANY // 2, 1):
        assert [one.arrival for one in waiting.session_left(session)] == [session]
    assert compared == []
    assert waiting.take(PLACE, None).arrival == 2


# As a list would


CONDITIONS = [
    NO_KEY,
    ON,
    ANYTHING,
    {"when_id": 0},
    {"when_id": 7},
    {"when_id": 7, **ON},
    {"when_id": 0, **NO_KEY},
]
VALUES = [None, key(7), key(8), key(7, b"[]"), *(key(7, session=s, private=True) for s in (1, 2))]

deeds = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(CONDITIONS), st.integers(1, 3)),
    st.tuples(st.just("take"), st.sampled_from(VALUES), st.booleans()),
    st.tuples(st.just("leave"), st.integers(1, 3), st.none()),
)


def first_of(queue, value):
    """The first whose condition holds, as a list is searched."""
    return next((w for w in queue if hold(w.keep, value, w.publish.session)), None)


@given(st.lists(deeds, max_size=40))
def test_the_queues_agree_with_one_list(todo):
    waiting, queue = Waiting(), []
    for arrival, (deed, what, more) in enumerate(todo):
        if deed == "add":
            one = waiter(arrival, what, session=more)
            waiting.add(one)
            queue.append(one)
        elif deed == "take":
            expected = first_of(queue, what)
            assert waiting.take(PLACE, what) is expected
            if expected is not None and more:
                waiting.put_back(expected)
            elif expected is not None:
                queue.remove(expected)
        else:
            gone = [one for one in queue if one.publish.session == what]
            queue = [one for one in queue if one.publish.session != what]
            left = waiting.session_left(what)
            assert sorted(one.arrival for one in left) == [one.arrival for one in gone]
        assert len(waiting) == len(queue)
        assert waiting.places == ([PLACE] if queue else [])
