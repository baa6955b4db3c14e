"""`fox.table.get` and `fox.table.rows`: arguments, answers, and who is shown what."""

import pytest
from gateway_harness import GatewayHarness, event
from msgspec import msgpack
from msgspec.msgpack import Ext

from fox_shard.backplane.frames import ActiveTables, Audience, Inquiry, InquiryPage
from fox_shard.documents import payloads
from fox_shard.tables.query import ROWS, RowsQuery, decode
from fox_shard.tables.schema import TableSet

SCHEMA = {
    "order": {
        "properties": {"shop": {"type": "string"}, "number": {"type": "integer"}},
        "primary_key": ["shop", "number"],
    }
}
TEXT = TableSet.parse(SCHEMA).text


@pytest.fixture
def harness():
    harness = GatewayHarness(2)
    for shard in range(2):
        harness.say(f"shard-{shard}", ActiveTables("realm1", 1, TEXT))
    return harness


@pytest.fixture
def session(harness):
    session = harness.session()
    session.answers = []
    session.result = session.call_error = session.answers.append
    return session


def call(harness, session, procedure, *args, **kwargs):
    args, kwargs = payloads.encode([*args], kwargs, payloads.JSON)
    harness.gateway.requests.call(session, 1, procedure, 0, 0, payloads.JSON, args, kwargs, None)


def asked(harness, shard):
    (inquiry,) = harness.got(f"shard-{shard}", Inquiry)
    assert inquiry.kind == ROWS
    return inquiry, decode(inquiry.body)


def row(topic, document, publication=1, **more):
    found = event(publication, topic, **more)
    found.publish.args = payloads.encode([document], {}, payloads.JSON)[0]
    return topic.encode(), msgpack.encode(found)


def say(harness, shard, inquiry, *items, more=b""):
    harness.say(f"shard-{shard}", InquiryPage(inquiry.token, [*items], more))


def result(session):
    (answer,) = session.answers
    session.answers.clear()
    return payloads.decode(answer.encoding, answer.args, answer.kwargs)


def error(session):
    (answer,) = session.answers
    session.answers.clear()
    return answer.uri, payloads.decode(answer.encoding, answer.args, b"")[0][0]


def test_one_row_is_asked_of_its_shard(harness, session):
    call(harness, session, "fox.table.get", "order", "a.b", 7)
    shard = harness.realm.shard_of("order.a%2Eb.7")
    inquiry, query = asked(harness, shard)
    assert (query, inquiry.limit) == (RowsQuery("order", topic="order.a%2Eb.7"), 1)
    assert harness.got(f"shard-{1 - shard}", Inquiry) == []
    document = {"shop": "a.b", "number": 7}
    say(harness, shard, inquiry, row("order.a%2Eb.7", document, publication=640))
    assert result(session) == ([document], {"publication": 640})


def test_a_row_that_is_not_there_is_null(harness, session):
    call(harness, session, "fox.table.get", "order", "x", 1)
    shard = harness.realm.shard_of("order.x.1")
    inquiry, _ = asked(harness, shard)
    say(harness, shard, inquiry)
    assert result(session) == ([None], {})


def test_rows_of_all_shards_come_in_key_order(harness, session):
    call(harness, session, "fox.table.rows", "order")
    (first, query), (second, _) = asked(harness, 0), asked(harness, 1)
    assert (query, first.limit) == (RowsQuery("order"), 1000)
    say(harness, 0, first, row("order.a.1", {"n": 1}), row("order.b.1", {"n": 3}))
    say(harness, 1, second, row("order.a.2", {"n": 2}))
    assert result(session) == ([[{"n": n} for n in (1, 2, 3)]], {"more": False, "after": None})


def test_the_next_page_begins_after_the_last_row(harness, session):
    call(harness, session, "fox.table.rows", "order", {"limit": 1})
    (first, _), (second, _) = asked(harness, 0), asked(harness, 1)
    say(harness, 0, first, row("order.a.10", {"n": 1}), more=b"order.a.10")
    say(harness, 1, second)
    assert result(session) == ([[{"n": 1}]], {"more": True, "after": ["a", 10]})
    options = {"filter": {"n": {"$gt": 0}}, "after": ["a", 10]}
    call(harness, session, "fox.table.rows", "order", options)
    _, query = asked(harness, 0)
    assert query.after == "order.a.10"
    assert msgpack.decode(query.filter) == {"n": {"$gt": 0}}


