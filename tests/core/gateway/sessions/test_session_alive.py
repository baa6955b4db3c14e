"""SessionAlive: a gateway names to a restarted shard the sessions that may have something there."""

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import CONDITION, RETAIN, Leave, RetainOptions, SessionAlive


@pytest.fixture
def harness():
    return GatewayHarness(shards=2)


def named_after_restart(harness, shard):
    """Restart the shard, and return the sessions that the gateway names to it."""
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
def test_a_session_is_named_to_the_shard_that_keeps_something_of_it(retain, harness):
    session = harness.session()
    harness.publish(session, harness.topic(1), RETAIN, retain=retain)
    assert named_after_restart(harness, 0) == []
    assert named_after_restart(harness, 1) == [session.id]


@pytest.mark.parametrize(
    ("flags", "retain"),
    [
        (0, None),
        (RETAIN, None),
        (RETAIN, RetainOptions(5.0)),
        (RETAIN | CONDITION, RetainOptions(when_id=0)),
    ],
)
def test_a_session_without_keys_of_its_own_is_not_named(flags, retain, harness):
    harness.publish(harness.session(), harness.topic(0), flags, retain=retain)
    assert named_after_restart(harness, 0) == []


def test_a_session_that_has_ended_is_not_named(harness):
    """The shard hears of the end in the new pair, because it did not in the one before."""
    one, other = harness.session(), harness.session()
    for session in (one, other):
        harness.publish(session, harness.topic(0), RETAIN, retain=RetainOptions(weak=True))
    harness.turns()
    harness["shard-0"].silent = True
    harness.gateway.requests.session_ended(one, "gone")
    assert named_after_restart(harness, 0) == [other.id]
    assert [leave.session for leave in harness["shard-0"].got if isinstance(leave, Leave)] == [
        one.id
    ]
