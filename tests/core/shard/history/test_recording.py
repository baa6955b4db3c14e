"""Recording in the shard: a recorded event is stored before it is told, once, also after a kill."""

import pytest
from shard_harness import REALM, Stage, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EXCLUDE_ME,
    RETAIN,
    TRACE,
    Again,
    Event,
    Keep,
    Published,
    Recall,
    Recalled,
    Refused,
)
from fox_shard.config import History as Rule
from fox_shard.config import Realm
from fox_shard.shard.history import histories
from fox_shard.store.journal import RETRY

RULED = Realm(name=REALM, history=(Rule(topic="log.#"), Rule(topic="old", max_age=60)))
LAST = (1 << 53) - 1


@pytest.fixture
def stage():
    stage = Stage(gateways=3, realms=[RULED, Realm(name="plain")], unstored=["memory"])
    stage.say("gateway-1", *(subscribe("*#", realm=realm) for realm in (REALM, "plain", "memory")))
    stage.disk.held = True
    return stage


def commit(stage):
    stage.disk.held = False
    stage.turns()
    stage.disk.held = True


def recall(stage, pattern="*#", *, realm=REALM, first=1, last=LAST, limit=100, reverse=False):
    stage.say("gateway-2", Recall(7, realm, pattern, first, last, limit, reverse))
    (answer,) = stage.got("gateway-2", Recalled)
    assert answer.token == 7
    return answer


def recorded(stage, **more):
    return [one.publication for one in recall(stage, **more).events]


def published(stage):
    return [id_ for one in stage.got("gateway-0", Published) for id_ in one.publications]


@pytest.mark.parametrize(
    ("frame", "waits"),
    [
        (publish("log.a"), True),
        (publish("log.a", flags=EXCLUDE_ME), True),
        (publish("b", flags=ACKNOWLEDGE | TRACE), True),
        (publish("b", flags=ACKNOWLEDGE | TRACE, realm="plain"), True),
        (publish("b"), False),
        (publish("log.a", realm="plain"), False),
        (publish("b", flags=ACKNOWLEDGE | TRACE, realm="memory"), False),
    ],
)
def test_what_is_recorded_is_told_when_it_is_durable(frame, waits, stage):
    stage.say("gateway-0", frame)
    assert bool(stage.got("gateway-1", Event)) is not waits
    assert (recorded(stage, realm=frame.realm) == []) is (waits or not frame.flags & TRACE)
    commit(stage)
    assert bool(stage.got("gateway-1", Event)) is waits
    if frame.flags & ACKNOWLEDGE and (waits or frame.flags & TRACE):
        assert recorded(stage, realm=frame.realm) == published(stage)


def test_a_recorded_event_is_refused_when_the_disk_fails(stage):
    stage.say("gateway-0", publish("log.a"), reliable=True)
    stage.disk.trouble = "disk full"
    commit(stage)
    stage.say("gateway-0", publish("log.a", request=2), publish("b", request=3, session=2))
    refused = stage.got("gateway-0", Refused)
    assert [(one.request, one.uri) for one in refused] == [
        (1, "fox.error.unavailable_store"),
        (2, "fox.error.unavailable_store"),
    ]
    assert [event.publish.topic for event in stage.got("gateway-1", Event)] == ["b"]
    stage.disk.trouble = ""
    stage.disk.held = False
    stage.pass_time(RETRY + 0.5)
    assert recorded(stage) == []
    stage.say("gateway-0", publish("log.a", request=4))
    assert len(recorded(stage)) == 1


def test_after_a_restart_it_is_there_once_and_told_again(stage):
    frame = publish("log.a", flags=ACKNOWLEDGE | TRACE)
    stage["gateway-1"].replay = [subscribe("*#")]
    stage.say("gateway-0", frame, reliable=True)
    stage["gateway-0"].deaf = True
    commit(stage)
    (event,) = stage.got("gateway-1", Event)
    stage.restart()
    stage.disk.held = False
    stage.turns(8)
    assert [one.event.publication for one in stage.got("gateway-1", Again)] == [event.publication]
    assert published(stage) == [event.publication]
    assert recorded(stage) == [event.publication]


def test_who_waits_for_a_key_is_recorded_when_it_is_his_turn(stage):
    stage.disk.held = False
    free = Keep(when=b"\xc0", watch=True)
    flags = ACKNOWLEDGE | RETAIN | CONDITION
    stage.say("gateway-0", publish("log.lock", flags=flags, keep=free))
    stage.say("gateway-0", publish("log.lock", session=2, request=2, flags=flags, keep=free))
    assert recorded(stage) == published(stage)
    stage.say("gateway-0", publish("log.lock", request=3, flags=RETAIN | 64, args=b""))
    ids = recorded(stage)
    assert len(ids) == 3
    assert published(stage) == ids[2:]
    stage.restart()
    stage.turns(8)
    assert recorded(stage) == ids


def test_a_sequence_is_recorded_where_its_keys_are(stage):
    stage.disk.held = False
    stage.say("gateway-0", publish("log", flags=RETAIN, keep=Keep(sequence=True)))
    (event,) = recall(stage).events
    assert event.publish.topic == f"log.~{event.publication:016}"


def test_old_events_go_as_time_goes_by(stage):
    stage.disk.held = False
    stage.say("gateway-0", publish("old"), publish("log.a"))
    old, log = recorded(stage)
    stage.pass_time(60, step=4.0)
    assert recorded(stage) == [old, log]
    stage.pass_time(10, step=4.0)
    assert recorded(stage) == [log]


# Recalling


def test_a_page_is_what_was_asked_for(stage):
    stage.disk.held = False
    for number in range(6):
        stage.say("gateway-0", publish(f"log.{number % 2}", request=number))
    ids = recorded(stage)
    answer = recall(stage, limit=4)
    assert ([one.publication for one in answer.events], answer.more) == (ids[:4], True)
    assert recall(stage, limit=6).more is False
    assert recorded(stage, pattern="=log.1") == ids[1::2]
    assert recorded(stage, first=ids[1], last=ids[3]) == ids[1:4]
    assert recorded(stage, reverse=True, limit=2) == ids[:-3:-1]
    assert recorded(stage, realm="plain") == []


def test_a_page_of_large_events_has_fewer(stage, monkeypatch):
    monkeypatch.setattr(histories, "PAGE_BYTES", 100)
    stage.disk.held = False
    for number in range(4):
        stage.say("gateway-0", publish("log.a", request=number, args=bytes(80)))
    answer = recall(stage)
    assert (len(answer.events), answer.more) == (2, True)


def test_before_everybody_has_replayed_it_waits():
    stage = Stage(gateways=2, realms=[RULED])
    stage.say("gateway-0", publish("log.a"))
    stage.restart()
    del stage.puppets["gateway-1"]
    stage.turns(8)
    stage.say("gateway-0", Recall(7, REALM, "*#", 1, LAST, 9))
    assert stage.got("gateway-0", Recalled) == []
    stage.pass_time(6.0)
    (answer,) = stage.got("gateway-0", Recalled)
    assert len(answer.events) == 1
