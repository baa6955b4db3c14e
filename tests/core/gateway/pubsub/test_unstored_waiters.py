"""Publishes that wait at a shard that keeps nothing: its gateway publishes them anew."""

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import ACKNOWLEDGE, CONDITION, Publish, Published, RetainOptions

WAITS = RetainOptions(when_id=0, watch=True)


@pytest.fixture
def harness():
    harness = GatewayHarness(shards=2)
    harness.realm.stored = False
    return harness


def wait(harness, session, *requests, flags=ACKNOWLEDGE):
    for request in requests:
        harness.publish(session, harness.topic(0), flags | CONDITION, request, retain=WAITS)
    harness.pass_time(1)
    harness.got("shard-0")


def published_anew(harness, shard=0):
    """Requests that a shard gets when it has restarted."""
    name = f"shard-{shard}"
    harness.kill(name)
    harness.join(name, incarnation=harness.gateway.links[shard].peer_incarnation + 1)
    return [one.request for one in harness.got(name, Publish)]


def test_what_waits_is_published_anew_in_order(harness):
    wait(harness, harness.session(), 1, 2, 3)
    assert published_anew(harness) == [1, 2, 3]
    assert published_anew(harness) == [1, 2, 3]


def test_what_was_answered_does_not_wait_any_more(harness):
    session = harness.session()
    wait(harness, session, 1, 2)
    harness.say("shard-0", Published(session.id, [1], [64]))
    assert published_anew(harness) == [2]
    harness.say("shard-0", Published(session.id, [2], [128]))
    assert published_anew(harness) == []


def test_what_is_never_answered_is_not_published_twice(harness):
    """It may have had its turn long ago."""
    wait(harness, harness.session(), 1, flags=0)
    assert published_anew(harness) == []


def test_a_session_that_has_left_waits_no_more(harness):
    one, other = harness.session(), harness.session()
    wait(harness, one, 1, 2)
    wait(harness, other, 1)
    harness.gateway.requests.session_ended(one, "gone")
    harness.turns()
    assert published_anew(harness) == [1]
