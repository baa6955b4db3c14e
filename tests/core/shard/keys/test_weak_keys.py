"""Keys that go with their sessions (semantics: `weak`)."""

import pytest
from shard_harness import Stage, leave, publish, subscribe

from fox_shard.backplane.frames import ACKNOWLEDGE, EMPTY, RETAIN, Event, Keep, Present, Retained
from fox_shard.shard import rows
from fox_shard.shard.keys import retained
from fox_shard.shard.keys.owners import Owners
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN


def test_a_session_owns_what_it_has_published_until_that_is_taken():
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


def test_a_session_owns_what_is_its_own_yet():
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
def test_what_is_gone_of_it_is_not_kept_in_mind(realm):
    """Else a session that has many weak keys one after the other would cost more and more."""
    stage = Stage(gateways=2, unstored=["memory"])
    for number in range(3):
        topic = f"a.{number}"
        stage.say("gateway-0", weak(topic=topic, realm=realm), reliable=True)
        erase = publish(topic, flags=KEEP | EMPTY, args=b"", realm=realm)
        stage.say("gateway-0", erase, reliable=True)
    stage.say("gateway-0", weak(topic="a.last", realm=realm), reliable=True)
    assert stage.shard.retention.owners.take(1) == [(realm, "a.last")]


def test_sessions_of_other_incarnations_are_found():
    owners = Owners()
    owners.add("gateway-0", 1, 7, ("realm1", "a"))
    owners.add("gateway-0", 2, 8, ("realm1", "b"))
    owners.add("gateway-1", 1, 9, ("realm1", "c"))
    assert owners.of_others("gateway-0", 2) == [7]
    assert owners.of_others("gateway-0", 0) == [7, 8]
    assert owners.of_others("gateway-2", 0) == []


@pytest.fixture
def stage():
    stage = Stage(gateways=2)
    stage.say("gateway-1", subscribe())
    return stage


def weak(session=1, *, flags=KEEP, **more):
    return publish(session=session, flags=flags, keep=Keep(weak=True), **more)


def keys(stage):
    stage.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in stage.got("gateway-1", Retained)]


def stored(stage):
    return [key for key in stage.disk.rows if key.startswith(rows.KEY)]


@pytest.mark.parametrize("graceful", [True, False])
def test_a_weak_key_goes_with_its_session_without_an_event(graceful, stage):
    stage.say("gateway-0", weak(), reliable=True)
    assert keys(stage) == [b"[1]"]
    stage.say("gateway-0", leave(2), leave(1, graceful=graceful), reliable=True)
    assert (keys(stage), stored(stage)) == ([], [])
    assert len(stage.got("gateway-1", Event)) == 1


@pytest.mark.parametrize(
    "later",
    [
        publish(session=1, flags=KEEP, request=2, args=b"[2]"),
        publish(session=1, flags=KEEP, request=2, args=b"[2]", keep=Keep(3600.0)),
        publish(session=2, flags=KEEP, request=2, args=b"[2]"),
        weak(2, request=2, args=b"[2]"),
    ],
    ids=["its own", "its own for an hour", "another's", "another's weak one"],
)
def test_a_key_that_is_not_its_own_any_more_stays(later, stage):
    stage.say("gateway-0", weak(), later, reliable=True)
    stage.say("gateway-0", leave(1), reliable=True)
    assert keys(stage) == [b"[2]"]


def test_a_session_that_leaves_behind_a_key_that_waits_for_the_disk_takes_it_along(stage):
    stage.disk.held = True
    stage.say("gateway-0", weak(), leave(1), reliable=True)
    stage.disk.held = False
    stage.commit()
    stage.turns()
    assert (keys(stage), stored(stage)) == ([], [])


def test_a_session_that_its_gateway_does_not_tell_again_has_gone(stage):
    """So the gateway may forget that it has left before that is durable."""
    stage.say("gateway-0", weak(), weak(2, topic="a.c", args=b"[2]"), reliable=True)
    stage.disk.held = True
    stage.say("gateway-0", leave(1), reliable=True)
    stage.pass_time(0.5)
    assert stage["gateway-0"].link.idle
    stage["gateway-0"].replay = [Present(2)]
    stage.restart()
    stage.turns()
    assert keys(stage) == [b"[2]"]


def test_sessions_are_told_again_when_a_link_was_broken(stage):
    stage.say("gateway-0", weak(), weak(2, topic="a.c", args=b"[2]"), reliable=True)
    stage["gateway-0"].replay = [Present(2)]
    stage["gateway-0"].link.break_off(stage.now)
    stage.turns()
    assert keys(stage) == [b"[2]"]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_keys_of_a_gateway_that_is_gone_go(restarted, stage):
    stage.say("gateway-0", weak(), reliable=True)
    stage.say("gateway-1", weak(2, topic="a.c", args=b"[2]"), reliable=True)
    stage.kill("gateway-0")
    stage["gateway-1"].replay = [Present(2)]
    if restarted:
        stage.restart()
    stage.pass_time(stage.terms.peer_timeout + 1)
    assert keys(stage) == [b"[2]"]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_keys_of_a_gateways_earlier_incarnation_go_when_it_is_back(restarted, stage):
    stage.say("gateway-0", weak(), reliable=True)
    stage.kill("gateway-0")
    if restarted:
        stage.restart()
    stage.join("gateway-0", incarnation=2)
    stage.turns(6)
    assert (keys(stage), stored(stage)) == ([], [])


