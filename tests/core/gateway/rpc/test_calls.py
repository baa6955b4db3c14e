"""Callers: the limit of unanswered calls, and shards without credit."""

from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import CONTINUES, Call, Report, Result
from fox_shard.documents.payloads import JSON


def call(harness, session, request):
    harness.gateway.requests.call(session, request, "p.q", 0, 0, JSON, b"[]", b"", None)


def test_a_session_has_so_many_unanswered_calls_and_no_more():
    harness = GatewayHarness(shards=1, max_calls=2)
    session = harness.session()
    for request in (1, 2, 3):
        call(harness, session, request)
    assert session.take() == [("call_error", 3, "fox.error.limit_exceeded")]
    assert [frame.request for frame in harness.got("shard-0", Call)] == [1, 2]
    harness.say("shard-0", Result(session.id, 1, False, JSON, b"[]"))
    session.take()
    call(harness, session, 4)
    assert session.take() == []
    harness.gateway.send_report(harness.now)
    (report,) = harness.got("coordinator", Report)
    assert report.counters["gateway-0.refused.max_calls"] == 1


def test_a_caller_is_not_read_while_the_shard_has_no_credit():
    harness = GatewayHarness(shards=1, credit=10_000)
    session, other = harness.session(), harness.session()
    large = JSON, b'["%s"]' % (b"x" * 10_000), b"", None
    harness.gateway.requests.call(session, 1, "p.q", CONTINUES, 0, *large)
    call(harness, other, 1)
    assert not session.connection.paused
    assert harness.gateway.flush(harness.now)
    harness.gateway.requests.continue_call(session, 1, JSON, b"[]", b"", last=False)
    call(harness, other, 2)
    assert session.connection.paused
    assert other.connection.paused
    link = harness.gateway.links[0]
    link.in_flight = 0
    harness.gateway.flush(harness.now)
    assert not session.connection.paused
    assert not other.connection.paused
