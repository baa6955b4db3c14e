"""Instances of reducers: who may register, who is asked, what if they leave."""

import pytest
from limited_turns import limit, settle
from reducing import (
    answer,
    asked,
    emit,
    fold,
    key,
    reducer,
    reducing_harness,
)
from shard_harness import REALM, ShardHarness, leave, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Refused,
    Registered,
    Revoked,
    UnregisterReducer,
)
from fox_shard.config import Reducers


@pytest.fixture
def harness():
    """A harness with a reducer of `a.#` at session 1 of gateway-0; gateway-1 gets everything."""
    return reducing_harness(reducer())


def test_a_registration_is_answered_when_the_reducer_is_durable():
    harness = ShardHarness(gateways=2)
    harness.disk.held = True
    harness.say("gateway-0", reducer())
    assert harness.got("gateway-0", Registered) == []
    harness.disk.held = False
    harness.turns()
    (answered,) = harness.got("gateway-0", Registered)
    assert (answered.session, answered.registration) == (1, reducer().registration)


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ("single", "single", "wamp.error.procedure_already_exists"),
        (
            "single",
            "random",
            "wamp.error.procedure_exists_with_different_invocation_policy",
        ),
        ("random", "random", None),
    ],
)
def test_several_instances_need_a_sharing_policy(first, second, error):
    harness = reducing_harness(reducer(invoke=first))
    harness.say("gateway-1", reducer(9, invoke=second))
    (got,) = harness.got("gateway-1", (Registered, Refused))
    assert getattr(got, "uri", None) == error


def test_force_reregister_revokes_the_others(harness):
    emit(harness, 1)
    (one,) = asked(harness)
    harness.say("gateway-1", reducer(9, force=True))
    (revoked,) = harness.got("gateway-0", Revoked)
    assert revoked.session == 1
    (again,) = asked(harness, "gateway-1")
    assert (again.instance, again.event) == (9, one.event)


def test_a_topic_stays_on_one_instance_and_topics_spread_over_all():
    harness = reducing_harness(
        *(reducer(session, invoke="random", concurrency=1000) for session in range(1, 5))
    )
    of = {}
    for _ in range(3):
        for number in range(40):
            emit(harness, 1, topic=f"a.{number}")
        for one in asked(harness):
            of.setdefault(one.event.publish.topic, set()).add(one.instance)
            answer(harness, one, b"[1]")
    assert all(len(instances) == 1 for instances in of.values())
    assert set.union(*of.values()) == {1, 2, 3, 4}


def test_when_an_instance_leaves_the_others_get_what_was_out_at_it():
    harness = reducing_harness(reducer(1, invoke="random"))
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.say("gateway-1", reducer(9, invoke="random"))
    harness.say("gateway-0", leave(1))
    harness.pass_time(1)
    (again,) = asked(harness, "gateway-1")
    assert (again.instance, again.event, again.retained) == (9, one.event, one.retained)
    answer(harness, one, b"[77]")
    assert key(harness) is None
    answer(harness, again, b"[[1]]", "gateway-1")
    fold(harness, "gateway-1")
    assert key(harness) == b"[[1,2]]"


def test_an_instance_that_unregisters_is_not_asked_any_more(harness):
    harness.say("gateway-0", UnregisterReducer(REALM, 1, reducer().registration))
    emit(harness, 1)
    assert asked(harness) == []
    assert not list(harness.shard.reducers.catalog)


def test_a_broken_link_loses_no_event(harness):
    emit(harness, 1)
    asked(harness)
    harness["gateway-0"].link.break_off(harness.now)
    harness["gateway-0"].got.clear()
    harness.shard.connection_lost("gateway-0", harness.now)
    emit(harness, 2)
    harness.turns(8)
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_without_an_instance_events_pass_by(harness):
    harness.say("gateway-0", leave(1))
    emit(harness, 1)
    harness.say("gateway-1", reducer(9))
    assert asked(harness, "gateway-1") == []


def test_what_is_queued_waits_for_the_instance_to_return():
    harness = reducing_harness(reducer(), reducer=Reducers(wait_for_return=10.0))
    emit(harness, 1, 2)
    asked(harness)
    harness.say("gateway-0", leave(1))
    harness.pass_time(9)
    harness.say("gateway-1", reducer(9))
    harness.pass_time(1)
    fold(harness, "gateway-1")
    assert key(harness) == b"[[1,2]]"


