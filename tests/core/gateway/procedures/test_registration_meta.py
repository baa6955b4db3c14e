"""`wamp.registration.…`, as a gateway answers them (WAMP #registration-metapi).

What holds for subscriptions as well is in test_meta_procedures.py.
"""

import pytest
from meta_calls import MetaCalls
from msgspec import msgpack

from fox_shard.backplane.meta_api import BEST_REGISTRATION, CALLEES, RegistrationState, id_key


@pytest.fixture
def calling():
    return MetaCalls("registration")


STATE = RegistrationState(7, 1_800_000_000.25, "*a.+.c.#", "random", 3)
FOUND = (id_key(7), msgpack.encode(STATE))


def test_a_list_of_callees_that_would_be_too_long_is_refused_and_counted():
    calling = MetaCalls("registration", answer_bytes=10)
    calling.call("list_callees", 7)
    calling.answer([(id_key(n), msgpack.encode([1, 2])) for n in range(1, 9)])
    assert calling.result == "fox.error.limit_exceeded"
    assert calling.harness.gateway.limit_counts.totals() == {"answer_bytes": 1}


def test_match_asks_the_shard_of_the_procedure(calling):
    calling.call("match", "a.b")
    shard = calling.harness.realm.shard_of("a.b")
    assert calling.answer([(b"a.b", id_key(9))]) == {(shard, BEST_REGISTRATION, b"a.b")}
    assert calling.result == 9
    calling.call("match", "a.b")
    calling.answer()
    assert calling.result is None


def test_get_returns_a_wildcard_pattern_as_wamp_writes_it(calling):
    calling.call("get", 7)
    calling.answer([FOUND])
    assert calling.result == {
        "id": 7,
        "created": "2027-01-15T08:00:00.250Z",
        "uri": "a..c.#",
        "match": "wildcard",
        "invoke": "random",
        "x_callees": 3,
        "x_queued": 0,
        "x_running": 0,
    }


def test_callees_are_listed_and_counted(calling):
    calling.call("list_callees", 7.0)
    chunks = [(id_key(1), msgpack.encode([9, 3])), (id_key(5), msgpack.encode([4]))]
    assert calling.answer(chunks) == {(n, CALLEES, id_key(7)) for n in (0, 1)}
    assert calling.result == [3, 4, 9]
    calling.call("count_callees", 7)
    calling.answer([FOUND])
    assert calling.result == 3
