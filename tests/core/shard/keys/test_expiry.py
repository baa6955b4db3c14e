"""Keys that expire (semantics: `retain: n`)."""

import pytest
from shard_harness import WALL, Stage, publish, subscribe

from fox_shard.backplane.frames import ACKNOWLEDGE, RETAIN, Event, Keep, Retained
from fox_shard.shard import rows
from fox_shard.shard.keys.expiry import Expiry
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN


@pytest.mark.parametrize("order", [(3.0, 5.0), (5.0, 3.0)])
def test_a_key_is_looked_at_once_at_the_soonest_time(order):
    expiry = Expiry()
    for when in order:
        expiry.plan(("realm1", "a"), when)
    assert expiry.next == 3.0
    assert expiry.due(2.9, 10) == []
    assert expiry.due(6.0, 10) == [("realm1", "a")]
    assert expiry.due(6.0, 10) == []


def test_not_more_are_looked_at_than_is_asked_for():
    expiry = Expiry()
    for number in (3, 1, 2):
        expiry.plan(("realm1", str(number)), float(number))
    assert expiry.due(9.0, 2) == [("realm1", "1"), ("realm1", "2")]
    assert expiry.next == 3.0


@pytest.fixture
def stage():
    stage = Stage(gateways=2)
    stage.say("gateway-1", subscribe())
    return stage


def keep(seconds, *, request=1, **more):
    return publish(request=request, flags=KEEP, keep=Keep(seconds) if seconds else None, **more)


def keys(stage):
    stage.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in stage.got("gateway-1", Retained)]


def stored(stage):
    return [key for key in stage.disk.rows if key.startswith(rows.KEY)]


def test_a_key_is_there_until_its_time_has_come(stage):
    stage.say("gateway-0", keep(10.0))
    stage.pass_time(9.7)
    assert (keys(stage), len(stored(stage))) == ([b"[1]"], 1)
    stage.pass_time(0.5)
    assert (keys(stage), stored(stage), stage.shard.retention.keys_held) == ([], [], 0)
    # It was an event like any other; that it is gone is none.
    assert len(stage.got("gateway-1", Event)) == 1


@pytest.mark.parametrize(
    ("then", "gone_after"),
    [(None, None), (20.0, 25.0), (2.0, 8.0)],
    ids=["never", "later", "sooner"],
)
def test_the_last_publish_says_when_a_key_expires(then, gone_after, stage):
    stage.say("gateway-0", keep(10.0))
    stage.pass_time(5)
    stage.say("gateway-0", keep(then, request=2, args=b"[2]"))
    passed = 5.0
    while passed < 40 and (gone_after is None or passed < gone_after - 1):
        assert keys(stage) == [b"[2]"]
        stage.pass_time(0.5)
        passed += 0.5
    stage.pass_time(2)
    assert keys(stage) == ([b"[2]"] if gone_after is None else [])


def test_a_key_that_expired_while_the_shard_was_down_does_not_come_back(stage):
    stage.say("gateway-0", keep(10.0), keep(60.0, request=2, topic="a.c"))
    stage.now += 20
    stage.restart()
    stage.turns()
    assert stage.shard.retention.keys_held == 1
    stage.pass_time(41)
    assert stage.shard.retention.keys_held == 0
    assert stored(stage) == []


def test_a_key_expires_whose_change_is_not_durable_yet(stage):
    stage.disk.held = True
    stage.say("gateway-0", keep(1.0))
    stage.pass_time(2)
    assert stage.shard.retention.keys_held == 0
    stage.disk.held = False
    stage.commit()
    assert (stage.shard.retention.keys_held, stored(stage)) == (0, [])


def test_the_row_says_when(stage):
    stage.say("gateway-0", keep(10.0))
    (row,) = stored(stage)
    kept = rows.decode_event(stage.disk.rows[row]).publish.keep
    assert kept.expires - WALL == pytest.approx(stage.now + 10, abs=1)


def test_a_key_in_memory_expires_too():
    stage = Stage(gateways=2, unstored=("realm1",))
    stage.say("gateway-0", keep(10.0))
    stage.pass_time(11)
    assert stage.shard.retention.keys_held == 0


def test_a_key_whose_time_came_while_a_later_value_waited_for_the_disk_in_vain(stage):
    """It was looked at when it was another; now that it is back, it has to go."""
    stage.say("gateway-0", keep(3.0))
    stage.disk.held = True
    stage.say("gateway-0", keep(0, request=2, args=b"[2]"))
    stage.pass_time(4.0)
    stage.disk.trouble = "disk full"
    stage.disk.held = False
    stage.turns()
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)
    assert (keys(stage), stored(stage), stage.shard.retention.keys_held) == ([], [], 0)
