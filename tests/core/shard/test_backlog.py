"""The backlog: frames of a batch that wait for the next turn."""

import pytest
from limited_turns import backlog, keeps, limit, made, published, seen, settle
from shard_harness import ShardHarness, call, publish, watched_harness

from fox_shard.backplane.frames import CallError, FencePassed, FenceQuery, Forward
from fox_shard.shard.budget import TURN_UNITS
from fox_shard.shard.links.arrival import Arrival


def test_a_batch_that_costs_more_than_a_turn_is_handled_over_several_in_order():
    harness = made(4)
    harness.send("gateway-0", *keeps(*range(1, 31)), reliable=True)
    assert settle(harness) > 5
    assert seen(harness) == published(harness) == [*range(1, 31)]


def test_other_peers_are_served_while_a_long_batch_is_handled():
    harness = made(4)
    harness.send("gateway-0", *keeps(*range(1, 101)), reliable=True)
    harness.turn()
    assert backlog(harness) > 50
    harness.send("gateway-1", publish("other", session=2, request=1000))
    for _ in range(8):
        harness.turn()
    assert 1000 in seen(harness)
    assert backlog(harness) > 0


def test_a_batch_of_plain_publishes_is_not_cut_as_long_as_it_costs_less_than_a_turn():
    harness = made(TURN_UNITS)
    harness.send("gateway-0", *(publish(request=n, flags=0) for n in range(1, 10_001)))
    harness.turn()
    assert backlog(harness) == 0
    harness.turn()
    assert len(seen(harness)) == 10_000


def test_frames_behind_a_long_batch_keep_their_order():
    harness = made(2)
    for request in range(1, 41):
        harness.send("gateway-0", *keeps(request), reliable=True)
        if request % 7 == 0:
            harness.turn()
    settle(harness)
    assert seen(harness) == [*range(1, 41)]


def test_a_gateway_gets_its_credit_back_when_its_frames_are_handled():
    harness = made(1)
    harness.send("gateway-0", *keeps(*range(1, 31)), reliable=True)
    for _ in range(4):
        harness.turn()
    assert backlog(harness) > 0
    assert harness["gateway-0"].link.in_flight > 0
    settle(harness)
    assert harness["gateway-0"].link.in_flight == 0


def test_a_forwarded_call_has_not_arrived_while_it_waits():
    """Else its gateway would send a CANCEL to the home, before the home knows the call."""
    harness = made(1, shards=2)
    asked = [Forward("gateway-0", "^p.", call(request=n, procedure="p.q")) for n in range(1, 31)]
    harness.send("shard-1", *asked)
    harness.turn()
    harness.turn()
    link = harness["shard-1"].link
    assert 0 < link.handled < link.sent
    assert link.sent - link.handled >= backlog(harness, "shard-1")
    settle(harness)
    assert link.handled == link.sent


def test_frames_that_waited_when_the_pair_broke_are_sent_again_and_handled_once():
    harness = made(1)
    harness.send("gateway-0", *keeps(*range(1, 31)), reliable=True)
    for _ in range(6):
        harness.turn()
    assert 0 < backlog(harness) < 30
    harness["gateway-0"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    assert backlog(harness) == 0
    harness.turns()
    settle(harness)
    assert seen(harness) == [*range(1, 31)]
    assert sorted(published(harness)) == [*range(1, 31)]


@pytest.mark.parametrize("turns", range(3, 12))
def test_a_shard_that_dies_within_a_batch_handles_each_frame_once(turns):
    harness = watched_harness()
    limit(harness, 1)
    harness.send("gateway-0", *keeps(*range(1, 21), topic="k.~"), reliable=True)
    for _ in range(turns):
        harness.turn()
    answered = published(harness)
    harness.restart()
    harness.turns()
    limit(harness, 3)
    settle(harness)
    keys = {key for key in harness.disk.rows if key.startswith(b"k")}
    assert len(keys) == 1
    assert answered == [*range(1, len(answered) + 1)]
    assert sorted({*answered, *published(harness)}) == [*range(1, 21)]


def test_a_fence_query_about_frames_that_wait_is_answered_when_they_are_handled():
    harness = made(2)
    harness.send("gateway-0", *keeps(*range(1, 31)), reliable=True)
    last = harness["gateway-0"].link.last
    harness.turn()
    epoch = harness.shard.peers["gateway-0"].link.peer_epoch
    harness.send("gateway-1", FenceQuery("gateway-0", epoch, last))
    answered_at = None
    for turn in range(100):
        harness.turn()
        if harness.got("gateway-1", FencePassed):
            answered_at = turn
            break
        assert backlog(harness) or turn < 60
    assert answered_at is not None
    assert backlog(harness) == 0


@pytest.mark.parametrize("units", [1, 40, 100])
def test_a_fence_query_about_frames_that_waited_for_the_pair_is_answered_behind_all_of_them(units):
    """They have no numbers when the fence is made, so it names 1, which stands for all of them."""
    harness = made(1)
    harness["gateway-0"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    harness.send("gateway-0", *keeps(*range(1, 31)), reliable=True)
    harness.send("gateway-1", FenceQuery("gateway-0", harness["gateway-0"].link.epoch, 1))
    harness.shard.tick(harness.now)
    while not backlog(harness):
        harness.turn()
    limit(harness, units)
    while backlog(harness) > 3:
        harness.turn()
    harness.disk.held = True
    for _ in range(10):
        harness.turn()
    assert backlog(harness) == 0
    assert harness.got("gateway-1", FencePassed) == []
    harness.disk.held = False
    settle(harness)
    assert len(harness.got("gateway-1", FencePassed)) == 1
    assert seen(harness) == [*range(1, 31)]


def test_a_call_that_waited_is_answered_by_its_gateway_when_the_pair_breaks():
    harness = made(1)
    harness.send("gateway-0", *keeps(*range(1, 31)), call(request=99))
    harness.turn()
    assert backlog(harness)
    harness["gateway-0"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    harness.turns()
    settle(harness)
    assert harness.got("gateway-0", CallError) == []


def test_only_the_last_part_of_a_batch_counts_as_its_end():
    whole = Arrival([*"abcdef"], 9, 5, [1, 4], 4)
    first, rest = whole.split(3)
    assert (first.last, first.durable, first.rseq(1)) == (6, 4, 4)
    assert (rest.last, rest.durable, rest.rseq(1)) == (9, 5, 5)


def test_frames_that_waited_for_the_sync_are_handled_over_several_turns():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    limit(harness, 4)
    harness.say("gateway-0", *keeps(*range(1, 31)), reliable=True)
    assert backlog(harness) == 30
    harness.join("gateway-1")
    left = []
    while backlog(harness):
        harness.turn()
        left.append(backlog(harness))
    assert len(set(left)) > 5
    settle(harness)
    assert published(harness) == [*range(1, 31)]
