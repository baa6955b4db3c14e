"""Unannounced changes, which state streams may have missed when a shard dies."""

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


def state_stream(pattern="*#"):
    return Subscribe(0, REALM, pattern, replay=False, selector=SelectorSpec(ID, state=True))


@pytest.fixture
def harness():
    """A harness whose gateway-1 has a state stream."""
    harness = ShardHarness(gateways=2)
    harness["gateway-1"].replay = [state_stream()]
    harness.say("gateway-1", state_stream())
    return harness


def unannounced(harness):
    return [key for key in harness.disk.rows if key.startswith(rows.UNANNOUNCED)]


def announced(harness):
    """Return [(args, removed)] of the changes that gateway-1 has received, or received again."""
    frames = harness.got("gateway-1", SelectedEvent | Again)
    changes = [getattr(frame, "event", None) if type(frame) is Again else frame for frame in frames]
    return [(one.event.publish.args, one.removed) for one in changes]


def test_a_confirmed_change_leaves_no_row(harness):
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert announced(harness) == [(b"[1]", "")]
    harness.say("gateway-0", publish("b", flags=KEEP, request=2), reliable=True)
    harness.pass_time(2)
    # Dropped rows are deleted in the next transaction.
    harness.say("gateway-0", publish("c", flags=KEEP, request=3), reliable=True)
    assert [key[-1:] for key in unannounced(harness)] == [b"c"]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([publish(flags=KEEP, request=2, args=b"[2]")], [(b"[2]", "")]),
        ([publish(flags=KEEP | EMPTY, request=2, args=b"")], [(b"", "deleted")]),
        ([leave(1)], [(b"", "weak")]),
    ],
    ids=["changed", "erased", "weak"],
)
def test_a_missed_change_is_announced_again_even_if_its_publisher_has_gone(
    frames, expected, harness
):
    weak = publish(flags=KEEP, retain=RetainOptions(weak=True))
    harness.say("gateway-0", weak, reliable=True)
    harness.pass_time(2)
    assert announced(harness) == [(b"[1]", "")]
    harness["gateway-1"].deaf = True
    harness.say("gateway-0", *frames, reliable=True)
    harness.kill("gateway-0")
    harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert announced(harness)[-1:] == expected


def test_the_expiry_of_a_key_while_its_shard_was_down_is_announced(harness):
    harness.say("gateway-0", publish(flags=KEEP, retain=RetainOptions(5.0)), reliable=True)
    harness.pass_time(2)
    assert announced(harness) == [(b"[1]", "")]
    harness.now += 10
    harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert announced(harness) == [(b"", "expired")]


def test_an_expiry_is_announced_even_if_the_shard_dies_again_before_that(harness):
    harness.say("gateway-0", publish(flags=KEEP, retain=RetainOptions(5.0)), reliable=True)
    harness.pass_time(2)
    harness.now += 10
    harness.restart()
    harness["gateway-1"].deaf = True
    harness.pass_time(2)
    harness.restart(79)
    harness.got("gateway-1")
    harness.pass_time(6)
    assert [removed for _, removed in announced(harness)] == ["expired"]
    harness.say("gateway-0", publish("b", request=2, flags=KEEP), reliable=True)
    harness.pass_time(2)
    harness.say("gateway-0", publish("c", request=3, flags=KEEP), reliable=True)
    assert [key[-1:] for key in unannounced(harness)] == [b"c"]


def test_nothing_is_noted_without_a_state_stream():
    harness = ShardHarness(gateways=2)
    harness["gateway-1"].deaf = True
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert unannounced(harness) == []


def test_a_failed_change_is_not_announced(harness):
    harness.disk.trouble = "disk full"
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    harness.disk.trouble = ""
    harness.pass_time(2)
    assert (announced(harness), unannounced(harness)) == ([], [])
    harness.say("gateway-0", publish(flags=KEEP, request=2, args=b"[2]"), reliable=True)
    assert announced(harness) == [(b"[2]", "")]


# Settled changes


def newcomer(token):
    """Return a new subscription. Before its answer, the gateway hears what is settled."""
    return Subscribe(token, REALM, "=else", replay=False)


def again(harness):
    """Return [(publication id, id up to which all was settled)] of the changes sent again."""
    settled, found = 0, []
    for frame in harness.got("gateway-1", Settled | Again):
        if type(frame) is Settled:
            settled = frame.publication
        else:
            found.append((frame.event.event.publication, settled))
    return found


def test_the_end_of_an_uncommitted_key_is_not_settled_before_it_is_announced(harness):
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
    assert announced(harness) == [(b"[1]", "")]
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


def test_a_change_that_is_to_be_announced_again_is_not_settled_before(harness):
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
    # gateway-1 has replayed and gateway-0 has not, so what gateway-1 sends now waits.
    harness.say("gateway-1", publish("b", session=6, flags=KEEP), reliable=True)
    harness.say("gateway-1", newcomer(7))
    harness.pass_time(6)
    [(publication, settled)] = again(harness)
    assert publication > settled


def test_a_lost_gateway_that_was_not_sent_the_change_is_not_waited_for(harness):
    harness.kill("gateway-1")
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert len(unannounced(harness)) == 1
    harness.pass_time(6)
    # Dropped rows are deleted in the next transaction.
    harness.say("gateway-0", publish("b", request=2, flags=KEEP), reliable=True)
    assert unannounced(harness) == []
