"""Attached gateways of a shard: served as others, held back by themselves, and forgotten."""

import pytest
from shard_harness import ShardHarness, publish, subscribe

from fox_shard.backplane.attached import name_of
from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RETAIN,
    Event,
    FencePassed,
    FenceQuery,
    Publish,
    Published,
    Retained,
    RetainOptions,
    SessionAlive,
    Subscribed,
    Will,
)
from fox_shard.backplane.terms import LinkEvent
from fox_shard.shard import rows
from fox_shard.testing.leftovers import mentions
from fox_shard.topics.ids import MAX_ID

GUEST, OTHER = name_of(1), name_of(2)
WEAK = RetainOptions(weak=True)


@pytest.fixture
def harness():
    return ShardHarness(gateways=1)


def attach(harness, name=GUEST, *, incarnation=1, replay=()):
    """Start an attached gateway."""
    peer = harness.join(name, incarnation, replay)
    harness.turns()
    return peer


def weak(topic="a.b", session=5, **more):
    return publish(topic, session=session, flags=ACKNOWLEDGE | RETAIN, retain=WEAK, **more)


def timeout(harness):
    return 2 * harness.terms.attached_timeout + 2 * harness.terms.heartbeat


def nothing_left(harness, name=GUEST):
    """Return what the shard still keeps of that gateway, in memory and on its disk."""
    harness.shard.notices.clear()
    harness.shard.forgotten.clear()
    on_disk = [key for key, value in harness.disk.rows.items() if name.encode() in key + value]
    return mentions(harness.shard, name, [harness]) + on_disk


def test_it_is_served_as_any_gateway(harness):
    attach(harness)
    harness.say(GUEST, subscribe("*#", token=7))
    assert harness.got(GUEST, Subscribed)
    harness.say("gateway-0", publish(), reliable=True)
    (event,) = harness.got(GUEST, Event)
    assert event.publish.topic == "a.b"
    harness.say(GUEST, publish(session=5), reliable=True)
    assert harness.got(GUEST, Published)


def test_the_shard_does_not_wait_for_one_at_its_start():
    harness = ShardHarness(gateways=1)
    assert harness.shard.recovery.synced


def test_its_sessions_end_as_those_of_a_killed_gateway(harness):
    harness.say("gateway-0", subscribe("*#"))
    attach(harness)
    harness.say(GUEST, weak(), reliable=True)
    harness.say(GUEST, Will(publish("will", session=5)))
    harness.got("gateway-0")
    harness.kill(GUEST)
    harness.pass_time(timeout(harness))
    got = harness.got("gateway-0", Event | Retained)
    assert "will" in [one.publish.topic for one in got]
    assert not harness.shard.retained_keys.keys_held


def test_nothing_of_it_is_left_some_time_after_it_has_gone(harness):
    harness.say("gateway-0", subscribe("*#"))
    attach(harness)
    harness.say(GUEST, subscribe("*#"), subscribe("=a.b"))
    harness.say(GUEST, weak(), Will(publish("will", session=5)), reliable=True)
    harness.say(GUEST, publish("a.b", session=6), reliable=True)
    harness.say("gateway-0", publish(), reliable=True)
    assert nothing_left(harness)
    harness.kill(GUEST)
    harness.pass_time(timeout(harness))
    assert nothing_left(harness) == []
    assert GUEST not in harness.shard.peers
    harness.say("gateway-0", publish(request=2), reliable=True)
    assert harness.got("gateway-0", Published)


def test_nothing_is_left_of_one_that_never_finished_its_replay(harness):
    peer = attach(harness)
    peer.link.break_off(harness.now)
    harness.turns(1)
    harness.kill(GUEST)
    harness.pass_time(timeout(harness))
    assert nothing_left(harness) == []


def test_what_waits_for_the_store_comes_first(harness):
    attach(harness)
    harness.disk.held = True
    harness.say(GUEST, weak("a.b"), weak("a.c", request=2), reliable=True)
    harness.kill(GUEST)
    harness.pass_time(timeout(harness))
    assert GUEST in harness.shard.peers
    harness.disk.held = False
    harness.pass_time(3)
    assert nothing_left(harness) == []
    assert not harness.shard.retained_keys.keys_held


def test_one_that_stands_still_is_gone_and_comes_back_in_another_incarnation(harness):
    peer = attach(harness)
    harness.say(GUEST, weak(), reliable=True)
    peer.silent = True
    harness.pass_time(timeout(harness))
    # It still runs: only the note stays that says which incarnation is gone.
    assert nothing_left(harness) != []
    assert GUEST not in harness.shard.peers
    harness.restart()
    peer.silent = False
    harness.pass_time(1)
    assert not peer.link.open
    attach(harness, incarnation=2)
    assert harness[GUEST].link.open
    harness.kill(GUEST)
    harness.pass_time(timeout(harness))
    assert nothing_left(harness) == []


def test_a_restarted_shard_waits_for_those_that_run(harness):
    peer = attach(harness, replay=[subscribe("*#")])
    peer.silent = True
    harness.restart()
    harness.say("gateway-0", publish(), reliable=True)
    assert not harness.shard.recovery.synced
    peer.silent = False
    harness.pass_time(1)
    assert harness.shard.recovery.synced
    assert [event.publish.topic for event in harness.got(GUEST, Event)] == ["a.b"]


