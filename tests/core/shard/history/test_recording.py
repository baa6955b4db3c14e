"""Recording in the shard: events are stored before they are delivered, once, even after a kill."""

import pytest
from shard_harness import REALM, ShardHarness, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EXCLUDE_ME,
    RETAIN,
    TRACE,
    Again,
    Event,
    HistoryPage,
    Published,
    ReadHistory,
    Refused,
    RetainOptions,
)
from fox_shard.config import History as Rule
from fox_shard.config import Realm
from fox_shard.shard.pubsub import history_pages
from fox_shard.store.journal import RETRY

RULED = Realm(name=REALM, history=(Rule(topic="log.#"), Rule(topic="old", max_age=60)))
LAST = (1 << 53) - 1


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=3, realms=[RULED, Realm(name="plain")], unstored=["memory"])
    harness.say(
        "gateway-1", *(subscribe("*#", realm=realm) for realm in (REALM, "plain", "memory"))
    )
    harness.disk.held = True
    return harness


def commit(harness):
    harness.disk.held = False
    harness.turns()
    harness.disk.held = True


def read_page(harness, pattern="*#", *, realm=REALM, first=1, last=LAST, limit=100, reverse=False):
    harness.say("gateway-2", ReadHistory(7, realm, pattern, first, last, limit, reverse))
    (answer,) = harness.got("gateway-2", HistoryPage)
    assert answer.token == 7
    return answer


def recorded(harness, **more):
    return [one.publication for one in read_page(harness, **more).events]


def published(harness):
    return [id_ for one in harness.got("gateway-0", Published) for id_ in one.publications]


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
def test_a_recorded_event_is_delivered_when_it_is_durable(frame, waits, harness):
    harness.say("gateway-0", frame)
    assert bool(harness.got("gateway-1", Event)) is not waits
    assert (recorded(harness, realm=frame.realm) == []) is (waits or not frame.flags & TRACE)
    commit(harness)
    assert bool(harness.got("gateway-1", Event)) is waits
    if frame.flags & ACKNOWLEDGE and (waits or frame.flags & TRACE):
        assert recorded(harness, realm=frame.realm) == published(harness)


def test_a_recorded_event_is_refused_when_the_disk_fails(harness):
    harness.say("gateway-0", publish("log.a"), reliable=True)
    harness.disk.trouble = "disk full"
    commit(harness)
    harness.say("gateway-0", publish("log.a", request=2), publish("b", request=3, session=2))
    refused = harness.got("gateway-0", Refused)
    assert [(one.request, one.uri) for one in refused] == [
        (1, "fox.error.unavailable_store"),
        (2, "fox.error.unavailable_store"),
    ]
    assert [event.publish.topic for event in harness.got("gateway-1", Event)] == ["b"]
    harness.disk.trouble = ""
    harness.disk.held = False
    harness.pass_time(RETRY + 0.5)
    assert recorded(harness) == []
    harness.say("gateway-0", publish("log.a", request=4))
    assert len(recorded(harness)) == 1


def test_a_recorded_event_is_kept_once_and_sent_again_after_a_restart(harness):
    frame = publish("log.a", flags=ACKNOWLEDGE | TRACE)
    harness["gateway-1"].replay = [subscribe("*#")]
    harness.say("gateway-0", frame, reliable=True)
    harness["gateway-0"].deaf = True
    commit(harness)
    (event,) = harness.got("gateway-1", Event)
    harness.restart()
    harness.disk.held = False
    harness.turns(8)
    assert [one.event.publication for one in harness.got("gateway-1", Again)] == [event.publication]
    assert published(harness) == [event.publication]
    assert recorded(harness) == [event.publication]


def test_a_waiting_publish_is_recorded_when_it_is_let_through(harness):
    harness.disk.held = False
    free = RetainOptions(when=b"\xc0", watch=True)
    flags = ACKNOWLEDGE | RETAIN | CONDITION
    harness.say("gateway-0", publish("log.lock", flags=flags, retain=free))
    harness.say("gateway-0", publish("log.lock", session=2, request=2, flags=flags, retain=free))
    assert recorded(harness) == published(harness)
    harness.say("gateway-0", publish("log.lock", request=3, flags=RETAIN | 64, args=b""))
    ids = recorded(harness)
    assert len(ids) == 3
    assert published(harness) == ids[2:]
    harness.restart()
    harness.turns(8)
    assert recorded(harness) == ids


def test_a_publish_of_a_sequence_is_recorded_on_the_topic_of_its_key(harness):
    harness.disk.held = False
    harness.say("gateway-0", publish("log", flags=RETAIN, retain=RetainOptions(sequence=True)))
    (event,) = read_page(harness).events
    assert event.publish.topic == f"log.~{event.publication:016}"


def test_old_events_are_trimmed_as_time_passes(harness):
    harness.disk.held = False
    harness.say("gateway-0", publish("old"), publish("log.a"))
    old, log = recorded(harness)
    harness.pass_time(60, step=4.0)
    assert recorded(harness) == [old, log]
    harness.pass_time(10, step=4.0)
    assert recorded(harness) == [log]


# Reading


def test_a_page_has_the_requested_events(harness):
    harness.disk.held = False
    for number in range(6):
        harness.say("gateway-0", publish(f"log.{number % 2}", request=number))
    ids = recorded(harness)
    answer = read_page(harness, limit=4)
    assert ([one.publication for one in answer.events], answer.more) == (ids[:4], True)
    assert read_page(harness, limit=6).more is False
    assert recorded(harness, pattern="=log.1") == ids[1::2]
    assert recorded(harness, first=ids[1], last=ids[3]) == ids[1:4]
    assert recorded(harness, reverse=True, limit=2) == ids[:-3:-1]
    assert recorded(harness, realm="plain") == []


def test_a_page_is_limited_in_bytes(harness, monkeypatch):
    monkeypatch.setattr(history_pages, "PAGE_BYTES", 100)
    harness.disk.held = False
    for number in range(4):
        harness.say("gateway-0", publish("log.a", request=number, args=bytes(80)))
    answer = read_page(harness)
    assert (len(answer.events), answer.more) == (2, True)


def test_reading_waits_until_every_peer_has_replayed():
    harness = ShardHarness(gateways=2, realms=[RULED])
    harness.say("gateway-0", publish("log.a"))
    harness.restart()
    del harness.peers["gateway-1"]
    harness.turns(8)
    harness.say("gateway-0", ReadHistory(7, REALM, "*#", 1, LAST, 9))
    assert harness.got("gateway-0", HistoryPage) == []
    harness.pass_time(6.0)
    (answer,) = harness.got("gateway-0", HistoryPage)
    assert len(answer.events) == 1
