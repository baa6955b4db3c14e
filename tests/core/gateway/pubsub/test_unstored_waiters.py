"""Publishes that wait at a shard that keeps nothing: its gateway publishes them anew."""

import pytest
from gateway_harness import GatewayStage

from fox_shard.backplane.frames import ACKNOWLEDGE, CONDITION, Keep, Publish, Published

WAITS = Keep(when_id=0, watch=True)


@pytest.fixture
def stage():
    stage = GatewayStage(shards=2)
    stage.realm.stored = False
    return stage


def wait(stage, session, *requests, flags=ACKNOWLEDGE):
    for request in requests:
        stage.publish(session, stage.topic(0), flags | CONDITION, request, keep=WAITS)
    stage.pass_time(1)
    stage.got("shard-0")


def published_anew(stage, shard=0):
    """Requests that a shard gets when it has restarted."""
    name = f"shard-{shard}"
    stage.kill(name)
    stage.join(name, incarnation=stage.gateway.links[shard].peer_incarnation + 1)
    return [one.request for one in stage.got(name, Publish)]


def test_what_waits_is_published_anew_in_order(stage):
    wait(stage, stage.session(), 1, 2, 3)
    assert published_anew(stage) == [1, 2, 3]
    assert published_anew(stage) == [1, 2, 3]


def test_what_was_answered_does_not_wait_any_more(stage):
    session = stage.session()
    wait(stage, session, 1, 2)
    stage.say("shard-0", Published(session.id, [1], [64]))
    assert published_anew(stage) == [2]
    stage.say("shard-0", Published(session.id, [2], [128]))
    assert published_anew(stage) == []


def test_what_is_never_answered_is_not_published_twice(stage):
    """It may have had its turn long ago."""
    wait(stage, stage.session(), 1, flags=0)
    assert published_anew(stage) == []


def test_a_session_that_has_left_waits_no_more(stage):
    one, other = stage.session(), stage.session()
    wait(stage, one, 1, 2)
    wait(stage, other, 1)
    stage.gateway.requests.detach(one, "gone")
    stage.turns()
    assert published_anew(stage) == [1]
