"""Wait queues: the order of waiters, and which of them a change of the key lets through."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import msgpack
from shard_harness import REALM, publish

from fox_shard.backplane.frames import Event, RetainOptions
from fox_shard.config import Realm as Settings
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.conditions import ParsedCondition, conditions_hold
from fox_shard.shard.keys.documents import DecodedDocuments
from fox_shard.shard.keys.quota import KeyQuota
from fox_shard.shard.keys.realm import Realm
from fox_shard.shard.keys.wait_queues import WaitQueues
from fox_shard.shard.queue_quota import QueueQuotas
from fox_shard.shard.rows import Waiter

REF = (REALM, "a.b")
NO_KEY = {"when": msgpack.encode(None)}
ON = {"when": msgpack.encode({"state": "on"})}
ANYTHING = {"when": msgpack.encode({})}
DOCUMENTS = Realm(Settings(name=REALM), DecodedDocuments(Budget()), KeyQuota()).document_of


def waiter(arrival, condition, *, session=1, topic="a.b"):
    retain = RetainOptions(watch=True, **condition)
    return Waiter(arrival, "gateway-0", 1, publish(topic, session=session, retain=retain))


def key(publication=7, args=b'[{"state":"on"}]', *, session=9, private=False, kwargs=b""):
    retain = RetainOptions(weak=True, private=True) if private else None
    return Event(publication, publish(session=session, args=args, kwargs=kwargs, retain=retain))


@pytest.fixture
def queues():
    return WaitQueues(QueueQuotas())


def take_all(queues, value):
    """Take all waiters that the value lets through, one after the other; return their arrivals."""
    arrivals = []
    while (taken := queues.take(REF, value, DOCUMENTS)) is not None:
        arrivals.append(taken.arrival)
    return arrivals


def test_new_wait_queues_are_empty(queues):
    assert (len(queues), queues.refs) == (0, [])
    assert queues.take(REF, None, DOCUMENTS) is None
    assert queues.session_ended(1) == []
    assert not queues.remove(waiter(1, NO_KEY))


def test_the_first_waiter_whose_condition_holds_is_taken_first_whatever_the_condition(queues):
    for one in (
        waiter(1, ON),
        waiter(2, {"when_id": 7}),
        waiter(3, ANYTHING),
        waiter(4, ON),
        waiter(5, NO_KEY),
        waiter(6, {"when_id": 8}),
        waiter(7, {"when_id": 7, **ON}),
    ):
        queues.add(one)
    assert take_all(queues, key(7)) == [1, 2, 3, 4, 7]
    assert len(queues) == 2
    assert take_all(queues, None) == [5]
    assert take_all(queues, key(8, b"[]")) == [6]
    assert (len(queues), queues.refs) == (0, [])


@pytest.mark.parametrize("condition", [{"when_id": 0}, NO_KEY])
def test_a_missing_key_has_the_id_0(condition, queues):
    queues.add(waiter(1, condition))
    assert queues.take(REF, key(), DOCUMENTS) is None
    assert queues.take(REF, None, DOCUMENTS).arrival == 1


def test_each_key_has_waiters_of_its_own(queues):
    queues.add(waiter(1, NO_KEY, topic="else"))
    queues.add(waiter(2, {"when_id": 0}))
    assert sorted(queues.refs) == [REF, (REALM, "else")]
    assert take_all(queues, None) == [2]
    assert queues.refs == [(REALM, "else")]


def test_a_waiter_that_is_put_back_is_the_first_again(queues):
    for arrival in (1, 2, 3):
        queues.add(waiter(arrival, NO_KEY))
    first, second = queues.take(REF, None, DOCUMENTS), queues.take(REF, None, DOCUMENTS)
    queues.add(waiter(4, NO_KEY))
    queues.put_back(second)
    queues.put_back(first)
    assert take_all(queues, None) == [1, 2, 3, 4]


def test_the_only_waiter_can_be_put_back(queues):
    queues.add(waiter(1, {"when_id": 7}))
    queues.put_back(queues.take(REF, key(7), DOCUMENTS))
    assert len(queues) == 1
    assert take_all(queues, key(7)) == [1]


def test_a_removed_waiter_is_not_taken(queues):
    one, other = waiter(1, NO_KEY), waiter(2, NO_KEY)
    queues.add(one)
    queues.add(other)
    assert queues.remove(one)
    assert not queues.remove(one)
    assert take_all(queues, None) == [2]
    assert not queues.remove(other)


def test_the_waiters_of_a_session_end_with_it(queues):
    for arrival, condition in enumerate((NO_KEY, {"when_id": 7}, ON)):
        queues.add(waiter(arrival, condition, session=1))
        queues.add(waiter(10 + arrival, condition, session=2))
    assert [one.arrival for one in queues.session_ended(1)] == [0, 1, 2]
    assert len(queues) == 3
    assert take_all(queues, key(7)) == [11, 12]
    assert take_all(queues, None) == [10]


@pytest.mark.parametrize("condition", [ON, {"when_id": 7}, ANYTHING])
def test_a_private_key_meets_the_conditions_of_its_owner_alone(condition, queues):
    queues.add(waiter(1, condition, session=1))
    queues.add(waiter(2, condition, session=2))
    queues.add(waiter(3, condition, session=2, topic="else"))
    queues.add(waiter(4, condition, session=2))
    assert take_all(queues, key(7, session=2, private=True)) == [2, 4]
    assert take_all(queues, key(7, session=2)) == [1]


def test_keyword_arguments_that_are_headers_are_not_in_the_document(queues):
    queues.add(waiter(1, ON))
    value = key(7, b"[]", kwargs=b'{"state":"on"}')
    headers = Realm(
        Settings(name=REALM, kwargs_are_headers=True), DecodedDocuments(Budget()), KeyQuota()
    )
    assert queues.take(REF, value, headers.document_of) is None
    assert queues.take(REF, value, DOCUMENTS).arrival == 1


# Cost with many waiters


@pytest.fixture
def compared(monkeypatch):
    """The sessions whose conditions were compared with a key."""
    sessions, holds = [], ParsedCondition.holds

    def counted(self, key, session, documents):
        sessions.append(session)
        return holds(self, key, session, documents)

    monkeypatch.setattr(ParsedCondition, "holds", counted)
    return sessions


MANY = 10_000


def test_a_change_is_compared_once_with_a_condition_that_many_share(queues, compared):
    for arrival in range(1, MANY + 1):
        queues.add(waiter(arrival, NO_KEY, session=arrival))
    for turn in (1, 2, 3):
        assert queues.take(REF, None, DOCUMENTS).arrival == turn
        assert len(compared) == turn
    assert queues.take(REF, key(), DOCUMENTS) is None
    assert len(compared) == 4


def test_a_change_is_not_compared_with_waiters_for_other_publication_ids(queues, compared):
    for arrival in range(1, MANY + 1):
        queues.add(waiter(arrival, {"when_id": arrival}, session=arrival))
    assert queues.take(REF, key(MANY // 2), DOCUMENTS).arrival == MANY // 2
    assert queues.take(REF, key(MANY // 2), DOCUMENTS) is None
    assert compared == []


def test_a_private_key_is_compared_with_its_owners_waiters_only(queues, compared):
    for arrival in range(1, MANY + 1):
        queues.add(waiter(arrival, {**ON, "when_id": arrival}, session=arrival))
    assert queues.take(REF, key(5, session=5, private=True), DOCUMENTS).arrival == 5
    assert compared == [5]


def test_a_waiter_is_found_among_many_when_its_session_leaves(queues, compared):
    for arrival in range(1, MANY + 1):
        queues.add(waiter(arrival, NO_KEY, session=arrival))
    for session in (MANY, MANY // 2, 1):
        assert [one.arrival for one in queues.session_ended(session)] == [session]
    assert compared == []
    assert queues.take(REF, None, DOCUMENTS).arrival == 2


# Against a plain list


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

STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(CONDITIONS), st.integers(1, 3)),
    st.tuples(st.just("take"), st.sampled_from(VALUES), st.booleans()),
    st.tuples(st.just("leave"), st.integers(1, 3), st.none()),
)


def first_of(waiters, value):
    """Return the first waiter of the list whose condition holds."""
    return next(
        (w for w in waiters if conditions_hold(w.retain, value, w.publish.session, DOCUMENTS)), None
    )


@example(
    [
        ("add", {"when_id": 7}, 2),
        ("add", {"when_id": 7}, 1),
        ("take", key(7, session=1, private=True), True),
        ("take", key(7), False),
    ]
)
@given(st.lists(STEPS, max_size=40))
def test_the_queues_agree_with_one_list(steps):
    queues, waiters = WaitQueues(QueueQuotas()), []
    for arrival, (step, what, more) in enumerate(steps):
        if step == "add":
            one = waiter(arrival, what, session=more)
            queues.add(one)
            waiters.append(one)
        elif step == "take":
            expected = first_of(waiters, what)
            assert queues.take(REF, what, DOCUMENTS) is expected
            if expected is not None and more:
                queues.put_back(expected)
            elif expected is not None:
                waiters.remove(expected)
        else:
            gone = [one for one in waiters if one.publish.session == what]
            waiters = [one for one in waiters if one.publish.session != what]
            left = queues.session_ended(what)
            assert sorted(one.arrival for one in left) == [one.arrival for one in gone]
        assert len(queues) == len(waiters)
        assert queues.refs == ([REF] if waiters else [])
