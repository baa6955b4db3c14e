"""Weak keys, which end with their sessions (semantics: `weak`)."""

import pytest
from shard_harness import ShardHarness, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Event,
    Retained,
    RetainOptions,
    SessionAlive,
)
from fox_shard.shard import rows
from fox_shard.shard.keys import retained
from fox_shard.shard.keys.owners import Owners
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN


def test_a_session_owns_the_keys_that_it_has_published_until_they_are_taken():
    owners = Owners()
    assert owners.idle
    for topic in ("a", "b", "a"):
        owners.add("gateway-0", 1, 7, ("realm1", topic))
    owners.add("gateway-0", 2, 8, ("realm1", "c"))
    assert owners.take(9) == []
    assert owners.take(7) == [("realm1", "a"), ("realm1", "b")]
    assert owners.take(7) == []
    assert owners.gateways == {"gateway-0": 2}
    assert owners.take(8) == [("realm1", "c")]
    assert (owners.idle, owners.gateways) == (True, {})


def test_a_session_no_longer_owns_discarded_keys():
    owners = Owners()
    owners.add("gateway-0", 1, 7, None)
    owners.add("gateway-0", 1, 7, ("realm1", "a"))
    owners.add("gateway-0", 1, 7, ("realm1", "b"))
    owners.discard(7, ("realm1", "a"))
    owners.discard(7, ("realm1", "c"))
    owners.discard(8, ("realm1", "a"))
    assert owners.gateways == {"gateway-0": 1}
    assert owners.take(7) == [("realm1", "b")]
    assert owners.idle


@pytest.mark.parametrize("realm", ["realm1", "memory"])
def test_an_erased_weak_key_is_not_remembered(realm):
    """Otherwise a session with many weak keys, one after the other, would cost more and more."""
    harness = ShardHarness(gateways=2, unstored=["memory"])
    for number in range(3):
        topic = f"a.{number}"
        harness.say("gateway-0", weak(topic=topic, realm=realm), reliable=True)
        erase = publish(topic, flags=KEEP | EMPTY, args=b"", realm=realm)
        harness.say("gateway-0", erase, reliable=True)
    harness.say("gateway-0", weak(topic="a.last", realm=realm), reliable=True)
    assert harness.shard.retained_keys.owners.take(1) == [(realm, "a.last")]


def test_sessions_of_other_incarnations_are_found():
    owners = Owners()
    owners.add("gateway-0", 1, 7, ("realm1", "a"))
    owners.add("gateway-0", 2, 8, ("realm1", "b"))
    owners.add("gateway-1", 1, 9, ("realm1", "c"))
    assert owners.sessions_of_other_incarnations("gateway-0", 2) == [7]
    assert owners.sessions_of_other_incarnations("gateway-0", 0) == [7, 8]
    assert owners.sessions_of_other_incarnations("gateway-2", 0) == []


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe())
    return harness


def weak(session=1, *, flags=KEEP, **more):
    return publish(session=session, flags=flags, retain=RetainOptions(weak=True), **more)


def keys(harness):
    harness.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in harness.got("gateway-1", Retained)]


def stored(harness):
    return [key for key in harness.disk.rows if key.startswith(rows.KEY)]


@pytest.mark.parametrize("graceful", [True, False])
def test_a_weak_key_ends_with_its_session_without_an_event(graceful, harness):
    harness.say("gateway-0", weak(), reliable=True)
    assert keys(harness) == [b"[1]"]
    harness.say("gateway-0", leave(2), leave(1, graceful=graceful), reliable=True)
    assert (keys(harness), stored(harness)) == ([], [])
    assert len(harness.got("gateway-1", Event)) == 1


@pytest.mark.parametrize(
    "later",
    [
        publish(session=1, flags=KEEP, request=2, args=b"[2]"),
        publish(session=1, flags=KEEP, request=2, args=b"[2]", retain=RetainOptions(3600.0)),
        publish(session=2, flags=KEEP, request=2, args=b"[2]"),
        weak(2, request=2, args=b"[2]"),
    ],
    ids=["same session", "same session, for an hour", "other session", "other session, weak"],
)
def test_a_weak_key_that_was_published_again_stays(later, harness):
    harness.say("gateway-0", weak(), later, reliable=True)
    harness.say("gateway-0", leave(1), reliable=True)
    assert keys(harness) == [b"[2]"]


def test_a_weak_key_that_waits_for_the_disk_ends_with_its_session(harness):
    harness.disk.held = True
    harness.say("gateway-0", weak(), leave(1), reliable=True)
    harness.disk.held = False
    harness.commit()
    harness.turns()
    assert (keys(harness), stored(harness)) == ([], [])


def test_a_session_that_its_gateway_does_not_report_after_a_restart_has_ended(harness):
    """The gateway may therefore forget a session's end before it is durable."""
    harness.say("gateway-0", weak(), weak(2, topic="a.c", args=b"[2]"), reliable=True)
    harness.disk.held = True
    harness.say("gateway-0", leave(1), reliable=True)
    harness.pass_time(0.5)
    assert harness["gateway-0"].link.idle
    harness["gateway-0"].replay = [SessionAlive(2)]
    harness.restart()
    harness.turns()
    assert keys(harness) == [b"[2]"]