def test_what_is_queued_is_dropped_if_no_instance_returns():
    harness = reducing_harness(reducer(), reducer=Reducers(wait_for_return=10.0))
    emit(harness, 1, 2)
    asked(harness)
    harness.say("gateway-0", leave(1))
    harness.pass_time(12)
    assert harness.shard.reducers.queues.dropped == 2
    assert not list(harness.shard.reducers.catalog)
    harness.say("gateway-1", publish("k", session=3, flags=ACKNOWLEDGE | RETAIN), reliable=True)
    assert not [k for k in harness.disk.rows if k[:1] in b"ef"]
    harness.say("gateway-1", reducer(9))
    assert asked(harness, "gateway-1") == []


def test_a_durable_reducer_gets_what_came_in_its_absence():
    harness = reducing_harness(reducer(durable="totals"))
    harness["gateway-0"].replay = []
    harness.say("gateway-0", leave(1))
    emit(harness, 1)
    harness.pass_time(100, step=5)
    harness.restart()
    harness.turns(8)
    emit(harness, 2)
    harness.say("gateway-0", reducer(9, durable="totals"))
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_a_reducer_without_instances_after_a_restart_is_dropped_after_a_while():
    harness = reducing_harness(reducer(), reducer=Reducers(wait_for_return=10.0))
    emit(harness, 1)
    harness["gateway-0"].replay = []
    harness.restart()
    harness.turns(8)
    harness.pass_time(12)
    assert not list(harness.shard.reducers.catalog)


def test_an_erased_key_counts_as_none(harness):
    emit(harness, 1)
    fold(harness)
    erasing = publish("a.b", session=3, flags=ACKNOWLEDGE | RETAIN | EMPTY, args=b"")
    harness.say("gateway-1", erasing, reliable=True)
    (one,) = asked(harness)
    assert (one.retained, one.event.publish.args) == (None, b"")


def test_a_realm_has_so_many_reducers_and_no_more():
    harness = reducing_harness(
        reducer(1, durable="a"), reducer(1, durable="b"), reducer=Reducers(max_reducers=2)
    )
    harness.say("gateway-0", reducer(1, durable="c", request=9))
    (refusal,) = harness.got("gateway-0", Refused)
    assert (refusal.request, refusal.uri) == (9, "fox.error.limit_exceeded")
    assert harness.shard.health()["refused"] == {"max_reducers": 1}
    harness.say("gateway-0", reducer(5, durable="a", request=10, force=True))
    assert len(harness.got("gateway-0", Registered)) == 1
    assert len(list(harness.shard.reducers.catalog)) == 2
    assert len([row for row in harness.disk.rows if row[:1] == b"e"]) == 2


def test_a_realm_has_so_many_durable_reducers_and_no_more():
    """Each keeps every event of its topics, whether or not anybody comes for them."""
    harness = reducing_harness(
        reducer(1, durable="a"), reducer(1, durable="b"), reducer=Reducers(max_durable=2)
    )
    harness.say("gateway-0", reducer(1, durable="c", request=9))
    (refusal,) = harness.got("gateway-0", Refused)
    assert (refusal.request, refusal.uri) == (9, "fox.error.limit_exceeded")
    assert harness.shard.health()["refused"] == {"max_durable": 1}
    assert len(list(harness.shard.reducers.catalog)) == 2
    # One that is not durable is another matter, and so is another instance of a durable one.
    harness.say("gateway-0", reducer(5, request=10))
    harness.say("gateway-0", reducer(5, durable="a", request=11, force=True))
    assert len(harness.got("gateway-0", Registered)) == 2


def test_what_is_dropped_does_not_include_what_waits_for_its_commit():
    harness = reducing_harness(reducer(), reducer=Reducers(wait_for_return=5.0))
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.disk.held = True
    answer(harness, one, b"[[1]]")
    harness.say("gateway-0", leave(1))
    harness.pass_time(6)
    harness.disk.held = False
    harness.disk.trouble = "disk full"
    harness.turns()
    harness.disk.trouble = ""
    harness.pass_time(3)
    assert not list(harness.shard.reducers.catalog)
    assert harness.shard.reducers.queues.dropped == 2
    assert harness.shard.reducers.queues.waiting == 0


def test_an_instance_that_comes_is_considered_for_all_waiting_keys_in_several_turns():
    first = reducer(invoke="roundrobin", concurrency=1)
    harness = reducing_harness(first)
    for number in range(200):
        emit(harness, 1, topic=f"a.{number}")
    harness.turns(3)
    queues = harness.shard.reducers.queues
    assert not queues.awake
    limit(harness, 50)
    harness.send("gateway-0", reducer(session=3, invoke="roundrobin", concurrency=1))
    harness.turn()
    assert len(queues.awake) > 100
    settle(harness)
    assert not queues.awake
