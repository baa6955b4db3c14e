"""Waiting publishes of a realm in memory: gateways publish them again to a restarted shard."""

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


def published_again(harness, shard=0):
    """Restart the shard, and return the requests of the publishes that it then gets."""
    name = f"shard-{shard}"
    harness.kill(name)
    harness.join(name, incarnation=harness.gateway.links[shard].peer_incarnation + 1)
    return [one.request for one in harness.got(name, Publish)]


def test_waiting_publishes_are_published_again_in_order(harness):
    wait(harness, harness.session(), 1, 2, 3)
    assert published_again(harness) == [1, 2, 3]
    assert published_again(harness) == [1, 2, 3]


def test_an_answered_publish_is_not_published_again(harness):
    session = harness.session()
    wait(harness, session, 1, 2)
    harness.say("shard-0", Published(session.id, [1], [64]))
    assert published_again(harness) == [2]
    harness.say("shard-0", Published(session.id, [2], [128]))
    assert published_again(harness) == []


def test_a_publish_without_acknowledgement_is_not_published_again(harness):
    """Such a publish may have been let through long ago."""
    wait(harness, harness.session(), 1, flags=0)
    assert published_again(harness) == []


def test_publishes_of_a_session_that_has_ended_are_not_published_again(harness):
    one, other = harness.session(), harness.session()
    wait(harness, one, 1, 2)
    wait(harness, other, 1)
    harness.gateway.requests.session_ended(one, "gone")
    harness.turns()
    assert published_again(harness) == [1]
