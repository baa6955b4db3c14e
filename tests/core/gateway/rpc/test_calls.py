"""Callers: the limit of unanswered calls, and shards without credit."""

import pytest
from gateway_harness import GatewayHarness
from msgspec import msgpack

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
    assert report.counters["refused.max_calls"] == 1


@pytest.mark.parametrize(
    "procedure", ["wamp.session.get", "wamp.registration.get", "fox.schema.get"]
)
@pytest.mark.cites("advanced.payload_passthru_mode.4")
def test_the_routers_own_procedures_read_no_payload_in_passthru_mode(procedure):
    """They are callees without the mode; custom attributes do not trouble them."""
    harness = GatewayHarness(shards=1)
    session = harness.session()
    for request, attributes in enumerate(({"ppt_scheme": "x_mine"}, {"x_mine": "ppt_scheme"}), 1):
        harness.gateway.requests.call(
            session, request, procedure, 0, 0, JSON, b"[7]", b"", None, msgpack.encode(attributes)
        )
    refused = ("call_error", 1, "wamp.error.feature_not_supported")
    told = session.take()
    assert told[0] == refused
    assert refused not in told[1:]
    asked = harness.got("coordinator", Call)
    assert [one.request for one in asked] == ([] if "registration" in procedure else [2])


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
