"""Conditions of a publish: what its key has to be (semantics: `when`, `when_id`)."""

import pytest
from msgspec import msgpack
from shard_harness import Stage, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    RETAIN,
    Event,
    Keep,
    Published,
    Refused,
    Retained,
)
from fox_shard.shard.keys.conditions import hold

KEEP = ACKNOWLEDGE | RETAIN
IF = KEEP | CONDITION
NIL = msgpack.encode(None)
FAILED = "fox.error.condition_failed"


@pytest.mark.parametrize(
    ("args", "kwargs", "wanted", "holds"),
    [
        (b'[{"a":1}]', b"", {"a": 1}, True),
        (b'[{"a":1}]', b'{"a":2}', {"a": 2}, True),
        (b"[]", b'{"a":1}', {"a": 1}, True),
        (b"[1]", b"", {"a": 1}, False),
        (b"[1]", b"", {}, True),
        (b'[{"a":1}]', b"", None, False),
    ],
)
def test_a_condition_is_about_the_keys_document(args, kwargs, wanted, holds):
    event = Event(7, publish(args=args, kwargs=kwargs))
    assert hold(Keep(when=msgpack.encode(wanted)), event) is holds


@pytest.mark.parametrize(("when_id", "holds"), [(0, True), (7, False)])
def test_where_there_is_no_key_its_id_is_0(when_id, holds):
    assert hold(Keep(when_id=when_id), None) is holds
    assert hold(Keep(when=msgpack.encode(None), when_id=when_id), None) is holds
    assert not hold(Keep(when=msgpack.encode({})), None)


@pytest.mark.parametrize("private", [False, True])
def test_no_condition_always_holds(private):
    key = Event(7, publish(session=1, keep=Keep(private=private)))
    for keep in (Keep(), Keep(5.0, weak=True), Keep(patch=True)):
        assert hold(keep, key, 2)
        assert hold(keep, None, 2)


@pytest.mark.parametrize(
    "keep", [Keep(when=msgpack.encode({})), Keep(when_id=7), Keep(when_id=0), Keep(when=NIL)]
)
def test_a_private_key_meets_no_condition_of_others(keep):
    key = Event(7, publish(session=1, keep=Keep(private=True)))
    assert not hold(keep, key, 2)
    assert hold(keep, key, 1) is (keep.when_id != 0 and keep.when != NIL)


def test_keyword_arguments_may_be_headers():
    event = Event(7, publish(args=b'[{"a":1}]', kwargs=b'{"a":2}'))
    wanted = Keep(when=msgpack.encode({"a": 2}))
    assert hold(wanted, event)
    assert not hold(wanted, event, headers=True)


def test_a_payload_that_cannot_be_read_contains_nothing():
    event = Event(7, publish(args=b"[1"))
    assert not hold(Keep(when=msgpack.encode({"a": 1})), event)


# In the shard


@pytest.fixture
def stage():
    stage = Stage(gateways=2)
    stage.say("gateway-1", subscribe())
    return stage


def conditional(request, when_id, *, flags=IF, **more):
    return publish(request=request, flags=flags, keep=Keep(when_id=when_id), **more)


def answers(stage):
    """{request: publication id}, or what the key's id is if it was refused, negative."""
    told = {}
    for answer in stage.got("gateway-0", Published | Refused):
        if isinstance(answer, Refused):
            assert answer.uri == FAILED
            told[answer.request] = -answer.publication
        else:
            told |= zip(answer.requests, answer.publications, strict=True)
    return told


def test_of_two_who_saw_the_same_one_is_refused(stage):
    stage.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    told = answers(stage)
    assert told == {1: told[1], 2: -told[1]}
    assert told[1] > 0
    assert [event.publish.request for event in stage.got("gateway-1", Event)] == [1]
    stage.say("gateway-0", conditional(3, told[1]), reliable=True)
    assert answers(stage)[3] > told[1]


def test_that_it_failed_is_said_when_that_is_durable(stage):
    """The value that it failed by may yet be undone."""
    stage.disk.held = True
    stage.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    assert answers(stage) == {}
    stage.disk.held = False
    stage.commit()
    stage.turns()
    assert set(answers(stage)) == {1, 2}


def test_what_was_told_stays_true_after_a_restart(stage):
    stage.disk.held = True
    stage.say("gateway-0", conditional(1, 0), conditional(2, 0, args=b"[2]"), reliable=True)
    stage.commit()
    stage.restart()
    stage.turns()
    told = answers(stage)
    assert told[2] == -told[1]
    stage.say("gateway-1", subscribe("=a.b", token=1, replay=True))
    (shown,) = stage.got("gateway-1", Retained)
    assert (shown.event.publication, shown.event.publish.args) == (told[1], b"[1]")


def test_a_plain_event_with_a_condition_changes_nothing_and_waits_like_a_change(stage):
    flags = ACKNOWLEDGE | CONDITION
    stage.say("gateway-0", conditional(1, 0, flags=flags), reliable=True)
    stage.say("gateway-0", conditional(2, 0, flags=flags), reliable=True)
    assert all(id_ > 0 for id_ in answers(stage).values())
    assert len(stage.got("gateway-1", Event)) == 2
    assert stage.shard.retention.keys_held == 0


def test_a_key_is_erased_on_a_condition(stage):
    stage.say("gateway-0", conditional(1, 0), reliable=True)
    (first,) = answers(stage).values()
    erase = {"flags": IF | EMPTY, "args": b""}
    stage.say("gateway-0", conditional(2, first - 1, **erase), reliable=True)
    assert answers(stage) == {2: -first}
    stage.say("gateway-0", conditional(3, first, **erase), reliable=True)
    assert answers(stage)[3] > first
    assert stage.shard.retention.keys_held == 0


def test_nobody_waits_for_a_refusal_that_did_not_ask_for_an_answer(stage):
    stage.say("gateway-0", conditional(1, 5, flags=RETAIN | CONDITION), reliable=True)
    assert stage.got("gateway-0", Published | Refused) == []
    assert stage.shard.commits.refusals.dropped == 1


def test_conditions_hold_in_memory_too():
    stage = Stage(gateways=2, unstored=("realm1",))
    stage.disk.held = True
    stage.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    told = answers(stage)
    assert told[2] == -told[1]


def test_subscribers_are_not_shown_conditions(stage):
    stage.say("gateway-0", conditional(1, 0), reliable=True)
    (event,) = stage.got("gateway-1", Event)
    assert event.publish.keep is None