def test_options_may_be_keyword_arguments(harness, session):
    call(harness, session, "fox.table.rows", "order", limit=5, after=["x", 1])
    inquiry, query = asked(harness, 1)
    assert (query.after, inquiry.limit) == ("order.x.1", 5)


def test_a_row_that_the_session_may_not_see_is_left_out(harness, session):
    call(harness, session, "fox.table.rows", "order")
    (first, _), (second, _) = asked(harness, 0), asked(harness, 1)
    hidden = Audience(eligible=[session.id + 1])
    say(harness, 0, first, row("order.a.1", {"n": 1}, audience=hidden))
    say(harness, 1, second, row("order.a.2", {"n": 2}))
    assert result(session) == ([[{"n": 2}]], {"more": False, "after": None})


@pytest.mark.parametrize(
    ("procedure", "args", "kwargs", "words"),
    [
        ("fox.table.get", [], {}, "name of a table"),
        ("fox.table.get", [5], {}, "name of a table"),
        ("fox.table.get", ["orders", "a", 1], {}, "did you mean order?"),
        ("fox.table.get", ["order"], {}, "shop, number"),
        ("fox.table.get", ["order", "a", "1"], {}, "number is"),
        ("fox.table.get", ["order", "a", 1], {"x": 1}, "no keyword arguments"),
        ("fox.table.rows", ["order", 5], {}, "object with options"),
        ("fox.table.rows", ["order", {}, {}], {}, "object with options"),
        ("fox.table.rows", ["order", {"limit": 0}], {}, "the option limit"),
        ("fox.table.rows", ["order", {"limit": 1001}], {}, "the option limit"),
        ("fox.table.rows", ["order", {"after": "a"}], {}, "the option after"),
        ("fox.table.rows", ["order", {"after": ["a"]}], {}, "shop, number"),
        ("fox.table.rows", ["order", {"filter": {"n": {"$gr": 1}}}], {}, "no operator"),
        ("fox.table.rows", ["order", {"where": {}}], {}, "where"),
    ],
)
def test_wrong_arguments_are_refused(harness, session, procedure, args, kwargs, words):
    call(harness, session, procedure, *args, **kwargs)
    uri, sentence = error(session)
    assert uri == "wamp.error.invalid_argument"
    assert words in sentence
    assert harness.got("shard-0", Inquiry) == []


def test_a_shard_that_is_down_is_told(harness, session):
    harness.kill("shard-1")
    call(harness, session, "fox.table.rows", "order")
    assert error(session)[0] == "wamp.error.unavailable"


def test_a_row_that_cannot_be_sent_to_the_caller_does_not_hide_the_others(harness, session):
    call(harness, session, "fox.table.rows", "order")
    (first, _), (second, _) = asked(harness, 0), asked(harness, 1)
    found = event(1, "order.a.2")
    found.publish.args = msgpack.encode([{"n": Ext(5, b"x")}])
    found.publish.encoding = payloads.MSGPACK
    items = [row("order.a.1", {"n": 1}), (b"order.a.2", msgpack.encode(found))]
    say(harness, 0, first, *items, row("order.a.3", {"n": 3}))
    say(harness, 1, second)
    assert result(session) == ([[{"n": 1}, {"n": 3}]], {"more": False, "after": None})


def test_a_filter_is_bounded(harness, session):
    call(harness, session, "fox.table.rows", "order", {"filter": {"n": {"$in": [*range(10_000)]}}})
    uri, message = error(session)
    assert uri == "fox.error.limit_exceeded"
    assert "the option filter: " in message
    assert "of at most 16384" in message


def test_a_filter_that_no_shard_can_read_is_refused(harness, session):
    call(harness, session, "fox.table.rows", "order", {"filter": {"n": 10**400}})
    uri, message = error(session)
    assert uri == "wamp.error.invalid_argument"
    assert "the option filter: " in message


def test_a_long_name_is_not_compared_with_those_of_tables(harness, session):
    call(harness, session, "fox.table.rows", "order" * 1_000_000)
    uri, message = error(session)
    assert uri == "wamp.error.invalid_argument"
    assert len(message) < 200
