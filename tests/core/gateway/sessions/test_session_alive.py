"""What a gateway that returns to a shard tells of its sessions that may have something there."""

import pytest
from gateway_harness import GatewayStage

from fox_shard.backplane.frames import CONDITION, RETAIN, Keep, Leave, Present


@pytest.fixture
def stage():
    return GatewayStage(shards=2)


def told_again(stage, shard):
    """The sessions that a shard hears of when it has restarted."""
    name = f"shard-{shard}"
    stage.kill(name)
    stage.join(name, incarnation=2)
    return [one.session for one in stage.got(name, Present)]


@pytest.mark.parametrize(
    "keep",
    [
        Keep(weak=True),
        Keep(will=b"x"),
        Keep(when_id=0, watch=True),
        Keep(weak=True, sequence=True),
    ],
)
def test_a_session_is_told_to_the_shard_that_has_something_of_it(keep, stage):
    session = stage.session()
    stage.publish(session, stage.topic(1), RETAIN, keep=keep)
    assert told_again(stage, 0) == []
    assert told_again(stage, 1) == [session.id]


@pytest.mark.parametrize(
    ("flags", "keep"),
    [(0, None), (RETAIN, None), (RETAIN, Keep(5.0)), (RETAIN | CONDITION, Keep(when_id=0))],
)
def test_a_session_without_keys_of_its_own_is_not_told(flags, keep, stage):
    stage.publish(stage.session(), stage.topic(0), flags, keep=keep)
    assert told_again(stage, 0) == []


def test_a_session_that_has_left_is_told_no_more(stage):
    """And the shard has heard that it has: in the new pair, if not in the one before."""
    one, other = stage.session(), stage.session()
    for session in (one, other):
        stage.publish(session, stage.topic(0), RETAIN, keep=Keep(weak=True))
    stage.turns()
    stage["shard-0"].silent = True
    stage.gateway.requests.detach(one, "gone")
    assert told_again(stage, 0) == [other.id]
    assert [leave.session for leave in stage["shard-0"].got if isinstance(leave, Leave)] == [one.id]
