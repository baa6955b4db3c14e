"""Built-in reducers: events are folded in the shard itself, in the transaction of their publish."""

import json

import pytest
from msgspec import msgpack
from reducing import emit, failures, key
from shard_harness import REALM, ShardHarness, publish, subscribe
from test_missions import topic_at

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    RETAIN,
    Event,
    Fold,
    Published,
    Refused,
    RetainOptions,
    SelectedEvent,
    SelectorSpec,
    Subscribe,
)
from fox_shard.config import Realm, Reducer
from fox_shard.documents.payloads import JSON, MSGPACK, RAW


def made(*reducers, shards=1, **more):
    realm = Realm(name=REALM, reducer=tuple(reducers))
    memory = Realm(name="memory", store="memory", reducer=tuple(reducers))
    harness = ShardHarness(gateways=2, shards=shards, realms=(realm, memory), **more)
    harness.say("gateway-1", subscribe("*#"), subscribe("=fox.reducer.failed"))
    return harness


def totals(**more):
    return Reducer(pattern="a.#", function="sum", **more)


def test_events_are_folded_into_their_topics_keys():
    harness = made(totals())
    emit(harness, 1, 2, 3)
    emit(harness, 5, topic="a.c")
    emit(harness, 7, topic="b")
    assert [key(harness, topic) for topic in ("a.b", "a.c", "b")] == [b"[6]", b"[5]", None]


def test_the_event_and_the_key_are_durable_together():
    harness = made(totals())
    harness.disk.held = True
    emit(harness, 1, 2)
    assert (key(harness), harness.got("gateway-1", (Event, Published))) == (None, [])
    harness.disk.held = False
    harness.turns()
    assert key(harness) == b"[3]"
    assert [one.publish.args for one in harness.got("gateway-1", Event)] == [b"[1]", b"[2]"]
    harness.restart()
    harness.turns(8)
    assert key(harness) == b"[3]"


def test_what_is_refused_is_not_folded():
    harness = made(totals())
    emit(harness, 1)
    harness.disk.held = True
    emit(harness, 2)
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    assert len(harness.got("gateway-1", Refused)) == 1
    harness.disk.trouble = ""
    harness.pass_time(3)
    emit(harness, 4)
    assert key(harness) == b"[5]"


def test_what_is_sent_again_is_folded_once():
    harness = made(totals())
    harness["gateway-1"].deaf = True
    emit(harness, 1)
    harness.restart()
    harness.turns(8)
    assert len(harness.got("gateway-1", Published)) == 1
    assert key(harness) == b"[1]"


def test_state_subscribers_get_each_value():
    harness = made(totals())
    harness.say("gateway-1", Subscribe(0, REALM, "*a.#", False, SelectorSpec(7, True)))
    emit(harness, 1, 2)
    changes = harness.got("gateway-1", SelectedEvent)
    events = harness.got("gateway-1", Event)
    assert [one.event.publish.args for one in changes] == [b"[1]", b"[3]"]
    assert [one.event.publish.retain.reduced for one in changes] == [
        one.publication for one in events
    ]


def test_a_realm_in_memory_folds_too():
    harness = made(totals())
    for number in (1, 2):
        frame = publish("a.b", request=number, realm="memory", args=b"[%d]" % number)
        harness.say("gateway-1", frame, reliable=True)
    assert key(harness, realm="memory") == b"[3]"


@pytest.mark.parametrize(
    ("encoding", "args", "result"),
    [
        (JSON, b"[4]", (JSON, b"[4]")),
        (MSGPACK, msgpack.encode([4]), (MSGPACK, msgpack.encode([4]))),
        (RAW, b"4", (JSON, b"[4]")),
    ],
)
def test_events_of_all_encodings_are_folded(encoding, args, result):
    harness = made(totals())
    frame = publish("a.b", args=args)
    frame.encoding = encoding
    harness.say("gateway-1", frame, reliable=True)
    value = harness.shard.retained_keys.key((REALM, "a.b")).publish
    assert (value.encoding, value.args) == result


def test_what_cannot_be_folded_is_told_and_changes_nothing():
    harness = made(totals(field="n"))
    harness.say("gateway-1", publish("a.b", args=b'[{"n":5}]'), reliable=True)
    harness.say("gateway-1", publish("a.b", request=2, args=b'[{"n":"x"}]'), reliable=True)
    (told,) = failures(harness)
    assert (told[:2], told[3]) == (["a.#", "a.b"], "fox.error.invalid_payload")
    harness.say("gateway-1", publish("a.b", request=3, args=b'[{"m":1}]'), reliable=True)
    assert (key(harness), failures(harness)) == (b"[5]", [])


def test_a_key_that_grows_too_large_is_left_as_it_is():
    harness = made(Reducer(pattern="a.#", function="append", limit=1000), max_message_size=512)
    for number in range(4):
        frame = publish("a.b", request=number + 1, args=b'["%b"]' % (b"x" * 200))
        harness.say("gateway-1", frame, reliable=True)
    assert [told[3] for told in failures(harness)] == ["fox.error.limit_exceeded"] * 2
    assert len(key(harness)) < 512


def test_waiters_at_a_folded_key_are_let_through_without_recursion():
    """Each event that is let through is folded, and so lets the next one through."""
    harness = made(Reducer(pattern="a.#", function="merge"))
    waiters = [
        publish(
            "a.b",
            request=number,
            flags=ACKNOWLEDGE | CONDITION,
            args=b'[{"n":%d}]' % number,
            retain=RetainOptions(when=msgpack.encode({"go": True}), watch=True),
        )
        for number in range(2000)
    ]
    harness.say("gateway-1", *waiters, reliable=True)
    go = publish("a.b", request=9999, flags=ACKNOWLEDGE | RETAIN, args=b'[{"go":true}]')
    harness.say("gateway-1", go, reliable=True)
    harness.turns(40)
    assert key(harness) == b'[{"go":true,"n":1999}]'


