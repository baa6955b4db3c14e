"""Reducers with a mission: events of many topics are folded into one key, at its shard."""

import pytest
from reducing import answer, asked, emit, fold, key, number_of, reducer
from shard_harness import REALM, ShardHarness, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    Event,
    Fold,
    FoldsHeld,
    Publish,
    Refused,
    RouterPublish,
)
from fox_shard.backplane.frames import NotReduced as Error
from fox_shard.config import Reducers
from fox_shard.documents.payloads import JSON
from fox_shard.shard.reducers.answers import FAILED


def topic_at(harness, shard, word):
    topics = (f"{word}.{n}" for n in range(1000))
    return next(one for one in topics if harness.placement.shard_of(REALM, one) == shard)


@pytest.fixture
def harness():
    """A harness of shard-0, with shard-1 as a fake peer."""
    return made()


def made(**more):
    harness = ShardHarness(gateways=2, shards=2, **more)
    harness.here = topic_at(harness, 0, "m")
    harness.there = topic_at(harness, 1, "m")
    harness.say("gateway-1", subscribe("*#"), subscribe("=fox.reducer.failed"))
    return harness


def registered(harness, mission, **more):
    frame = reducer(mission=mission, **more)
    harness.say("gateway-0", frame)
    return frame


def folds(harness):
    return harness.got("shard-1", Fold)


def fold_of(frame, number, *, topic="a.z", **more):
    publish = Publish(REALM, topic, 9, number, number, ACKNOWLEDGE, JSON, b"[%d]" % number)
    event = Event(64 * number + 1, publish)
    return Fold(REALM, frame.mission, frame.registration, frame.pattern, frame.durable, event)


@pytest.mark.parametrize(("name", "size"), [("", 4000), (".long" * 1000, 1)])
def test_an_event_counts_for_each_of_its_reducers_before_it_is_sent(name, size):
    harness = made(outbox_limit=65536)
    missions = [f"{harness.there}{name}.{number}" for number in range(60)]
    there = [one for one in missions if harness.placement.shard_of(REALM, one) == 1]
    for number, mission in enumerate(there, 1):
        registered(harness, mission, session=number)
    harness.got("gateway-0")
    args = b'["%b"]' % (b"x" * size)
    harness.say("gateway-1", publish("a.b", session=2, args=args), reliable=True)
    (refusal,) = harness.got("gateway-1", Refused)
    assert "backplane.outbox_limit" in refusal.message
    assert folds(harness) == []


def arrive(harness, *frames):
    harness.say("shard-1", *frames, reliable=True)


def test_the_mission_of_this_shard_is_the_key(harness):
    registered(harness, harness.here)
    emit(harness, 1, topic="a.b")
    emit(harness, 2, topic="a.c")
    (one,) = asked(harness)
    assert (one.event.publish.topic, one.retained) == ("a.b", None)
    answer(harness, one, b"[[1]]")
    fold(harness)
    assert key(harness, harness.here) == b"[[1,2]]"
    assert (key(harness, "a.b"), folds(harness)) == (None, [])


def test_an_event_goes_to_the_missions_shard_when_it_is_durable(harness):
    frame = registered(harness, harness.there, durable="d")
    harness.disk.held = True
    emit(harness, 1)
    assert folds(harness) == []
    harness.disk.held = False
    harness.turns()
    (sent,) = folds(harness)
    assert (sent.target_topic, sent.reducer, sent.durable) == (
        harness.there,
        frame.registration,
        "d",
    )
    assert number_of(sent) == 1
    assert asked(harness) == []
    assert [one.publish.topic for one in harness.got("gateway-1", Event)] == ["a.b"]


def test_an_event_that_is_refused_goes_nowhere(harness):
    registered(harness, harness.there)
    harness.disk.held = True
    emit(harness, 1)
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    assert len(harness.got("gateway-1", Refused)) == 1
    harness.disk.trouble = ""
    harness.pass_time(3)
    assert folds(harness) == []


