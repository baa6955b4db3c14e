"""What subscribers get of rows and aggregates, and how sessions end with their rows."""

import json

import pytest
from msgspec import msgpack
from reducing import answer, asked, emit, failures, key, reducer, watch_failures
from shard_harness import REALM, ShardHarness, leave, publish, watched_harness

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Again,
    DefineTables,
    Event,
    Published,
    Refused,
    RetainOptions,
    SelectedEvent,
    SelectorSpec,
    Subscribe,
)
from fox_shard.config import Realm, Reducer
from fox_shard.documents.payloads import NONE
from fox_shard.tables.schema import TableSet

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
SCHEMA = {
    "sale": {
        "type": "object",
        "properties": {"id": TEXT, "shop": TEXT, "n": NUMBER},
        "primary_key": ["id"],
        "propagate": {"total": [{"key": ["shop"], "fields": {"n": "n"}}]},
    },
    "total": {
        "type": "aggregate",
        "properties": {"shop": TEXT, "n": NUMBER},
        "primary_key": ["shop"],
        "sum": ["n"],
    },
}


@pytest.fixture
def harness():
    harness = watched_harness()
    harness.join("coordinator")
    harness.turns()
    define(harness, 1, TableSet.parse(SCHEMA).text)
    harness.got("gateway-1")
    return harness


def define(harness, version, text):
    steps = [DefineTables(REALM, version, text, active) for active in (False, True)]
    harness.say("coordinator", *steps)
    harness.turns(8)


def sale(harness, id_, n, *, shop="north", retain=None, patch=False, session=1):
    row = {"id": id_, "shop": shop, "n": n}
    say(harness, f"sale.{id_}", row, retain=retain, session=session)


def say(harness, topic, row, *, retain=None, session=1):
    frame = publish(topic, session=session, flags=ACKNOWLEDGE | RETAIN, retain=retain)
    frame.args = json.dumps([row]).encode()
    if row is None:
        frame.args, frame.encoding, frame.flags = b"", NONE, frame.flags | EMPTY
    harness.say("gateway-0", frame, reliable=True)
    harness.turns(8)


def totals(harness):
    """Return the events of the aggregate: (topic, sum), None for an erased row."""
    events = [one.publish for one in harness.got("gateway-1", Event)]
    return [
        (one.topic, None if one.flags & EMPTY else json.loads(one.args)[0]["n"])
        for one in events
        if one.topic.startswith("total")
    ]


def test_the_rows_of_an_aggregate_are_events(harness):
    sale(harness, "s", 1)
    sale(harness, "t", 2)
    assert totals(harness) == [("total.north", 1), ("total.north", 3)]
    sale(harness, "t", 2)
    assert totals(harness) == []
    say(harness, "sale.s", None)
    say(harness, "sale.t", None)
    assert totals(harness) == [("total.north", 2), ("total.north", None)]


def test_the_rows_of_an_aggregate_are_state(harness):
    selector = SelectorSpec(1, state=True)
    harness.say("gateway-1", Subscribe(5, REALM, "=total.north", False, selector=selector))
    harness.got("gateway-1")
    sale(harness, "s", 1)
    say(harness, "sale.s", None)
    changes = harness.got("gateway-1", SelectedEvent)
    assert [one.removed for one in changes] == ["", "deleted"]


def test_clients_publish_to_no_aggregate(harness):
    say(harness, "total.north", {"shop": "north", "n": 7})
    (refused,) = harness.got("gateway-0", Refused)
    assert refused.uri == "wamp.error.not_authorized"
    say(harness, "total.north", None)
    assert harness.got("gateway-0", Refused)


def test_a_row_goes_with_its_session(harness):
    sale(harness, "s", 1, retain=RetainOptions(weak=True), session=5)
    sale(harness, "t", 2)
    assert totals(harness) == [("total.north", 1), ("total.north", 3)]
    harness.say("gateway-0", leave(5))
    harness.turns(8)
    assert totals(harness) == [("total.north", 2)]


