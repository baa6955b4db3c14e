"""Conditions of a publish: what its key has to be (semantics: `when`, `when_id`)."""

import pytest
from msgspec import msgpack
from shard_harness import ShardHarness, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    RETAIN,
    Event,
    Published,
    Refused,
    Retained,
    RetainOptions,
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
    assert hold(RetainOptions(when=msgpack.encode(wanted)), event) is holds


@pytest.mark.parametrize(("when_id", "holds"), [(0, True), (7, False)])
def test_where_there_is_no_key_its_id_is_0(when_id, holds):
    assert hold(RetainOptions(when_id=when_id), None) is holds
    assert hold(RetainOptions(when=msgpack.encode(None), when_id=when_id), None) is holds
    assert not hold(RetainOptions(when=msgpack.encode({})), None)


@pytest.mark.parametrize("private", [False, True])
def test_no_condition_always_holds(private):
    key = Event(7, publish(session=1, retain=RetainOptions(private=private)))
    for retain in (RetainOptions(), RetainOptions(5.0, weak=True), RetainOptions(patch=True)):
        assert hold(retain, key, 2)
        assert hold(retain, None, 2)


@pytest.mark.parametrize(
    "retain",
    [
        RetainOptions(when=msgpack.encode({})),
        RetainOptions(when_id=7),
        RetainOptions(when_id=0),
        RetainOptions(when=NIL),
    ],
)
def test_a_private_key_meets_no_condition_of_others(retain):
    key = Event(7, publish(session=1, retain=RetainOptions(private=True)))
    assert not hold(retain, key, 2)
    assert hold(retain, key, 1) is (retain.when_id != 0 and retain.when != NIL)


def test_keyword_arguments_may_be_headers():
    event = Event(7, publish(args=b'[{"a":1}]', kwargs=b'{"a":2}'))
    wanted = RetainOptions(when=msgpack.encode({"a": 2}))
    assert hold(wanted, event)
    assert not hold(wanted, event, headers=True)


def test_a_payload_that_cannot_be_read_contains_nothing():
    event = Event(7, publish(args=b"[1"))
    assert not hold(RetainOptions(when=msgpack.encode({"a": 1})), event)


# In the shard


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe())
    return harness


def conditional(request, when_id, *, flags=IF, **more):
    return publish(request=request, flags=flags, retain=RetainOptions(when_id=when_id), **more)


def answers(harness):
    """{request: publication id}, or what the key's id is if it was refused, negative."""
    told = {}
    for answer in harness.got("gateway-0", Published | Refused):
        if isinstance(answer, Refused):
            assert answer.uri == FAILED
            told[answer.request] = -answer.publication
        else:
            told |= zip(answer.requests, answer.publications, strict=True)
    return told


def test_of_two_who_saw_the_same_one_is_refused(harness):
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    told = answers(harness)
    assert told == {1: told[1], 2: -told[1]}
    assert told[1] > 0
    assert [event.publish.request for event in harness.got("gateway-1", Event)] == [1]
    harness.say("gateway-0", conditional(3, told[1]), reliable=True)
    assert answers(harness)[3] > told[1]


def test_that_it_failed_is_said_when_that_is_durable(harness):
    """The value that it failed by may yet be undone."""
    harness.disk.held = True
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    assert answers(harness) == {}
    harness.disk.held = False
    harness.commit()
    harness.turns()
    assert set(answers(harness)) == {1, 2}


def test_what_was_told_stays_true_after_a_restart(harness):
    harness.disk.held = True
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0, args=b"[2]"), reliable=True)
    harness.commit()
    harness.restart()
    harness.turns()
    told = answers(harness)
    assert told[2] == -told[1]
    harness.say("gateway-1", subscribe("=a.b", token=1, replay=True))
    (shown,) = harness.got("gateway-1", Retained)
    assert (shown.event.publication, shown.event.publish.args) == (told[1], b"[1]")


def test_a_plain_event_with_a_condition_changes_nothing_and_waits_like_a_change(harness):
    flags = ACKNOWLEDGE | CONDITION
    harness.say("gateway-0", conditional(1, 0, flags=flags), reliable=True)
    harness.say("gateway-0", conditional(2, 0, flags=flags), reliable=True)
    assert all(id_ > 0 for id_ in answers(harness).values())
    assert len(harness.got("gateway-1", Event)) == 2
    assert harness.shard.retained_keys.keys_held == 0


def test_a_key_is_erased_on_a_condition(harness):
    harness.say("gateway-0", conditional(1, 0), reliable=True)
    (first,) = answers(harness).values()
    erase = {"flags": IF | EMPTY, "args": b""}
    harness.say("gateway-0", conditional(2, first - 1, **erase), reliable=True)
    assert answers(harness) == {2: -first}
    harness.say("gateway-0", conditional(3, first, **erase), reliable=True)
    assert answers(harness)[3] > first
    assert harness.shard.retained_keys.keys_held == 0


def test_nobody_waits_for_a_refusal_that_did_not_ask_for_an_answer(harness):
    harness.say("gateway-0", conditional(1, 5, flags=RETAIN | CONDITION), reliable=True)
    assert harness.got("gateway-0", Published | Refused) == []
    assert harness.shard.commits.refusals.dropped == 1


def test_conditions_hold_in_memory_too():
    harness = ShardHarness(gateways=2, unstored=("realm1",))
    harness.disk.held = True
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    told = answers(harness)
    assert told[2] == -told[1]


def test_subscribers_are_not_shown_conditions(harness):
    harness.say("gateway-0", conditional(1, 0), reliable=True)
    (event,) = harness.got("gateway-1", Event)
    assert event.publish.retain is None