def test_events_of_other_shards_are_folded_in_the_order_of_their_arrival(harness):
    frame = registered(harness, harness.here)
    arrive(harness, fold_of(frame, 5))
    emit(harness, 6)
    arrive(harness, fold_of(frame, 7))
    fold(harness)
    assert key(harness, harness.here) == b"[[5,6,7]]"


def test_an_event_that_comes_before_its_reducer_waits_for_it(harness):
    frame = reducer(mission=harness.here, durable="d")
    arrive(harness, fold_of(frame, 5))
    harness.restart()
    harness.turns(8)
    harness.say("gateway-0", frame)
    fold(harness)
    assert key(harness, harness.here) == b"[[5]]"


def test_an_event_whose_reducer_does_not_come_is_dropped():
    harness = made(reducer=Reducers(wait_for_return=5.0))
    frame = reducer(mission=harness.here)
    arrive(harness, fold_of(frame, 5))
    harness.pass_time(7)
    assert harness.shard.reducers.queues.dropped == 1
    assert not list(harness.shard.reducers.catalog)


def test_an_event_of_another_shard_is_kept_if_the_commit_fails(harness):
    frame = registered(harness, harness.here)
    harness.disk.held = True
    arrive(harness, fold_of(frame, 5))
    emit(harness, 6)
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    harness.disk.trouble = ""
    harness.pass_time(3)
    arrive(harness, fold_of(frame, 7))
    fold(harness)
    assert key(harness, harness.here) == b"[[5,7]]"


def test_a_full_queue_is_told_to_the_other_shards():
    harness = made(reducer=Reducers(queue_limit=4))
    frame = registered(harness, harness.here)
    arrive(harness, *(fold_of(frame, number) for number in range(3)))
    assert harness.got("shard-1", FoldsHeld) == []
    arrive(harness, fold_of(frame, 3), fold_of(frame, 4))
    assert harness.got("shard-1", FoldsHeld) == [FoldsHeld(frame.registration, held=True)]
    harness.restart()
    harness["gateway-0"].replay = [frame]
    harness.turns(8)
    assert harness.got("shard-1", FoldsHeld) == []
    arrive(harness, fold_of(frame, 5))
    assert harness.got("shard-1", FoldsHeld) == [FoldsHeld(frame.registration, held=True)]
    fold(harness)
    harness.turns()
    assert harness.got("shard-1", FoldsHeld) == [FoldsHeld(frame.registration, held=False)]
    assert key(harness, harness.here) == b"[[0,1,2,3,4,5]]"


def test_while_the_missions_shard_has_no_room_events_are_refused(harness):
    frame = registered(harness, harness.there)
    harness.say("shard-1", FoldsHeld(frame.registration, held=True))
    emit(harness, 1)
    (refusal,) = harness.got("gateway-1", Refused)
    assert refusal.uri == "fox.error.queue_full"
    emit(harness, 2, flags=0)
    assert folds(harness) == []
    assert len(harness.got("gateway-1", Event)) == 1
    harness.say("shard-1", FoldsHeld(frame.registration, held=False))
    emit(harness, 3)
    assert [number_of(one) for one in folds(harness)] == [3]


def test_a_failure_is_told_at_its_topics_shard():
    harness = made()
    registered(harness, harness.here)
    emit(harness, 1)
    (one,) = asked(harness)
    harness.say("gateway-0", Error(one.invocation, "app.bad", JSON, b""))
    told = [*harness.got("shard-1", RouterPublish), *harness.got("gateway-1", Event)]
    assert [one.publish.topic for one in told if one.publish.topic != "a.b"] == [FAILED]


def test_nothing_is_left_of_a_reducer_that_has_left(harness):
    frame = registered(harness, harness.here)
    arrive(harness, fold_of(frame, 5))
    fold(harness)
    harness.say("gateway-0", leave(1))
    assert not list(harness.shard.reducers.catalog)
    assert harness.shard.reducers.idle
    harness.say("gateway-1", publish("k"))