def test_the_keys_of_a_gateway_that_comes_back_as_it_was_stay(stage):
    stage.say("gateway-0", weak(), reliable=True)
    stage["gateway-0"].replay = [Present(1)]
    stage.restart()
    stage.pass_time(stage.terms.peer_timeout + 1)
    assert keys(stage) == [b"[1]"]
    stage.say("gateway-0", leave(1), reliable=True)
    assert keys(stage) == []


def test_an_erased_weak_key_is_nobodys(stage):
    stage.say("gateway-0", weak(), weak(request=2, flags=KEEP | EMPTY, args=b""), reliable=True)
    stage.say("gateway-1", publish(session=5, flags=KEEP, args=b"[5]"), reliable=True)
    stage.say("gateway-0", leave(1), reliable=True)
    assert keys(stage) == [b"[5]"]


# When the store fails


def fail_and_recover(stage):
    stage.disk.trouble = "disk full"
    stage.disk.held = False
    stage.turns()
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)


def test_a_key_that_was_never_stored_does_not_go_either(stage):
    stage.disk.held = True
    stage.say("gateway-0", weak(), leave(1), reliable=True)
    fail_and_recover(stage)
    assert (keys(stage), stored(stage), stage.got("gateway-1", Event)) == ([], [], [])


def test_what_a_session_that_has_left_had_before_goes_although_its_last_publish_failed(stage):
    stage.say("gateway-0", weak(), reliable=True)
    stage.disk.held = True
    stage.say("gateway-0", weak(request=2, args=b"[2]"), leave(1), reliable=True)
    fail_and_recover(stage)
    assert (keys(stage), stored(stage)) == ([], [])


def test_what_another_session_had_before_is_back(stage):
    stage.say("gateway-0", weak(), reliable=True)
    stage.disk.held = True
    stage.say("gateway-0", weak(2, args=b"[2]"), leave(2), reliable=True)
    fail_and_recover(stage)
    assert keys(stage) == [b"[1]"]
    stage.say("gateway-0", leave(1), reliable=True)
    assert (keys(stage), stored(stage)) == ([], [])


@pytest.fixture
def few_at_once(monkeypatch):
    """Keys go two at a time."""
    monkeypatch.setattr(retained, "ENDED_AT_ONCE", 2)
    stage = Stage(gateways=2)
    for number in range(7):
        one = weak(session=1 if number < 5 else number, topic=f"a.{number}")
        stage.say("gateway-0", one, reliable=True)
    return stage


def held(stage):
    return stage.shard.retention.keys_held


def test_many_keys_of_a_session_go_a_few_at_a_time(few_at_once):
    stage = few_at_once
    stage.send("gateway-0", leave(1), leave(5))
    stage.turn()
    seen = [held(stage)]
    while seen[-1] > 1:
        assert stage.shard.deadline.at <= stage.now
        stage.shard.tick(stage.now)
        seen.append(held(stage))
    assert seen == [5, 3, 1]
    stage.turns()
    assert [key[-1:] for key in stage.disk.rows if key.startswith(rows.KEY)] == [b"6"]


def test_so_do_those_of_many_sessions_that_end_together(few_at_once):
    stage = few_at_once
    stage.kill("gateway-0")
    stage.join("gateway-0", incarnation=2)
    stage.turn()
    stage.turn()
    assert held(stage) == 5
    stage.pass_time(2)
    assert (held(stage), stage.shard.retention.owners.idle) == (0, True)


def test_a_key_that_is_published_anew_before_its_turn_to_go_stays(few_at_once):
    stage = few_at_once
    stage.send("gateway-0", leave(1))
    stage.send("gateway-0", publish("a.4", session=9, flags=KEEP), reliable=True)
    stage.pass_time(2)
    assert stage.shard.retention.key(("realm1", "a.4")) is not None
    assert held(stage) == 3


def test_the_rest_goes_also_if_the_shard_dies_meanwhile(few_at_once):
    stage = few_at_once
    stage["gateway-0"].replay = [Present(5), Present(6)]
    stage.send("gateway-0", leave(1))
    stage.turn()
    stage.turn()
    assert held(stage) == 5
    stage.restart()
    stage.pass_time(2)
    assert held(stage) == 2


def test_the_rest_goes_also_if_the_disk_fails_meanwhile(few_at_once):
    stage = few_at_once
    stage.disk.trouble = "disk full"
    stage.send("gateway-0", leave(1))
    stage.pass_time(2)
    assert held(stage) == 2
    stage.disk.trouble = ""
    stage.pass_time(2 * RETRY)
    assert len([key for key in stage.disk.rows if key.startswith(rows.KEY)]) == 2
