"""Changes that those who follow the state may not have heard of when a shard dies."""

import pytest
from shard_harness import REALM, ShardHarness, leave, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Again,
    RetainOptions,
    SelectedEvent,
    SelectorSpec,
    Settled,
    Subscribe,
)
from fox_shard.shard import rows
from fox_shard.topics.ids import pattern_id

KEEP = ACKNOWLEDGE | RETAIN
ID = pattern_id(REALM, "subscription", "state")


def follow(pattern="*#"):
    return Subscribe(0, REALM, pattern, replay=False, selector=SelectorSpec(ID, state=True))


@pytest.fixture
def harness():
    """gateway-1 follows the state."""
    harness = ShardHarness(gateways=2)
    harness["gateway-1"].replay = [follow()]
    harness.say("gateway-1", follow())
    return harness


def unannounced(harness):
    return [key for key in harness.disk.rows if key.startswith(rows.UNANNOUNCED)]


def told(harness):
    """[(args, removed)] of what gateway-1 was told, also again."""
    frames = harness.got("gateway-1", SelectedEvent | Again)
    changes = [getattr(frame, "event", None) if type(frame) is Again else frame for frame in frames]
    return [(one.event.publish.args, one.removed) for one in changes]


def test_what_was_told_and_confirmed_leaves_nothing(harness):
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert told(harness) == [(b"[1]", "")]
    harness.say("gateway-0", publish("b", flags=KEEP, request=2), reliable=True)
    harness.pass_time(2)
    # What is dropped goes with the next transaction.
    harness.say("gateway-0", publish("c", flags=KEEP, request=3), reliable=True)
    assert [key[-1:] for key in unannounced(harness)] == [b"c"]


@pytest.mark.parametrize(
    ("deeds", "expected"),
    [
        ([publish(flags=KEEP, request=2, args=b"[2]")], [(b"[2]", "")]),
        ([publish(flags=KEEP | EMPTY, request=2, args=b"")], [(b"", "deleted")]),
        ([leave(1)], [(b"", "weak")]),
    ],
    ids=["changed", "erased", "weak"],
)
def test_what_was_not_heard_is_told_again_although_its_publisher_has_gone(deeds, expected, harness):
    weak = publish(flags=KEEP, retain=RetainOptions(weak=True))
    harness.say("gateway-0", weak, reliable=True)
    harness.pass_time(2)
    assert told(harness) == [(b"[1]", "")]
    harness["gateway-1"].deaf = True
    harness.say("gateway-0", *deeds, reliable=True)
    harness.kill("gateway-0")
    harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert told(harness)[-1:] == expected


def test_a_key_that_expired_while_its_shard_was_down_is_told_of(harness):
    harness.say("gateway-0", publish(flags=KEEP, retain=RetainOptions(5.0)), reliable=True)
    harness.pass_time(2)
    assert told(harness) == [(b"[1]", "")]
    harness.now += 10
    harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert told(harness) == [(b"", "expired")]


def test_it_is_told_of_also_if_the_shard_dies_again_before_that(harness):
    harness.say("gateway-0", publish(flags=KEEP, retain=RetainOptions(5.0)), reliable=True)
    harness.pass_time(2)
    harness.now += 10
    harness.restart()
    harness["gateway-1"].deaf = True
    harness.pass_time(2)
    harness.restart(79)
    harness.got("gateway-1")
    harness.pass_time(6)
    assert [removed for _, removed in told(harness)] == ["expired"]
    harness.say("gateway-0", publish("b", request=2, flags=KEEP), reliable=True)
    harness.pass_time(2)
    harness.say("gateway-0", publish("c", request=3, flags=KEEP), reliable=True)
    assert [key[-1:] for key in unannounced(harness)] == [b"c"]


def test_nothing_is_noted_where_nobody_follows():
    harness = ShardHarness(gateways=2)
    harness["gateway-1"].deaf = True
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert unannounced(harness) == []


def test_a_change_that_failed_is_not_told(harness):
    harness.disk.trouble = "disk full"
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    harness.disk.trouble = ""
    harness.pass_time(2)
    assert (told(harness), unannounced(harness)) == ([], [])
    harness.say("gateway-0", publish(flags=KEEP, request=2, args=b"[2]"), reliable=True)
    assert told(harness) == [(b"[2]", "")]


# What is settled


def newcomer(token):
    """Before it is answered its gateway hears what is settled."""
    return Subscribe(token, REALM, "=else", replay=False)


def again(harness):
    """(id, what was settled before) of each change that came again."""
    settled, found = 0, []
    for frame in harness.got("gateway-1", Settled | Again):
        if type(frame) is Settled:
            settled = frame.publication
        else:
            found.append((frame.event.event.publication, settled))
    return found


def test_a_key_that_goes_while_it_changes_is_not_settled_before_it_is_told(harness):
    harness.disk.held = True
    harness.say(
        "gateway-0", publish(flags=KEEP, session=5, retain=RetainOptions(weak=True)), reliable=True
    )
    earlier = harness.disk.waiting[:]
    harness.kill("gateway-0")
    harness.pass_time(6)
    harness.join("gateway-0", incarnation=2)
    harness.turns()
    harness.say("gateway-0", publish("b", session=6, flags=KEEP), reliable=True)
    assert len(earlier) == 1
    later = harness.disk.waiting[1:]
    harness.disk.waiting = earlier
    harness.commit()
    harness.turns()
    assert told(harness) == [(b"[1]", "")]
    harness.got("gateway-1")
    harness.say("gateway-1", newcomer(7))
    [settled] = harness.got("gateway-1", Settled)
    harness["gateway-1"].deaf = True
    harness.disk.waiting = later
    harness.commit()
    harness.turns()
    harness.restart()
    harness.disk.held = False
    harness.pass_time(6)
    assert settled.publication < min(publication for publication, _ in again(harness))


def test_what_is_to_be_told_again_is_not_settled_before_that(harness):
    harness.say(
        "gateway-0", publish(flags=KEEP, session=5, retain=RetainOptions(weak=True)), reliable=True
    )
    harness.pass_time(2)
    harness["gateway-1"].deaf = True
    harness.say("gateway-0", leave(5), reliable=True)
    harness.kill("gateway-0")
    harness.restart()
    harness["gateway-1"].got.clear()
    harness.turns()
    # It has replayed; the others have not, and what it says now waits for them.
    harness.say("gateway-1", publish("b", session=6, flags=KEEP), reliable=True)
    harness.say("gateway-1", newcomer(7))
    harness.pass_time(6)
    [(publication, settled)] = again(harness)
    assert publication > settled


def test_a_gateway_that_goes_without_having_been_sent_it_is_not_waited_for(harness):
    harness.kill("gateway-1")
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert len(unannounced(harness)) == 1
    harness.pass_time(6)
    # What is dropped goes with the next transaction.
    harness.say("gateway-0", publish("b", request=2, flags=KEEP), reliable=True)
    assert unannounced(harness) == []