def test_a_session_that_its_gateway_does_not_report_in_a_new_pair_has_ended(harness):
    harness.say("gateway-0", weak(), weak(2, topic="a.c", args=b"[2]"), reliable=True)
    harness["gateway-0"].replay = [SessionAlive(2)]
    harness["gateway-0"].link.break_off(harness.now)
    harness.turns()
    assert keys(harness) == [b"[2]"]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_weak_keys_of_a_gateway_that_has_gone_are_erased(restarted, harness):
    harness.say("gateway-0", weak(), reliable=True)
    harness.say("gateway-1", weak(2, topic="a.c", args=b"[2]"), reliable=True)
    harness.kill("gateway-0")
    harness["gateway-1"].replay = [SessionAlive(2)]
    if restarted:
        harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert keys(harness) == [b"[2]"]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_weak_keys_of_an_earlier_incarnation_are_erased_when_the_gateway_is_back(
    restarted, harness
):
    harness.say("gateway-0", weak(), reliable=True)
    harness.kill("gateway-0")
    if restarted:
        harness.restart()
    harness.join("gateway-0", incarnation=2)
    harness.turns(6)
    assert (keys(harness), stored(harness)) == ([], [])


def test_the_weak_keys_of_a_gateway_that_returns_in_the_same_incarnation_stay(harness):
    harness.say("gateway-0", weak(), reliable=True)
    harness["gateway-0"].replay = [SessionAlive(1)]
    harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert keys(harness) == [b"[1]"]
    harness.say("gateway-0", leave(1), reliable=True)
    assert keys(harness) == []


def test_an_erased_weak_key_has_no_owner(harness):
    harness.say("gateway-0", weak(), weak(request=2, flags=KEEP | EMPTY, args=b""), reliable=True)
    harness.say("gateway-1", publish(session=5, flags=KEEP, args=b"[5]"), reliable=True)
    harness.say("gateway-0", leave(1), reliable=True)
    assert keys(harness) == [b"[5]"]


# When the store fails


def fail_and_recover(harness):
    harness.disk.trouble = "disk full"
    harness.disk.held = False
    harness.turns()
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)


def test_a_weak_key_that_could_not_be_stored_leaves_nothing(harness):
    harness.disk.held = True
    harness.say("gateway-0", weak(), leave(1), reliable=True)
    fail_and_recover(harness)
    assert (keys(harness), stored(harness), harness.got("gateway-1", Event)) == ([], [], [])


def test_the_weak_key_of_a_session_that_has_left_is_erased_although_its_last_publish_failed(
    harness,
):
    harness.say("gateway-0", weak(), reliable=True)
    harness.disk.held = True
    harness.say("gateway-0", weak(request=2, args=b"[2]"), leave(1), reliable=True)
    fail_and_recover(harness)
    assert (keys(harness), stored(harness)) == ([], [])


def test_a_failed_publish_gives_the_weak_key_back_to_its_earlier_owner(harness):
    harness.say("gateway-0", weak(), reliable=True)
    harness.disk.held = True
    harness.say("gateway-0", weak(2, args=b"[2]"), leave(2), reliable=True)
    fail_and_recover(harness)
    assert keys(harness) == [b"[1]"]
    harness.say("gateway-0", leave(1), reliable=True)
    assert (keys(harness), stored(harness)) == ([], [])


@pytest.fixture
def few_at_once(monkeypatch):
    """A harness that erases the weak keys of ended sessions two at a time."""
    monkeypatch.setattr(retained, "ENDED_AT_ONCE", 2)
    harness = ShardHarness(gateways=2)
    for number in range(7):
        one = weak(session=1 if number < 5 else number, topic=f"a.{number}")
        harness.say("gateway-0", one, reliable=True)
    return harness


def held(harness):
    return harness.shard.retained_keys.keys_held


def test_many_weak_keys_of_a_session_are_erased_a_few_at_a_time(few_at_once):
    harness = few_at_once
    harness.send("gateway-0", leave(1), leave(5))
    harness.turn()
    seen = [held(harness)]
    while seen[-1] > 1:
        assert harness.shard.deadline.at <= harness.now
        harness.shard.tick(harness.now)
        seen.append(held(harness))
    assert seen == [5, 3, 1]
    harness.turns()
    assert [key[-1:] for key in harness.disk.rows if key.startswith(rows.KEY)] == [b"6"]


def test_weak_keys_of_many_sessions_that_end_together_are_erased_a_few_at_a_time(few_at_once):
    harness = few_at_once
    harness.kill("gateway-0")
    harness.join("gateway-0", incarnation=2)
    harness.turn()
    harness.turn()
    assert held(harness) == 5
    harness.pass_time(2)
    assert (held(harness), harness.shard.retained_keys.owners.idle) == (0, True)


def test_a_weak_key_that_is_published_again_before_it_is_erased_stays(few_at_once):
    harness = few_at_once
    harness.send("gateway-0", leave(1))
    harness.send("gateway-0", publish("a.4", session=9, flags=KEEP), reliable=True)
    harness.pass_time(2)
    assert harness.shard.retained_keys.key(("realm1", "a.4")) is not None
    assert held(harness) == 3


def test_the_remaining_weak_keys_are_erased_even_if_the_shard_dies_meanwhile(few_at_once):
    harness = few_at_once
    harness["gateway-0"].replay = [SessionAlive(5), SessionAlive(6)]
    harness.send("gateway-0", leave(1))
    harness.turn()
    harness.turn()
    assert held(harness) == 5
    harness.restart()
    harness.pass_time(2)
    assert held(harness) == 2


def test_the_remaining_weak_keys_are_erased_even_if_the_disk_fails_meanwhile(few_at_once):
    harness = few_at_once
    harness.disk.trouble = "disk full"
    harness.send("gateway-0", leave(1))
    harness.pass_time(2)
    assert held(harness) == 2
    harness.disk.trouble = ""
    harness.pass_time(2 * RETRY)
    assert len([key for key in harness.disk.rows if key.startswith(rows.KEY)]) == 2
