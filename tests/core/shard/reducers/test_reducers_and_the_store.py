"""Reducers and the store: each event is folded exactly once."""

import pytest
from reducing import (
    answer,
    asked,
    emit,
    fold,
    key,
    reducer,
    reducing_harness,
)
from shard_harness import publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RETAIN,
    Published,
    Refused,
)
from fox_shard.store.journal import RETRY as DISK_RETRY


@pytest.fixture
def harness():
    """A harness with a reducer of `a.#` at session 1 of gateway-0; gateway-1 gets everything."""
    return reducing_harness(reducer())


def test_an_event_is_acknowledged_and_shown_to_the_reducer_when_its_row_is_durable(harness):
    harness.disk.held = True
    emit(harness, 1)
    assert (asked(harness), harness.got("gateway-1", Published)) == ([], [])
    harness.disk.held = False
    harness.turns()
    assert len(asked(harness)) == 1
    assert len(harness.got("gateway-1", Published)) == 1


def test_an_event_whose_commit_fails_is_refused_and_not_folded(harness):
    harness.disk.held = True
    emit(harness, 1)
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    assert [one.uri for one in harness.got("gateway-1", Refused)] == ["fox.error.unavailable_store"]
    assert asked(harness) == []
    harness.disk.trouble = ""
    harness.pass_time(DISK_RETRY + 0.5)
    assert asked(harness) == []
    emit(harness, 2)
    fold(harness)
    assert key(harness) == b"[[2]]"


def test_a_fold_whose_commit_fails_is_asked_for_again_with_the_same_value(harness):
    emit(harness, 1)
    fold(harness)
    emit(harness, 2, 3)
    (two,) = asked(harness)
    harness.disk.held = True
    answer(harness, two, b"[[1,2]]")
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    assert asked(harness) == []
    harness.disk.trouble = ""
    harness.pass_time(DISK_RETRY + 0.5)
    (again,) = asked(harness)
    assert (again.event, again.retained) == (two.event, two.retained)
    answer(harness, again, b"[[1,2]]")
    fold(harness)
    assert key(harness) == b"[[1,2,3]]"


def test_an_answer_that_comes_while_the_store_fails_counts_afterwards(harness):
    emit(harness, 1)
    (one,) = asked(harness)
    harness.disk.trouble = "disk full"
    harness.say("gateway-1", publish("k", session=3, flags=ACKNOWLEDGE | RETAIN), reliable=True)
    answer(harness, one, b"[1]")
    assert key(harness) is None
    harness.disk.trouble = ""
    harness.pass_time(DISK_RETRY + 0.5)
    assert key(harness) == b"[1]"
    assert asked(harness) == []


@pytest.mark.parametrize("held", [False, True])
def test_after_a_restart_the_queue_goes_on(harness, held):
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.disk.held = held
    answer(harness, one, b"[[1]]")
    harness.restart()
    harness.turns(8)
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_an_event_that_is_sent_again_after_a_restart_is_not_folded_again(harness):
    harness["gateway-1"].deaf = True
    emit(harness, 1)
    harness.restart()
    harness.turns(8)
    assert len(harness.got("gateway-1", Published)) == 1
    fold(harness)
    assert key(harness) == b"[[1]]"


def test_a_realm_in_memory_has_reducers_without_rows():
    harness = reducing_harness(reducer(realm="memory"))
    rows = dict(harness.disk.rows)
    frames = [
        publish("a.b", session=2, request=n, args=b"[%d]" % n, realm="memory") for n in (1, 2)
    ]
    harness.say("gateway-1", *frames, reliable=True)
    fold(harness)
    assert key(harness, realm="memory") == b"[[1,2]]"
    assert {k for k in harness.disk.rows if k[:1] in b"ef"} == {k for k in rows if k[:1] in b"ef"}


def test_nothing_is_left_when_all_is_folded(harness):
    emit(harness, 1, 2, 3)
    fold(harness)
    harness.say("gateway-1", publish("k", session=3, flags=ACKNOWLEDGE | RETAIN), reliable=True)
    assert harness.shard.reducers.idle
    assert not [k for k in harness.disk.rows if k[:1] == b"f"]
    (one,) = harness.shard.reducers.catalog
    assert (len(one.arrivals), one.size, one.queues, one.folded) == (0, 0, {}, 3)
