"""Keys that expire (semantics: `retain: n`)."""

import pytest
from shard_harness import WALL, ShardHarness, publish, subscribe

from fox_shard.backplane.frames import ACKNOWLEDGE, RETAIN, Event, Retained, RetainOptions
from fox_shard.shard import rows
from fox_shard.shard.keys.expiry import Expiry
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN


@pytest.mark.parametrize("order", [(3.0, 5.0), (5.0, 3.0)])
def test_a_key_is_due_once_at_its_earliest_time(order):
    expiry = Expiry()
    for when in order:
        expiry.plan(("realm1", "a"), when)
    assert expiry.next == 3.0
    assert expiry.due(2.9, 10) == []
    assert expiry.due(6.0, 10) == [("realm1", "a")]
    assert expiry.due(6.0, 10) == []


def test_no_more_keys_are_due_than_were_asked_for():
    expiry = Expiry()
    for number in (3, 1, 2):
        expiry.plan(("realm1", str(number)), float(number))
    assert expiry.due(9.0, 2) == [("realm1", "1"), ("realm1", "2")]
    assert expiry.next == 3.0


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe())
    return harness


def retain(seconds, *, request=1, **more):
    return publish(
        request=request, flags=KEEP, retain=RetainOptions(seconds) if seconds else None, **more
    )


def keys(harness):
    harness.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in harness.got("gateway-1", Retained)]


def stored(harness):
    return [key for key in harness.disk.rows if key.startswith(rows.KEY)]


def test_a_key_exists_until_its_lifetime_is_over(harness):
    harness.say("gateway-0", retain(10.0))
    harness.pass_time(9.7)
    assert (keys(harness), len(stored(harness))) == ([b"[1]"], 1)
    harness.pass_time(0.5)
    assert (keys(harness), stored(harness), harness.shard.retained_keys.keys_held) == ([], [], 0)
    # The publish was an event like any other; the expiry is none.
    assert len(harness.got("gateway-1", Event)) == 1


@pytest.mark.parametrize(
    ("then", "gone_after"),
    [(None, None), (20.0, 25.0), (2.0, 8.0)],
    ids=["never", "later", "sooner"],
)
def test_the_last_publish_decides_when_a_key_expires(then, gone_after, harness):
    harness.say("gateway-0", retain(10.0))
    harness.pass_time(5)
    harness.say("gateway-0", retain(then, request=2, args=b"[2]"))
    passed = 5.0
    while passed < 40 and (gone_after is None or passed < gone_after - 1):
        assert keys(harness) == [b"[2]"]
        harness.pass_time(0.5)
        passed += 0.5
    harness.pass_time(2)
    assert keys(harness) == ([b"[2]"] if gone_after is None else [])


def test_a_key_that_expired_while_the_shard_was_down_does_not_come_back(harness):
    harness.say("gateway-0", retain(10.0), retain(60.0, request=2, topic="a.c"))
    harness.now += 20
    harness.restart()
    harness.turns()
    assert harness.shard.retained_keys.keys_held == 1
    harness.pass_time(41)
    assert harness.shard.retained_keys.keys_held == 0
    assert stored(harness) == []


def test_a_key_expires_even_if_its_value_is_not_durable_yet(harness):
    harness.disk.held = True
    harness.say("gateway-0", retain(1.0))
    harness.pass_time(2)
    assert harness.shard.retained_keys.keys_held == 0
    harness.disk.held = False
    harness.commit()
    assert (harness.shard.retained_keys.keys_held, stored(harness)) == (0, [])


def test_the_row_of_a_key_has_the_time_of_expiry(harness):
    harness.say("gateway-0", retain(10.0))
    (row,) = stored(harness)
    kept = rows.decode_event(harness.disk.rows[row]).publish.retain
    assert kept.expires - WALL == pytest.approx(harness.now + 10, abs=1)


def test_a_key_in_memory_expires_too():
    harness = ShardHarness(gateways=2, unstored=("realm1",))
    harness.say("gateway-0", retain(10.0))
    harness.pass_time(11)
    assert harness.shard.retained_keys.keys_held == 0


def test_an_expired_key_that_a_failed_commit_restores_is_erased(harness):
    """When the key was due, it had a later value without an expiry, whose commit then failed."""
    harness.say("gateway-0", retain(3.0))
    harness.disk.held = True
    harness.say("gateway-0", retain(0, request=2, args=b"[2]"))
    harness.pass_time(4.0)
    harness.disk.trouble = "disk full"
    harness.disk.held = False
    harness.turns()
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)
    assert (keys(harness), stored(harness), harness.shard.retained_keys.keys_held) == ([], [], 0)