def test_a_row_has_a_will(harness):
    will = json.loads('[{"id": "s", "shop": "south", "n": 9}]')
    sale(harness, "s", 1, retain=RetainOptions(will=msgpack.encode(will)), session=5)
    harness.say("gateway-0", leave(5))
    harness.turns(8)
    assert totals(harness) == [("total.north", 1), ("total.north", None), ("total.south", 9)]


def test_a_row_whose_will_a_newer_schema_refuses_is_erased(harness):
    will = [{"id": "s", "shop": "south", "n": 9}]
    sale(harness, "s", 1, retain=RetainOptions(will=msgpack.encode(will)), session=5)
    stricter = json.loads(json.dumps(SCHEMA))
    stricter["sale"]["properties"]["n"]["maximum"] = 5
    define(harness, 2, TableSet.parse(stricter).text)
    totals(harness)
    harness.say("gateway-0", leave(5))
    harness.turns(8)
    assert totals(harness) == [("total.north", None)]


def test_a_patched_row_contributes_as_it_is_merged(harness):
    sale(harness, "s", 1)
    say(harness, "sale.s", {"n": 4}, retain=RetainOptions(patch=True))
    assert totals(harness) == [("total.north", 1), ("total.north", 4)]
    say(harness, "sale.s", {"n": None}, retain=RetainOptions(patch=True))
    assert totals(harness) == [("total.north", None)] or totals(harness) == []


def test_a_condition_that_fails_contributes_nothing(harness):
    sale(harness, "s", 1)
    sale(harness, "s", 5, retain=RetainOptions(when_id=7))
    assert totals(harness) == [("total.north", 1)]


@pytest.mark.parametrize(
    "retain", [RetainOptions(private=True, weak=True), RetainOptions(sequence=True)]
)
def test_options_that_no_row_has_are_refused(retain, harness):
    sale(harness, "s", 1, retain=retain)
    (refused,) = harness.got("gateway-0", Refused)
    assert refused.uri == "wamp.error.invalid_argument"
    assert not harness.got("gateway-0", Published)


def test_a_refused_row_stays_refused_when_it_is_sent_again(harness):
    """The outcome is in the store: the schema, or the row, may be another one by now."""
    harness["gateway-0"].deaf = True
    frame = publish("sale.s", flags=ACKNOWLEDGE | RETAIN)
    frame.args = b'[{"id": "s", "n": "many"}]'
    harness.say("gateway-0", frame, reliable=True)
    other = {"sale": {**SCHEMA["sale"], "propagate": {}}}
    other["sale"]["properties"] = {"id": TEXT, "n": {}}
    define(harness, 2, TableSet.parse(other).text)
    harness.restart()
    harness.turns(40)
    (refused,) = harness.got("gateway-0", Refused)
    assert refused.uri == "fox.error.invalid_payload"


@pytest.mark.parametrize("erased", [False, True])
def test_a_shard_that_dies_before_it_sends_a_row_of_an_aggregate_sends_it_again(erased, harness):
    """Nobody else would: the publisher of the row knows nothing of the aggregate."""
    sale(harness, "s", 1)
    totals(harness)
    harness.disk.held = True
    frame = publish("sale.s", flags=ACKNOWLEDGE | RETAIN)
    frame.args = b'[{"id": "s", "shop": "north", "n": 5}]'
    if erased:
        frame.args, frame.encoding, frame.flags = b"", NONE, frame.flags | EMPTY
    harness.say("gateway-0", frame, reliable=True)
    harness.commit()  # of the row
    harness.turns(2)
    harness.disk.commit()  # of the aggregate, of which the shard does not hear
    harness.restart()
    harness.turns(40)
    again = [one.event for one in harness.got("gateway-1", Again)]
    found = [one.publish for one in again if one.publish.topic == "total.north"]
    assert [one.args for one in found] == [b"" if erased else b'[{"shop":"north","n":5}]']
    kinds = [key for key in harness.disk.rows if key.startswith(b"u")]
    harness.pass_time(2.0)
    say(harness, "sale.x", {"id": "x", "n": 1})  # the rows of what was announced go, too
    assert kinds
    assert not [key for key in harness.disk.rows if b"total.north" in key and key[:1] == b"u"]