# Destinations


def test_the_destination_of_this_shard_is_the_key():
    harness = made(totals(destination="t"))
    emit(harness, 1, topic="a.b")
    emit(harness, 2, topic="a.c")
    assert (key(harness, "t"), key(harness, "a.b")) == (b"[3]", None)


def test_the_destination_of_another_shard_gets_the_events():
    probe = ShardHarness(shards=2)
    there = topic_at(probe, 1, "t")
    harness = made(totals(destination=there), shards=2)
    topic = topic_at(harness, 0, "a")
    emit(harness, 5, topic=topic)
    (fold,) = harness.got("shard-1", Fold)
    assert (fold.target_topic, fold.event.publish.args) == (there, b"[5]")


def test_events_of_other_shards_are_folded_in_one_step():
    probe = ShardHarness(shards=2)
    here = topic_at(probe, 0, "t")
    harness = made(totals(destination=here), shards=2)
    harness.say("gateway-1", Subscribe(0, REALM, "*t.#", False, SelectorSpec(7, True)))
    (reducer,) = [one for one in harness.shard.reducers.catalog if one.realm == REALM]

    def fold(number):
        event = Event(64 * number + 1, publish("a.x", request=number, args=b"[%d]" % number))
        return Fold(REALM, here, reducer.id, reducer.pattern.text, "", event)

    harness.disk.held = True
    harness.say("shard-1", fold(1), fold(2), reliable=True)
    harness.say("shard-1", fold(3), reliable=True)
    harness.disk.held = False
    harness.turns(6)
    assert key(harness, here) == b"[6]"
    changes = harness.got("gateway-1", SelectedEvent)
    assert changes[-1].event.publish.retain.reduced == 3 * 64 + 1
    harness.disk.held = True
    harness.say("shard-1", fold(4), reliable=True)
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    harness.disk.trouble = ""
    harness.pass_time(3)
    assert key(harness, here) == b"[10]"
    assert harness.shard.reducers.idle


def test_events_that_make_a_large_value_are_not_all_folded_in_one_step():
    """Each of them writes the whole value, so 500 of them would hold up everybody else."""
    harness = ShardHarness(gateways=2, shards=2)
    here = topic_at(harness, 0, "m")
    harness = made(Reducer(pattern="a.#", function="append", destination=here), shards=2)
    harness.say("gateway-1", Subscribe(0, REALM, f"={here}", False, SelectorSpec(7, True)))
    (reducer,) = [one for one in harness.shard.reducers.catalog if one.realm == REALM]
    value = b'["%b"]' % (b"x" * 100_000)

    def fold(number):
        event = Event(64 * number + 1, publish("a.x", request=number, args=value))
        return Fold(REALM, here, reducer.id, reducer.pattern.text, "", event)

    harness.disk.held = True
    harness.say("shard-1", *(fold(number) for number in range(1, 13)), reliable=True)
    harness.disk.held = False
    harness.turns(30)
    assert len(json.loads(key(harness, here))[0]) == 12
    assert len(harness.got("gateway-1", SelectedEvent)) > 2


def test_an_event_that_fails_in_one_step_with_others_leaves_their_value_as_it_is():
    probe = ShardHarness(shards=2)
    here = topic_at(probe, 0, "m")
    function = Reducer(pattern="a.#", function="append", destination=here)
    harness = made(function, shards=2, max_message_size=512)
    (reducer,) = [one for one in harness.shard.reducers.catalog if one.realm == REALM]
    small = publish("a.x", request=1, args=b"[1]")
    large = publish("a.x", request=2, args=msgpack.encode(["x" * 600]))
    large.encoding = MSGPACK
    folds = [
        Fold(REALM, here, reducer.id, reducer.pattern.text, "", Event(64 * number, frame))
        for number, frame in enumerate((small, large), 1)
    ]
    harness.disk.held = True
    harness.say("shard-1", *folds, reliable=True)
    harness.disk.held = False
    harness.turns(8)
    value = harness.shard.retained_keys.key((REALM, here)).publish
    assert (value.encoding, value.args) == (JSON, b"[[1]]")


@pytest.mark.parametrize("realm", [REALM, "memory"])
def test_events_of_other_shards_that_cannot_be_folded_count_as_failed(realm):
    probe = ShardHarness(shards=2)
    here = topic_at(probe, 0, "t")
    harness = made(totals(destination=here, field="n"), shards=2)
    (reducer,) = [one for one in harness.shard.reducers.catalog if one.realm == realm]
    folds = [
        Fold(realm, here, reducer.id, reducer.pattern.text, "", Event(64 * number, frame))
        for number, frame in enumerate(
            (
                publish("a.x", request=1, args=b'[{"n":1}]', realm=realm),
                publish("a.x", request=2, args=b'[{"n":"x"}]', realm=realm),
                publish("a.x", request=3, args=b'[{"m":1}]', realm=realm),
                publish("a.x", request=4, args=b'[{"n":2}]', realm=realm),
            ),
            1,
        )
    ]
    harness.disk.held = True
    harness.say("shard-1", *folds, reliable=True)
    harness.disk.held = False
    harness.turns(8)
    assert key(harness, here, realm=realm) == b"[3]"
    assert (reducer.folded, reducer.failed) == (3, 1)
    counts = harness.shard.reducers.take_counts()
    assert (counts["folded"], counts["reducer_failures"]) == (3, 1)
