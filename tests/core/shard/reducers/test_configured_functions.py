"""Python functions of the configuration in a shard, before the worker has ever been there."""

from reducing import asked, emit, fold, key, reducer
from shard_harness import REALM, ShardHarness

from fox_shard.backplane.frames import Registered
from fox_shard.config import Realm, Reducer, Reducers

FUNCTION = "totals:add"


def harness_of(store="sqlite", **more):
    reducers = (Reducer(pattern="a.#", function=FUNCTION, **more.pop("configured", {})),)
    realm = Realm(name=REALM, store=store, reducer=reducers)
    return ShardHarness(gateways=2, realms=[realm], **more)


def test_events_wait_for_a_worker_that_comes_later():
    harness = harness_of()
    emit(harness, 1, 2)
    harness.say("gateway-0", reducer(durable=FUNCTION))
    assert len(harness.got("gateway-0", Registered)) == 1
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_they_wait_over_a_restart():
    harness = harness_of()
    emit(harness, 1, 2)
    harness.restart()
    harness.turns(8)
    harness.say("gateway-0", reducer(durable=FUNCTION))
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_in_a_realm_in_memory_they_wait_until_the_shard_ends():
    harness = harness_of("memory")
    emit(harness, 1)
    harness.restart()
    harness.turns(8)
    emit(harness, 2)
    harness.say("gateway-0", reducer(durable=FUNCTION))
    fold(harness)
    assert key(harness) == b"[[2]]"


def test_events_of_a_realm_that_is_in_memory_now_are_dropped():
    harness = harness_of()
    emit(harness, 1)
    rows = len(harness.disk.rows)
    moved = harness_of("memory")
    moved.disk.rows = harness.disk.rows
    moved.restart()
    moved.turns(8)
    assert len(moved.disk.rows) < rows
    moved.say("gateway-0", reducer(durable=FUNCTION))
    assert asked(moved) == []


def test_its_destination_is_its_key():
    harness = harness_of(configured={"destination": "total"})
    emit(harness, 1, topic="a.b")
    emit(harness, 2, topic="a.c")
    harness.say("gateway-0", reducer(durable=FUNCTION, mission="total"))
    fold(harness)
    assert key(harness, "total") == b"[[1,2]]"


def test_it_is_registered_however_many_reducers_there_are():
    harness = harness_of(reducer=Reducers(max_reducers=0, max_durable=0))
    harness.say("gateway-0", reducer(durable=FUNCTION))
    assert len(harness.got("gateway-0", Registered)) == 1
