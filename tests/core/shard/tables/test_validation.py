"""Validation on a shard: what is not valid has no effect, and nobody gets it."""

import json

import pytest
from msgspec import msgpack
from shard_harness import REALM, Realm, publish, watched_harness

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    QOS1,
    RETAIN,
    DefineTables,
    Event,
    Published,
    Refused,
    RetainOptions,
)
from fox_shard.documents import payloads
from fox_shard.tables.schema import TableSet

SCHEMA = {
    "temp.*": {"type": "number", "maximum": 100},
    "door": {"properties": {"open": {"type": "boolean"}}, "required": ["open"]},
    "guest": {"properties": {"by": {"type": "string"}}, "required": ["name"]},
    "log": {"type": "object"},
    "log.*": {"required": ["text"]},
    "pair": {"type": "array", "maxItems": 2},
    "room": {
        "properties": {"id": {"type": "string"}, "size": {"type": "integer"}},
        "primary_key": ["id"],
        "propagate": {"house": [{"key": ["id"], "fields": {"size": "size"}}]},
    },
    "house": {
        "type": "aggregate",
        "properties": {"id": {"type": "string"}, "size": {"type": "integer"}},
        "primary_key": ["id"],
        "sum": ["size"],
    },
}


@pytest.fixture(params=["sqlite", "memory"])
def harness(request):
    harness = watched_harness(realms=[Realm(name=REALM, store=request.param)])
    harness.join("coordinator")
    harness.turns()
    define(harness, SCHEMA)
    return harness


def define(harness, schema, version=1):
    text = TableSet.parse(schema).text
    harness.say("coordinator", DefineTables(REALM, version, text, active=True))


def say(harness, topic, *args, flags=ACKNOWLEDGE, raw=None, kwargs=b"", retain=None, session=1):
    """Publish; return the refusal's (uri, message), if any, and the events of the topic."""
    frame = publish(
        topic,
        session=session,
        flags=flags,
        args=json.dumps([*args]).encode() if raw is None else raw,
        kwargs=kwargs,
        retain=retain,
    )
    if raw is not None:
        frame.encoding = payloads.RAW
    harness.got("gateway-0")
    harness.got("gateway-1")
    harness.say("gateway-0", frame, reliable=True)
    refusals = [(one.uri, one.message) for one in harness.got("gateway-0", Refused)]
    events = harness.got("gateway-1", Event)
    return refusals, [event for event in events if event.publish.topic.startswith(topic)]


def is_refused(result, words, uri="fox.error.invalid_payload"):
    refusals, events = result
    assert events == []
    ((found, message),) = refusals
    assert found == uri
    assert words in message
    return True


def is_published(result):
    refusals, events = result
    return refusals == [] and len(events) == 1


def test_a_valid_event_is_published(harness):
    assert is_published(say(harness, "temp.kitchen", 21.5))
    assert is_published(say(harness, "door", {"open": True, "by": "wind"}))
    assert is_published(say(harness, "door", kwargs=b'{"open": false}'))
    assert is_published(say(harness, "other", "anything"))
    assert is_published(say(harness, "pair", 1, 2))


def test_an_invalid_event_is_rejected_with_path_and_rule(harness):
    assert is_refused(say(harness, "temp.kitchen", 101), "(at $, rule maximum)")
    assert is_refused(say(harness, "temp.kitchen", "ON"), "(at $, rule type)")
    assert is_refused(say(harness, "temp.kitchen"), "(at $, rule type)")
    assert is_refused(say(harness, "door", {"open": 1}), "(at $.open, rule type)")
    assert is_refused(say(harness, "door", kwargs=b'{"close": 1}'), '"open" is missing')
    assert is_refused(say(harness, "pair", 1, 2, 3), "rule maxItems")


def test_an_invalid_mqtt_message_is_rejected(harness):
    flags = ACKNOWLEDGE | QOS1
    assert is_published(say(harness, "temp.k", raw=b"21.5", flags=flags))
    assert is_refused(say(harness, "temp.k", raw=b"hot", flags=flags), '"hot" does not fit')
    assert is_refused(say(harness, "temp.k", raw=b"\xff\xfe", flags=flags), "2 bytes")
    assert is_refused(say(harness, "temp.k", raw=b"", flags=flags), "null")


def test_what_json_has_not_is_rejected_also_if_something_else_is_wrong(harness):
    """The shard must not end: the gateway would send the publish again after each restart."""
    for flags in (ACKNOWLEDGE, ACKNOWLEDGE | RETAIN):
        for document in ({"by": b"x"}, {"by": {5: 6}}, {5: 6}):
            args = msgpack.encode([document])
            frame = publish("guest", request=7, flags=flags, args=args)
            frame.encoding = payloads.MSGPACK
            harness.say("gateway-0", frame, reliable=True)
            (refusal,) = harness.got("gateway-0", Refused)
            assert refusal.uri == "fox.error.invalid_payload"
    assert harness.got("gateway-1", Event) == []


