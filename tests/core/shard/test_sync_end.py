"""The end of the sync: what was sent again is worked off over several turns, before all else."""

import pytest
from limited_turns import KEEP, keeps, limit, published, settle
from shard_harness import ShardHarness, publish, subscribe, watched_harness

from fox_shard.backplane.frames import (
    CONDITION,
    Again,
    Event,
    RetainOptions,
    SessionAlive,
    Subscribe,
    Subscribed,
)


def restarted(units, *, many=30):
    """Return a harness whose shard has just restarted; gateway-0 sends all of its publishes again.

    They were recorded, but the gateway does not know that yet.
    """
    harness = watched_harness()
    harness["gateway-0"].deaf = True
    harness.say("gateway-0", *keeps(*range(1, many + 1)), reliable=True)
    harness.say("gateway-0")
    harness.got("gateway-1")
    harness.restart()
    limit(harness, units)
    return harness


def until(holds, harness, limit_=300):
    turns = 0
    harness.shard.tick(harness.now)
    while not holds():
        harness.turn()
        turns += 1
        assert turns < limit_
    return turns


def is_ready(harness):
    return harness.shard.health()["status"] != "unavailable"


def again(harness):
    return [one.event.publish.request for one in harness.got("gateway-1", Again)]


@pytest.mark.parametrize("units", [1, 4, 20])
def test_frames_that_were_sent_again_are_handled_over_several_turns_in_order(units):
    harness = restarted(units)
    assert until(lambda: is_ready(harness), harness) > 30 // units
    settle(harness)
    assert again(harness) == published(harness) == [*range(1, 31)]


def test_the_shard_is_unavailable_and_serves_nobody_until_all_of_them_are_handled():
    harness = restarted(2)
    until(lambda: harness.shard.recovery.busy, harness)
    harness.send("gateway-1", publish("other", session=2, request=99))
    harness.send("gateway-1", subscribe("=new", token=5))
    seen = 0
    while not is_ready(harness):
        assert harness.got("gateway-1", Subscribed) == []
        seen += len(again(harness))
        harness.turn()
    settle(harness)
    assert seen > 20
    assert [one.token for one in harness.got("gateway-1", Subscribed)] == [5]
    assert [one.publish.request for one in harness.got("gateway-1", Event)] == [99]


@pytest.mark.parametrize("turns", range(1, 30, 4))
def test_a_pair_that_ends_meanwhile_has_each_frame_handled_once(turns):
    harness = restarted(2)
    until(lambda: harness.shard.recovery.busy, harness)
    for _ in range(turns):
        harness.turn()
    harness["gateway-0"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    harness.turns(6)
    settle(harness)
    assert is_ready(harness)
    assert sorted(set(published(harness))) == [*range(1, 31)]
    assert sorted(set(again(harness))) == [*range(1, 31)]
    assert harness.shard.retained_keys.keys_held == 30
    assert harness.shard.peers["gateway-0"].caught_up


@pytest.mark.parametrize("turns", range(1, 30, 4))
def test_a_gateway_that_goes_for_good_meanwhile_is_not_waited_for(turns):
    harness = restarted(2)
    until(lambda: harness.shard.recovery.busy, harness)
    for _ in range(turns):
        harness.turn()
    harness.kill("gateway-0")
    harness.pass_time(3 * harness.terms.peer_timeout)
    settle(harness)
    assert is_ready(harness)
    assert not harness.shard.peers["gateway-0"].waiting


@pytest.mark.parametrize("units", [1, 10])
def test_no_waiter_of_a_session_that_has_ended_is_let_through(units):
    """Sessions 1 to 40 hold a lock each, and all others but 99 wait; only 99 is alive then."""
    harness = ShardHarness(gateways=2)
    weak = RetainOptions(weak=True)
    held = [publish(f"k.{n}", session=n, request=n, flags=KEEP, retain=weak) for n in range(1, 41)]
    harness.say("gateway-0", *held, reliable=True)
    gone = RetainOptions(weak=True, watch=True, when_id=0)
    waiting = [
        publish(f"k.{n}", session=s, request=100 + n, flags=KEEP | CONDITION, retain=gone)
        for n in range(1, 41)
        for s in (n % 40 + 1, 99)
    ]
    harness.say("gateway-0", *waiting, reliable=True)
    assert harness.shard.health()["waiting_publishes"] == 80
    harness["gateway-0"].replay = [SessionAlive(99)]
    harness["gateway-1"].replay = [subscribe("*#")]
    harness.restart()
    limit(harness, units)
    assert until(lambda: is_ready(harness), harness, 600) > 40 // units
    settle(harness)
    held_by = {
        one.publish.session
        for realm in harness.shard.retained_keys.realms
        for topic in (f"k.{n}" for n in range(1, 41))
        if (one := realm.keys.get(topic))
    }
    assert held_by == {99}
    events = [one.publish.session for one in harness.got("gateway-1", Event)]
    assert set(events) == {99}


def test_a_snapshot_waits_for_what_was_sent_again():
    harness = restarted(2)
    until(lambda: harness.shard.recovery.busy, harness)
    harness.send("gateway-1", Subscribe(5, "realm1", "*#", replay=True, once=True))
    until(lambda: harness.got("gateway-1", Subscribed), harness)
    assert is_ready(harness)
