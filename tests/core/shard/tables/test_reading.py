"""Rows for gateways: what is durable, in the order of topics, a page at a time."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, ShardHarness, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    DefineTables,
    Event,
    Inquiry,
    InquiryPage,
)
from fox_shard.shard.budget import SLICE_UNITS
from fox_shard.tables.query import ROWS, RowsQuery, encode
from fox_shard.tables.schema import TableSet

TOPICS = ["t.a", "t.a%2Eb", "t.b", "t.c"]


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=1)
    for number, topic in enumerate([*TOPICS, "t", "tt.a", "s.a", "u"]):
        put(harness, topic, number)
    return harness


def put(harness, topic, number, flags=0):
    args = b"[]" if flags & EMPTY else b'[{"n": %d}]' % number
    frame = publish(topic, request=number + 1, flags=ACKNOWLEDGE | RETAIN | flags, args=args)
    harness.say("gateway-0", frame, reliable=True)


def ask(harness, *, start=b"", limit=1000, **query):
    body = encode(RowsQuery("t", **query))
    harness.say("gateway-0", Inquiry(1, REALM, ROWS, body, start, limit))
    (page,) = harness.got("gateway-0", InquiryPage)
    return page


def topics(page):
    return [key.decode() for key, _ in page.items]


def test_rows_come_in_the_order_of_their_topics(harness):
    page = ask(harness)
    assert topics(page) == TOPICS
    assert page.next == b""
    event = msgpack.decode(page.items[0][1], type=Event)
    assert (event.publish.topic, event.publish.args) == ("t.a", b'[{"n": 0}]')


def test_one_row(harness):
    assert topics(ask(harness, topic="t.b")) == ["t.b"]
    assert topics(ask(harness, topic="t.d")) == []


def test_rows_after_a_topic(harness):
    assert topics(ask(harness, after="t.a%2Eb")) == ["t.b", "t.c"]
    assert topics(ask(harness, after="t.aa")) == ["t.b", "t.c"]
    assert topics(ask(harness, after="t.c")) == []


def test_rows_that_a_filter_matches(harness):
    wanted = msgpack.encode({"n": {"$gte": 2}})
    assert topics(ask(harness, filter=wanted)) == ["t.b", "t.c"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_join_without_a_gap(harness, limit):
    found, start = [], b""
    for _ in range(6):
        page = ask(harness, start=start, limit=limit)
        assert len(page.items) <= limit
        found += topics(page)
        if not page.next:
            break
        start = page.next
    assert found == TOPICS


def test_a_page_ends_when_it_has_cost_enough_whatever_it_has_found(harness):
    for number in range(SLICE_UNITS + 10):
        put(harness, f"t.x{number:05}", 0)
    wanted = msgpack.encode({"n": 3})
    page = ask(harness, filter=wanted)
    assert topics(page) == ["t.c"]
    assert page.next
    assert topics(ask(harness, filter=wanted, start=page.next)) == []


def test_only_what_is_durable_is_shown(harness):
    harness.disk.held = True
    put(harness, "t.a", 77)
    put(harness, "t.b", 78, EMPTY)
    put(harness, "t.d", 79)
    page = ask(harness)
    # A row that is being deleted may be left out already.
    assert topics(page) in (TOPICS, ["t.a", "t.a%2Eb", "t.c"])
    assert msgpack.decode(page.items[0][1], type=Event).publish.args == b'[{"n": 0}]'
    harness.disk.held = False
    harness.turns()
    assert topics(ask(harness)) == ["t.a", "t.a%2Eb", "t.c", "t.d"]


def test_keys_that_are_older_than_the_table_are_no_rows_of_it(harness):
    """Except those that have the topics of the rows that they are."""
    schema = {"t": {"properties": {"n": {"type": "integer"}}, "primary_key": ["n"]}}
    put(harness, "t.7", 7)
    put(harness, "t.7.8", 7)
    harness.join("coordinator")
    harness.turns()
    harness.say("coordinator", DefineTables(REALM, 1, TableSet.parse(schema).text, active=True))
    assert topics(ask(harness)) == ["t.7"]
    assert topics(ask(harness, topic="t.a")) == []


def test_a_page_ends_sooner_if_its_filter_is_large(harness):
    for number in range(SLICE_UNITS):
        put(harness, f"t.x{number:05}", 0)
    lists = [[n] for n in range(5000)]
    page = ask(harness, filter=msgpack.encode({"n": {"$in": [*lists, 0]}}))
    assert page.next
    assert len(page.items) < 20