def test_an_unacknowledged_event_is_dropped_and_counted(harness):
    for flags in (0, RETAIN):
        assert say(harness, "temp.kitchen", 500, flags=flags) == ([], [])
    assert harness.shard.stored_publishes.refusals.dropped == 2
    assert harness.shard.retained_keys.key((REALM, "temp.kitchen")) is None


def test_an_invalid_value_leaves_the_key_as_it_is(harness):
    flags = ACKNOWLEDGE | RETAIN
    assert is_published(say(harness, "temp.kitchen", 20, flags=flags))
    assert is_refused(say(harness, "temp.kitchen", 200, flags=flags), "maximum")
    assert harness.shard.retained_keys.key((REALM, "temp.kitchen")).publish.args == b"[20]"
    # An empty event erases the key, whatever the schema says.
    assert is_published(say(harness, "temp.kitchen", flags=flags | EMPTY))
    assert harness.shard.retained_keys.key((REALM, "temp.kitchen")) is None


def test_a_patch_is_valid_if_the_merged_document_is(harness):
    flags, patch = ACKNOWLEDGE | RETAIN, lambda: RetainOptions(patch=True)
    assert is_refused(say(harness, "door", {"by": "me"}, flags=flags, retain=patch()), "missing")
    assert is_published(say(harness, "door", {"open": True}, flags=flags))
    assert is_published(say(harness, "door", {"by": "me"}, flags=flags, retain=patch()))
    assert is_refused(say(harness, "door", {"open": None}, flags=flags, retain=patch()), "missing")
    document = json.loads(harness.shard.retained_keys.key((REALM, "door")).publish.args)
    assert document == [{"open": True, "by": "me"}]


def test_a_publish_that_waits_must_be_valid(harness):
    """A lock must not be waited for in vain."""
    flags, free = ACKNOWLEDGE | RETAIN, msgpack.encode(None)
    lock = lambda: RetainOptions(when=free, watch=True)  # noqa: E731
    assert is_published(say(harness, "door", {"open": True}, flags=flags, retain=lock()))
    assert is_refused(say(harness, "door", {}, flags=flags, retain=lock()), "missing")
    assert len(harness.shard.stored_publishes.conditional.waiting) == 0


def test_a_patch_that_waits_is_looked_at_when_its_turn_comes(harness):
    flags, patch = (
        ACKNOWLEDGE | RETAIN,
        RetainOptions(when=msgpack.encode({"open": False}), watch=True, patch=True),
    )
    say(harness, "door", {"open": True}, flags=flags)
    assert say(harness, "door", {"open": 5}, flags=flags, retain=patch) == ([], [])
    frame = publish("door", session=2, request=9, flags=flags, args=b'[{"open": false}]')
    harness.say("gateway-0", frame, reliable=True)
    assert [one.uri for one in harness.got("gateway-0", Refused)] == ["fox.error.invalid_payload"]
    assert harness.shard.retained_keys.key((REALM, "door")).publish.args == b'[{"open": false}]'


def test_what_a_session_leaves_behind_must_be_valid(harness):
    flags = ACKNOWLEDGE | RETAIN

    def will(*value):
        return RetainOptions(will=msgpack.encode([*value]))

    assert is_refused(say(harness, "temp.a", 5, flags=flags, retain=will(500)), "maximum")
    assert is_published(say(harness, "temp.a", 5, flags=flags, retain=will(0)))
    assert is_published(say(harness, "temp.a", 5, flags=flags, retain=will(None)))


def test_a_sequence_has_the_rules_of_its_topic_and_of_its_keys(harness):
    flags, options = ACKNOWLEDGE | RETAIN, lambda: RetainOptions(sequence=True)
    assert is_refused(say(harness, "log", "x", flags=flags, retain=options()), "object")
    assert is_refused(say(harness, "log", {}, flags=flags, retain=options()), '"text" is missing')
    assert is_published(say(harness, "log", {"text": "x"}, flags=flags, retain=options()))


def test_rules_change_with_the_schema(harness):
    assert is_published(say(harness, "temp.a", 5))
    define(harness, {"temp.*": {"type": "string"}}, version=2)
    assert is_refused(say(harness, "temp.a", 5), "type")
    assert is_published(say(harness, "door", "whatever"))
    define(harness, {}, version=3)
    assert is_published(say(harness, "temp.a", 5))


def test_other_realms_have_no_rules(harness):
    frame = publish("temp.a", args=b'["x"]', realm="other")
    harness.say("gateway-0", frame, reliable=True)
    assert harness.got("gateway-0", Published)


def test_keyword_arguments_may_be_headers():
    realm = Realm(name=REALM, kwargs_are_headers=True)
    harness = watched_harness(realms=[realm])
    harness.join("coordinator")
    harness.turns()
    define(harness, {"door": {"type": "object", **SCHEMA["door"]}})
    assert is_published(say(harness, "door", {"open": True}, kwargs=b'{"open": 7}'))
    assert is_refused(say(harness, "door", kwargs=b'{"open": true}'), "null")


