"""Releases: what many transactions held back is released one transaction after the other."""

import pytest
from limited_turns import KEEP, keeps, limit, made, published, seen, settle
from shard_harness import leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    Event,
    More,
    Refused,
    Retained,
    RetainOptions,
)
from fox_shard.shard.budget import TURN_UNITS


def with_transactions(many, each=5):
    """Return a harness whose disk has yet to commit so many transactions, of some keys each."""
    harness = made(TURN_UNITS)
    harness.disk.held = True
    for number in range(many):
        requests = range(1 + each * number, 1 + each * (number + 1))
        harness.send("gateway-0", *keeps(*requests), reliable=True)
        harness.turn()
    harness.turn()
    assert seen(harness) == []
    return harness


def test_a_commit_of_many_transactions_is_released_over_several_turns_in_order():
    harness = with_transactions(20)
    harness.disk.held = False
    limit(harness, 6)
    seen_at = []
    harness.turn()
    while harness.shard.scheduler.busy:
        harness.turn()
        seen_at.append(len(seen(harness)))
    assert len(seen_at) > 6
    assert max(seen_at) < 40
    settle(harness)
    assert published(harness) == [*range(1, 101)]


def test_nothing_overtakes_what_is_still_to_be_released():
    harness = with_transactions(40)
    harness.disk.held = False
    limit(harness, 6)
    harness.turn()
    harness.turn()
    # Of the same session, and on the same topic.
    harness.send("gateway-0", publish("k.x", request=1000, flags=ACKNOWLEDGE), reliable=True)
    harness.send("gateway-1", publish("k.200", session=2, request=2000, flags=0))
    harness.send("gateway-1", publish("free", session=3, request=3000, flags=0))
    settle(harness)
    everything = seen(harness)
    assert [one for one in everything if one <= 1000] == [*range(1, 201), 1000]
    assert everything.index(2000) > everything.index(200)
    assert everything.index(3000) < everything.index(200)


def test_a_subscriber_that_comes_meanwhile_sees_each_key_once():
    harness = with_transactions(20)
    harness.disk.held = False
    limit(harness, 6)
    for _ in range(8):
        harness.turn()
    limit(harness, TURN_UNITS)
    harness.send("gateway-1", subscribe("*#", token=1, replay=True))
    harness.turn()
    limit(harness, 6)
    settle(harness)
    harness.send("gateway-1", More(1))
    settle(harness)
    shown = [one.event for one in harness.got("gateway-1", Retained) if one.event is not None]
    shown += harness.got("gateway-1", Event)
    topics = [event.publish.topic for event in shown]
    assert sorted(topics) == sorted(f"k.{n}" for n in range(1, 101))


def test_what_is_durable_has_its_effect_although_a_later_transaction_fails():
    harness = with_transactions(10)
    limit(harness, 6)
    harness.commit()
    assert harness.shard.scheduler.busy
    harness.disk.trouble = "disk full"
    harness.send("gateway-0", *keeps(501, 502), reliable=True)
    harness.turn()
    harness.turn()
    harness.commit()
    settle(harness)
    assert seen(harness) == published(harness) == [*range(1, 51)]
    refused = [one.request for one in harness.got("gateway-0", Refused)]
    assert refused == [501, 502]


# What was put off while the store failed


def works_again(harness, units):
    harness.disk.trouble = ""
    limit(harness, units)
    harness.now += 2
    harness.shard.tick(harness.now)
    return settle(harness)


def test_wills_that_were_postponed_are_published_over_several_turns():
    harness = made(TURN_UNITS)
    will = RetainOptions(will=b"[0]")
    owned = [publish(f"k.{n}", request=n, flags=KEEP, retain=will) for n in range(1, 41)]
    harness.say("gateway-0", *owned, reliable=True)
    seen(harness)
    harness.disk.trouble = "disk full"
    harness.say("gateway-0", *keeps(99), reliable=True)
    harness.say("gateway-0", leave(1))
    assert seen(harness) == []
    assert works_again(harness, 8) > 5
    assert len(seen(harness)) == 40


@pytest.mark.parametrize("units", [1, 20, TURN_UNITS])
def test_waiters_at_keys_that_were_put_off_are_let_through_over_several_turns(units):
    harness = made(TURN_UNITS)
    gone = RetainOptions(watch=True, when_id=0)
    weak = RetainOptions(weak=True)
    held = [publish(f"k.{n}", request=n, flags=KEEP, retain=weak) for n in range(1, 41)]
    harness.say("gateway-0", *held, reliable=True)
    waiting = [
        publish(f"k.{n}", session=2, request=100 + n, flags=KEEP | CONDITION, retain=gone)
        for n in range(1, 41)
    ]
    harness.say("gateway-1", *waiting, reliable=True)
    assert harness.shard.health()["waiting_publishes"] == 40
    harness.disk.trouble = "disk full"
    harness.say("gateway-2", *keeps(999, session=3), reliable=True)
    harness.say("gateway-0", leave(1))
    seen(harness)
    turns = works_again(harness, units)
    assert turns > 5 or units > 20
    assert seen(harness) == [*range(101, 141)]
    assert harness.shard.health()["waiting_publishes"] == 0
