"""Conditions of a publish on its key (semantics: `when`, `when_id`)."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, ShardHarness, publish, subscribe

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
from fox_shard.config import Realm as Settings
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys import conditions
from fox_shard.shard.keys.documents import DecodedDocuments
from fox_shard.shard.keys.quota import KeyQuota
from fox_shard.shard.keys.realm import Realm

KEEP = ACKNOWLEDGE | RETAIN
IF = KEEP | CONDITION
NIL = msgpack.encode(None)
FAILED = "fox.error.condition_failed"


def conditions_hold(retain, key, session=0, *, headers=False):
    realm = Realm(
        Settings(name=REALM, kwargs_are_headers=headers), DecodedDocuments(Budget()), KeyQuota()
    )
    return conditions.conditions_hold(retain, key, session, realm.document_of)


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
    assert conditions_hold(RetainOptions(when=msgpack.encode(wanted)), event) is holds


@pytest.mark.parametrize(("when_id", "holds"), [(0, True), (7, False)])
def test_a_missing_key_has_the_id_0(when_id, holds):
    assert conditions_hold(RetainOptions(when_id=when_id), None) is holds
    assert conditions_hold(RetainOptions(when=msgpack.encode(None), when_id=when_id), None) is holds
    assert not conditions_hold(RetainOptions(when=msgpack.encode({})), None)


@pytest.mark.parametrize("private", [False, True])
def test_a_publish_without_a_condition_is_always_let_through(private):
    key = Event(7, publish(session=1, retain=RetainOptions(private=private)))
    for retain in (RetainOptions(), RetainOptions(5.0, weak=True), RetainOptions(patch=True)):
        assert conditions_hold(retain, key, 2)
        assert conditions_hold(retain, None, 2)


@pytest.mark.parametrize(
    "retain",
    [
        RetainOptions(when=msgpack.encode({})),
        RetainOptions(when_id=7),
        RetainOptions(when_id=0),
        RetainOptions(when=NIL),
    ],
)
def test_a_private_key_fails_every_condition_of_other_sessions(retain):
    key = Event(7, publish(session=1, retain=RetainOptions(private=True)))
    assert not conditions_hold(retain, key, 2)
    assert conditions_hold(retain, key, 1) is (retain.when_id != 0 and retain.when != NIL)


def test_keyword_arguments_that_are_headers_are_not_in_the_document():
    event = Event(7, publish(args=b'[{"a":1}]', kwargs=b'{"a":2}'))
    wanted = RetainOptions(when=msgpack.encode({"a": 2}))
    assert conditions_hold(wanted, event)
    assert not conditions_hold(wanted, event, headers=True)


def test_a_payload_that_cannot_be_read_has_no_document():
    event = Event(7, publish(args=b"[1"))
    assert not conditions_hold(RetainOptions(when=msgpack.encode({"a": 1})), event)


# In the shard


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe())
    return harness


def conditional(request, when_id, *, flags=IF, **more):
    return publish(request=request, flags=flags, retain=RetainOptions(when_id=when_id), **more)


def answers(harness):
    """Return {request: publication id}, or {request: minus the key's id} for a refusal."""
    ids = {}
    for answer in harness.got("gateway-0", Published | Refused):
        if isinstance(answer, Refused):
            assert answer.uri == FAILED
            ids[answer.request] = -answer.publication
        else:
            ids |= zip(answer.requests, answer.publications, strict=True)
    return ids


def test_only_one_of_two_publishes_with_the_same_condition_succeeds(harness):
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    ids = answers(harness)
    assert ids == {1: ids[1], 2: -ids[1]}
    assert ids[1] > 0
    assert [event.publish.request for event in harness.got("gateway-1", Event)] == [1]
    harness.say("gateway-0", conditional(3, ids[1]), reliable=True)
    assert answers(harness)[3] > ids[1]


def test_a_failed_condition_is_reported_when_the_key_is_durable(harness):
    """The change that made the condition fail may yet be undone."""
    harness.disk.held = True
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    assert answers(harness) == {}
    harness.disk.held = False
    harness.commit()
    harness.turns()
    assert set(answers(harness)) == {1, 2}


def test_answers_stay_true_after_a_restart(harness):
    harness.disk.held = True
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0, args=b"[2]"), reliable=True)
    harness.commit()
    harness.restart()
    harness.turns()
    ids = answers(harness)
    assert ids[2] == -ids[1]
    harness.say("gateway-1", subscribe("=a.b", token=1, replay=True))
    (shown,) = harness.got("gateway-1", Retained)
    assert (shown.event.publication, shown.event.publish.args) == (ids[1], b"[1]")


def test_an_event_with_a_condition_is_published_and_changes_no_key(harness):
    flags = ACKNOWLEDGE | CONDITION
    harness.say("gateway-0", conditional(1, 0, flags=flags), reliable=True)
    harness.say("gateway-0", conditional(2, 0, flags=flags), reliable=True)
    assert all(id_ > 0 for id_ in answers(harness).values())
    assert len(harness.got("gateway-1", Event)) == 2
    assert harness.shard.retained_keys.keys_held == 0


def test_a_key_may_be_erased_under_a_condition(harness):
    harness.say("gateway-0", conditional(1, 0), reliable=True)
    (first,) = answers(harness).values()
    erase = {"flags": IF | EMPTY, "args": b""}
    harness.say("gateway-0", conditional(2, first - 1, **erase), reliable=True)
    assert answers(harness) == {2: -first}
    harness.say("gateway-0", conditional(3, first, **erase), reliable=True)
    assert answers(harness)[3] > first
    assert harness.shard.retained_keys.keys_held == 0


def test_an_unacknowledged_publish_is_refused_silently_and_counted(harness):
    harness.say("gateway-0", conditional(1, 5, flags=RETAIN | CONDITION), reliable=True)
    assert harness.got("gateway-0", Published | Refused) == []
    assert harness.shard.stored_publishes.refusals.dropped == 1


def test_conditions_are_checked_in_memory_too():
    harness = ShardHarness(gateways=2, unstored=("realm1",))
    harness.disk.held = True
    harness.say("gateway-0", conditional(1, 0), conditional(2, 0), reliable=True)
    ids = answers(harness)
    assert ids[2] == -ids[1]


def test_subscribers_are_not_shown_conditions(harness):
    harness.say("gateway-0", conditional(1, 0), reliable=True)
    (event,) = harness.got("gateway-1", Event)
    assert event.publish.retain is None
