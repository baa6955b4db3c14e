"""Changes that those who follow the state may not have heard of when a shard dies."""

import pytest
from shard_harness import REALM, Stage, leave, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Again,
    Keep,
    Selected,
    Selection,
    Settled,
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


def test_it_is_told_of_also_if_the_shard_dies_again_before_that(stage):
    stage.say("gateway-0", publish(flags=KEEP, keep=Keep(5.0)), reliable=True)
    stage.pass_time(2)
    stage.now += 10
    stage.restart()
    stage["gateway-1"].deaf = True
    stage.pass_time(2)
    stage.restart(79)
    stage.got("gateway-1")
    stage.pass_time(6)
    assert [removed for _, removed in told(stage)] == ["expired"]
    stage.say("gateway-0", publish("b", request=2, flags=KEEP), reliable=True)
    stage.pass_time(2)
    stage.say("gateway-0", publish("c", request=3, flags=KEEP), reliable=True)
    assert [key[-1:] for key in untold(stage)] == [b"c"]


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


# What is settled


def newcomer(token):
    """Before it is answered its gateway hears what is settled."""
    return Subscribe(token, REALM, "=else", replay=False)


def again(stage):
    """(id, what was settled before) of each change that came again."""
    settled, found = 0, []
    for frame in stage.got("gateway-1", Settled | Again):
        if type(frame) is Settled:
            settled = frame.publication
        else:
            found.append((frame.event.event.publication, settled))
    return found


def test_a_key_that_goes_while_it_changes_is_not_settled_before_it_is_told(stage):
    stage.disk.held = True
    stage.say("gateway-0", publish(flags=KEEP, session=5, keep=Keep(weak=True)), reliable=True)
    earlier = stage.disk.waiting[:]
    stage.kill("gateway-0")
    stage.pass_time(6)
    stage.join("gateway-0", incarnation=2)
    stage.turns()
    stage.say("gateway-0", publish("b", session=6, flags=KEEP), reliable=True)
    assert len(earlier) == 1
    later = stage.disk.waiting[1:]
    stage.disk.waiting = earlier
    stage.commit()
    stage.turns()
    assert told(stage) == [(b"[1]", "")]
    stage.got("gateway-1")
    stage.say("gateway-1", newcomer(7))
    [settled] = stage.got("gateway-1", Settled)
    stage["gateway-1"].deaf = True
    stage.disk.waiting = later
    stage.commit()
    stage.turns()
    stage.restart()
    stage.disk.held = False
    stage.pass_time(6)
    assert settled.publication < min(publication for publication, _ in again(stage))


def test_what_is_to_be_told_again_is_not_settled_before_that(stage):
    stage.say("gateway-0", publish(flags=KEEP, session=5, keep=Keep(weak=True)), reliable=True)
    stage.pass_time(2)
    stage["gateway-1"].deaf = True
    stage.say("gateway-0", leave(5), reliable=True)
    stage.kill("gateway-0")
    stage.restart()
    stage["gateway-1"].got.clear()
    stage.turns()
    # It has replayed; the others have not, and what it says now waits for them.
    stage.say("gateway-1", publish("b", session=6, flags=KEEP), reliable=True)
    stage.say("gateway-1", newcomer(7))
    stage.pass_time(6)
    [(publication, settled)] = again(stage)
    assert publication > settled


def test_a_gateway_that_goes_without_having_been_sent_it_is_not_waited_for(stage):
    stage.kill("gateway-1")
    stage.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert len(untold(stage)) == 1
    stage.pass_time(6)
    # What is dropped goes with the next transaction.
    stage.say("gateway-0", publish("b", request=2, flags=KEEP), reliable=True)
    assert untold(stage) == []
