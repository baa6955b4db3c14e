"""Changes that those who follow the state may not have heard of when a shard dies."""

import pytest
from shard_stage import REALM, Stage, leave, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Again,
    Keep,
    Selected,
    Selection,
    Subscribe,
)
from fox_shard.shard import rows
from fox_shard.topics.ids import pattern_id

KEEP = ACKNOWLEDGE | RETAIN
ID = pattern_id(REALM, "subscription", "state")


def follow(pattern="*#"):
    return Subscribe(0, REALM, pattern, replay=False, selection=Selection(ID, state=True))


@pytest.fixture
def stage():
    """gateway-1 follows the state."""
    stage = Stage(gateways=2)
    stage["gateway-1"].replay = [follow()]
    stage.say("gateway-1", follow())
    return stage


def untold(stage):
    return [key for key in stage.disk.rows if key.startswith(rows.UNTOLD)]


def told(stage):
    """[(args, removed)] of what gateway-1 was told, also again."""
    frames = stage.got("gateway-1", Selected | Again)
    changes = [getattr(frame, "event", None) if type(frame) is Again else frame for frame in frames]
    return [(one.event.publish.args, one.removed) for one in changes]


def test_what_was_told_and_confirmed_leaves_nothing(stage):
    stage.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert told(stage) == [(b"[1]", "")]
    stage.say("gateway-0", publish("b", flags=KEEP, request=2), reliable=True)
    stage.pass_time(2)
    # What is dropped goes with the next transaction.
    stage.say("gateway-0", publish("c", flags=KEEP, request=3), reliable=True)
    assert [key[-1:] for key in untold(stage)] == [b"c"]


@pytest.mark.parametrize(
    ("deeds", "expected"),
    [
        ([publish(flags=KEEP, request=2, args=b"[2]")], [(b"[2]", "")]),
        ([publish(flags=KEEP | EMPTY, request=2, args=b"")], [(b"", "deleted")]),
        ([leave(1)], [(b"", "weak")]),
    ],
    ids=["changed", "erased", "weak"],
)
def test_what_was_not_heard_is_told_again_although_its_publisher_has_gone(deeds, expected, stage):
    weak = publish(flags=KEEP, keep=Keep(weak=True))
    stage.say("gateway-0", weak, reliable=True)
    stage.pass_time(2)
    assert told(stage) == [(b"[1]", "")]
    stage["gateway-1"].deaf = True
    stage.say("gateway-0", *deeds, reliable=True)
    stage.kill("gateway-0")
    stage.restart()
    stage.pass_time(stage.terms.peer_timeout + 1)
    assert told(stage)[-1:] == expected


def test_a_key_that_expired_while_its_shard_was_down_is_told_of(stage):
    stage.say("gateway-0", publish(flags=KEEP, keep=Keep(5.0)), reliable=True)
    stage.pass_time(2)
    assert told(stage) == [(b"[1]", "")]
    stage.now += 10
    stage.restart()
    stage.pass_time(stage.terms.peer_timeout + 1)
    assert told(stage) == [(b"", "expired")]


def test_nothing_is_noted_where_nobody_follows():
    stage = Stage(gateways=2)
    stage["gateway-1"].deaf = True
    stage.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert untold(stage) == []


def test_a_change_that_failed_is_not_told(stage):
    stage.disk.trouble = "disk full"
    stage.say("gateway-0", publish(flags=KEEP), reliable=True)
    stage.disk.trouble = ""
    stage.pass_time(2)
    assert (told(stage), untold(stage)) == ([], [])
    stage.say("gateway-0", publish(flags=KEEP, request=2, args=b"[2]"), reliable=True)
    assert told(stage) == [(b"[2]", "")]
