"""What a gateway that returns to a shard tells of its sessions that may have something there."""

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import CONDITION, RETAIN, Leave, RetainOptions, SessionAlive


@pytest.fixture
def harness():
    return GatewayHarness(shards=2)


def told_again(harness, shard):
    """The sessions that a shard hears of when it has restarted."""
    name = f"shard-{shard}"
    harness.kill(name)
    harness.join(name, incarnation=2)
    return [one.session for one in harness.got(name, SessionAlive)]


@pytest.mark.parametrize(
    "retain",
    [
        RetainOptions(weak=True),
        RetainOptions(will=b"x"),
        RetainOptions(when_id=0, watch=True),
        RetainOptions(weak=True, sequence=True),
    ],
)
def test_a_session_is_told_to_the_shard_that_has_something_of_it(retain, harness):
    session = harness.session()
    harness.publish(session, harness.topic(1), RETAIN, retain=retain)
    assert told_again(harness, 0) == []
    assert told_again(harness, 1) == [session.id]


@pytest.mark.parametrize(
    ("flags", "retain"),
    [
        (0, None),
        (RETAIN, None),
        (RETAIN, RetainOptions(5.0)),
        (RETAIN | CONDITION, RetainOptions(when_id=0)),
    ],
)
def test_a_session_without_keys_of_its_own_is_not_told(flags, retain, harness):
    harness.publish(harness.session(), harness.topic(0), flags, retain=retain)
    assert told_again(harness, 0) == []


def test_a_session_that_has_left_is_told_no_more(harness):
    """And the shard has heard that it has: in the new pair, if not in the one before."""
    one, other = harness.session(), harness.session()
    for session in (one, other):
        harness.publish(session, harness.topic(0), RETAIN, retain=RetainOptions(weak=True))
    harness.turns()
    harness["shard-0"].silent = True
    harness.gateway.requests.session_ended(one, "gone")
    assert told_again(harness, 0) == [other.id]
    assert [leave.session for leave in harness["shard-0"].got if isinstance(leave, Leave)] == [
        one.id
    ]