def test_what_nobody_subscribes_to_is_not_noted_for_a_restart():
    harness = ShardHarness()
    harness.join("coordinator")
    harness.turns()
    define(harness, 1, TableSet.parse(SCHEMA).text)
    sale(harness, "s", 1)
    assert not [key for key in harness.disk.rows if key[:1] == b"u"]


@pytest.mark.parametrize(
    ("mission", "args", "says"),
    [
        ("total.north", b'[{"shop": "north", "n": 999}]', "wamp.error.not_authorized"),
        ("total", b"[1]", "wamp.error.not_authorized"),
        ("sale.a", b'[{"id": "a", "shop": "north", "n": "many"}]', "fox.error.invalid_payload"),
        ("sale.a", b'[{"id": "b", "shop": "north", "n": 7}]', "fox.error.invalid_payload"),
        ("sale.a", b"[7]", "fox.error.invalid_payload"),
        ("sale", b'[{"id": "a", "shop": "north", "n": 7}]', "wamp.error.invalid_argument"),
    ],
)
def test_a_reducer_makes_no_row_that_a_client_could_not_publish(harness, mission, args, says):
    sale(harness, "a", 5)
    watch_failures(harness)
    harness.say("gateway-0", reducer(pattern="=e", mission=mission))
    emit(harness, 1, topic="e")
    (one,) = asked(harness)
    answer(harness, one, args)
    (told,) = failures(harness)
    assert told[3] == says
    assert key(harness, "total.north") == b'[{"shop":"north","n":5}]'
    assert json.loads(key(harness, "sale.a")) == [{"id": "a", "shop": "north", "n": 5}]


@pytest.mark.parametrize(
    ("function", "destination", "says"),
    [
        ("merge", "total.north", "wamp.error.not_authorized"),
        ("last", "sale.a", "fox.error.invalid_payload"),
        ("sum", "sale.a", "fox.error.invalid_payload"),
        ("merge", "sale", "wamp.error.invalid_argument"),
    ],
)
def test_nor_does_one_of_the_configuration(function, destination, says):
    one = Reducer(pattern="e", function=function, destination=destination)
    harness = watched_harness(realms=[Realm(name=REALM, reducer=(one,))])
    harness.join("coordinator")
    harness.turns()
    define(harness, 1, TableSet.parse(SCHEMA).text)
    sale(harness, "a", 5)
    watch_failures(harness)
    harness.got("gateway-1")
    frame = publish("e", session=2, args=b'[{"id": "a", "shop": "south", "n": "many"}]')
    harness.say("gateway-1", frame, reliable=True)
    (told,) = failures(harness)
    assert told[3] == says
    assert key(harness, "total.north") == b'[{"shop":"north","n":5}]'
    assert json.loads(key(harness, "sale.a")) == [{"id": "a", "shop": "north", "n": 5}]
    assert key(harness, "sale") is None


def test_a_row_that_a_reducer_has_made_contributes(harness):
    sale(harness, "a", 5)
    harness.say("gateway-0", reducer(pattern="=e", mission="sale.a"))
    emit(harness, 1, 2, topic="e")
    (one,) = asked(harness)
    answer(harness, one, b'[{"id": "a", "shop": "south", "n": 7}]')
    harness.turns()
    assert (key(harness, "total.north"), key(harness, "total.south")) == (
        None,
        b'[{"shop":"south","n":7}]',
    )
    (two,) = asked(harness)
    answer(harness, two, b"[]")
    harness.turns()
    assert (key(harness, "sale.a"), key(harness, "total.south")) == (None, None)