def test_an_event_too_large_for_its_schema_is_refused_unseen(harness):
    heavy = {"anyOf": [{"items": {"pattern": f"x{n}"}} for n in range(500)]}
    define(harness, {"big": heavy}, version=2)
    assert is_refused(say(harness, "big", ["a" * 30_000]), "rule size")
    assert is_refused(say(harness, "big", ["a" * 3_000]), "rule anyOf")


# Rows


def row(harness, topic, *args, flags=ACKNOWLEDGE | RETAIN, **more):
    return say(harness, topic, *args, flags=flags, **more)


def test_a_row_must_be_valid_and_have_the_key_of_its_topic(harness):
    assert is_published(row(harness, "room.a%2Eb", {"id": "a.b", "size": 5}))
    assert is_refused(row(harness, "room.a", {"id": "a", "size": "5"}), "(at $.size, rule type)")
    assert is_refused(row(harness, "room.a", {"id": "b"}), "that of room.b, and not of room.a")
    assert is_refused(row(harness, "room.a", {"size": 5}), "the key field id is missing")
    assert is_refused(row(harness, "room.a", "x"), "null does not fit")
    assert is_refused(row(harness, "room.a", {"id": "a", "size": 10**400}), "100 digits")
    unclear = row(harness, "room.a%2eb", {"id": "a.b"})
    assert is_refused(unclear, "no row of the table room", "wamp.error.invalid_uri")
    deeper = row(harness, "room.a.b", {"id": "a"})
    assert is_refused(deeper, "no row of the table room", "wamp.error.invalid_uri")


def test_a_row_is_deleted_by_an_empty_event(harness):
    assert is_published(row(harness, "room.a", {"id": "a"}))
    assert is_published(row(harness, "room.a", flags=ACKNOWLEDGE | RETAIN | EMPTY))
    assert harness.shard.retained_keys.key((REALM, "room.a")) is None
    # Deleting what is not there is no mistake.
    assert is_published(row(harness, "room.a", flags=ACKNOWLEDGE | RETAIN | EMPTY))


def test_aggregates_are_read_only(harness):
    refused = row(harness, "house.a", {"id": "a", "size": 5})
    assert is_refused(refused, "an aggregate", "wamp.error.not_authorized")
    refused = row(harness, "house.a", flags=ACKNOWLEDGE | RETAIN | EMPTY)
    assert is_refused(refused, "an aggregate", "wamp.error.not_authorized")


def test_a_gateway_that_does_not_know_the_table_is_asked_to_wait(harness):
    for flags in (ACKNOWLEDGE, ACKNOWLEDGE | RETAIN):
        refused = row(harness, "room", {"id": "a"}, flags=flags)
        assert is_refused(refused, "publish again", "wamp.error.unavailable")
    refused = row(harness, "room.a", {"id": "a"}, flags=ACKNOWLEDGE)
    assert is_refused(refused, "publish again", "wamp.error.unavailable")


def in_one_turn(schema, topic, value, flags=0):
    """Return how many of twenty publishes that come together are answered in their turn."""
    harness = watched_harness(realms=[Realm(name=REALM)])
    harness.join("coordinator")
    harness.turns()
    define(harness, schema)
    args = json.dumps([value]).encode()
    frames = [publish(topic, request=n, args=args, flags=ACKNOWLEDGE | flags) for n in range(1, 21)]
    harness.send("gateway-0", *frames, reliable=True)
    harness.turn()
    waiting = sum(len(one.frames) for one in harness.shard.peers["gateway-0"].waiting)
    harness.turns(40)
    assert not harness.shard.scheduler.busy
    return 20 - waiting


def test_comparisons_with_a_large_schema_are_work_of_several_turns():
    """Bytes and parts multiply: 13 KB and 4,800 parts take a sixth of a second."""
    large = {"items": {"allOf": [{"minimum": -number} for number in range(4000)]}}
    small = {"items": {"minimum": 0}}
    assert in_one_turn({"list": small}, "list", [1] * 2000) == 20
    assert in_one_turn({"list": large}, "list", [1] * 2000) < 3


def test_the_search_for_what_is_wrong_is_work_of_several_turns():
    """It makes validators of the schema's parts: 20 ms for an event of two bytes."""
    fields = {f"field{number}": {"type": "string"} for number in range(9000)}
    schema = {"form": {"properties": fields, "required": ["name"]}}
    assert in_one_turn(schema, "form", {"name": "x"}) == 20
    assert in_one_turn(schema, "form", {}) < 3


def test_what_a_row_contributes_by_a_thousand_edges_is_work_of_several_turns():
    """Also if no filter lets any of it through."""
    few, many = (
        {
            "source": {
                "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
                "primary_key": ["id"],
                "propagate": {
                    "total": [
                        {"key": ["id"], "fields": {"n": "n"}, "filter": {"n": number}}
                        for number in range(1, count)
                    ]
                },
            },
            "total": {
                "type": "aggregate",
                "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
                "primary_key": ["id"],
                "sum": ["n"],
            },
        }
        for count in (3, 1000)
    )
    row = {"id": "a", "n": 0}
    assert in_one_turn(few, "source.a", row, RETAIN) == 20
    assert in_one_turn(many, "source.a", row, RETAIN) < 20