def test_a_restarted_shard_waits_longer_for_one_that_works(harness):
    peer = attach(harness, replay=[subscribe("*#")])
    peer.silent = True
    harness.restart()
    harness.working.add(GUEST)
    harness.say("gateway-0", publish(), reliable=True)
    harness.pass_time(2 * harness.terms.peer_timeout)
    assert not harness.shard.recovery.synced
    peer.silent = False
    harness.pass_time(1)
    assert harness.shard.recovery.synced
    assert [event.publish.topic for event in harness.got(GUEST, Event)] == ["a.b"]


def test_a_restarted_shard_does_not_wait_for_those_that_have_ended(harness):
    attach(harness)
    harness.say(GUEST, weak(), reliable=True)
    harness.kill(GUEST)
    harness.restart()
    harness.pass_time(0.5)
    assert harness.shard.recovery.synced
    assert not harness.shard.retained_keys.keys_held
    harness.pass_time(timeout(harness))
    assert nothing_left(harness) == []


def test_a_restarted_shard_waits_only_so_long_for_one_that_stands_still(harness):
    attach(harness, replay=[SessionAlive(5)]).silent = True
    harness.restart()
    harness.pass_time(harness.terms.attached_timeout + 1)
    assert harness.shard.recovery.synced


def test_a_fence_that_names_a_forgotten_gateway_is_passed(harness):
    harness.say("gateway-0", FenceQuery(GUEST, 5, 3))
    assert harness.got("gateway-0", FencePassed) == [FencePassed(GUEST, 5, MAX_ID)]
    assert GUEST not in harness.shard.peers


def test_one_that_reads_slowly_gets_no_credit_and_others_get_theirs():
    harness = ShardHarness(gateways=1, credit=20_000, attached_buffer=200_000)
    peer = attach(harness)
    harness.say(GUEST, subscribe("*#"))
    peer.confirms = False
    peer.silent = True
    for number in range(10):
        harness.say("gateway-0", big(number), reliable=True)
    shard = harness.shard
    assert shard.peers[GUEST].link.in_flight > 20_000
    assert shard.peers[GUEST].link.hold_credit
    assert not shard.peers["gateway-0"].link.hold_credit
    # It reads again.
    peer.silent = False
    harness.pass_time(2)
    assert not shard.peers[GUEST].link.hold_credit
    assert peer.link.open


def test_one_that_lets_too_much_wait_is_given_up():
    harness = ShardHarness(gateways=1, credit=20_000, attached_buffer=100_000)
    peer = attach(harness)
    harness.say(GUEST, subscribe("*#"))
    peer.silent = True
    for number in range(30):
        harness.say("gateway-0", big(number), reliable=True)
    assert len(harness.got("gateway-0", Published)) == 30
    assert GUEST not in harness.shard.peers
    # When it goes on, it learns that it is gone.
    peer.silent = False
    harness.pass_time(1)
    assert not peer.link.open
    assert LinkEvent.DISOWNED in peer.changes


def test_so_is_one_that_is_lost_when_too_much_waits_for_its_return():
    harness = ShardHarness(gateways=1, attached_buffer=100_000)
    attach(harness)
    harness.say(GUEST, subscribe("*#"))
    harness[GUEST].silent = harness[GUEST].deaf = True
    harness.shard.connection_lost(GUEST, harness.now)
    for number in range(10):
        harness.say("gateway-0", big(number), reliable=True)
    assert GUEST in harness.shard.peers
    assert not harness.got("gateway-0", Published)
    for number in range(10, 30):
        harness.say("gateway-0", big(number), reliable=True)
    assert GUEST not in harness.shard.peers
    assert len(harness.got("gateway-0", Published)) == 30


def test_an_acknowledgement_waits_only_so_long_for_one_that_stands_still(harness):
    peer = attach(harness)
    harness.say(GUEST, subscribe("*#"))
    peer.silent = True
    harness.say("gateway-0", publish(), reliable=True)
    assert not harness.got("gateway-0", Published)
    harness.pass_time(timeout(harness))
    assert harness.got("gateway-0", Published)


def test_the_shard_is_well_though_one_is_gone(harness):
    attach(harness)
    harness.kill(GUEST)
    assert harness.shard.health()["status"] == "ok"


def test_no_more_come_in_than_configured():
    harness = ShardHarness(gateways=1, attached_gateways=1)
    attach(harness)
    attach(harness, OTHER)
    assert not harness[OTHER].link.open
    assert "backplane.attached_gateways" in harness[OTHER].link.refusal
    harness.kill(GUEST)
    harness.pass_time(timeout(harness))
    assert harness[OTHER].link.open


def test_rows_of_ended_gateways_do_not_pile_up(harness):
    before = {key for key in harness.disk.rows if not key.startswith(rows.CEILING)}
    for number in range(10, 20):
        attach(harness, name_of(number))
        harness.say(name_of(number), weak(session=number), reliable=True)
        harness.kill(name_of(number))
    harness.pass_time(timeout(harness))
    # What is obsolete goes with the next transaction.
    harness.say("gateway-0", publish(flags=ACKNOWLEDGE | RETAIN), reliable=True)
    left = {key for key in harness.disk.rows if not key.startswith(rows.CEILING)}
    assert not any(b"gateway-x" in key for key in left - before)


def big(number) -> Publish:
    return publish(request=number, args=b'["%s"]' % (b"x" * 5000))
