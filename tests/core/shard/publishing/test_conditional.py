"""Publishes that wait until their conditions hold (semantics: `watch`): locks, and more."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, leave, publish, subscribe, watched_stage

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    RETAIN,
    Again,
    Ask,
    Event,
    Keep,
    Present,
    Published,
    Reached,
    Refused,
    Retained,
    Settled,
    Subscribed,
)
from fox_shard.shard import rows
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN
IF = KEEP | CONDITION
NO_KEY = msgpack.encode(None)
UNAVAILABLE = "fox.error.unavailable_store"


@pytest.fixture
def stage():
    """gateway-1 has subscribed to everything; it and the sessions of gateway-0 outlive restarts."""
    return watched_stage()


def waits(session, *, request=1, flags=IF, seconds=0.0, weak=True, **condition):
    """A publish that takes the key as soon as its condition holds; if there is none, by default."""
    keep = Keep(seconds, watch=True, weak=weak, **(condition or {"when": NO_KEY}))
    return publish(session=session, request=request, flags=flags, args=b"[%d]" % session, keep=keep)


def erase(session=1, request=2):
    return publish(session=session, request=request, flags=KEEP | EMPTY, args=b"")


def say(stage, *frames, name="gateway-0"):
    """As gateways send what is acknowledged."""
    stage.say(name, *frames, reliable=True)


def answered(stage, name="gateway-0"):
    """[(session, request)] of what was published, sorted; negative request: it was refused."""
    told = []
    for answer in stage.got(name, Published | Refused):
        if isinstance(answer, Refused):
            told.append((answer.session, -answer.request))
        else:
            told += [(answer.session, request) for request in answer.requests]
    return sorted(told)


def seen(stage, kind=Event | Again):
    """Of the events that gateway-1 got: the arguments."""
    events = [getattr(one, "event", one) for one in stage.got("gateway-1", kind)]
    return [event.publish.args for event in events]


def keys(stage):
    stage.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in stage.got("gateway-1", Retained)]


def stored(stage, kind):
    return [key for key in stage.disk.rows if key.startswith(kind)]


def waiting(stage):
    return stage.shard.health()["waiting_publishes"]


def queue(stage, *sessions):
    """The first of these holds the key, the others wait; what was told of that is forgotten."""
    say(stage, *(waits(session) for session in sessions))
    assert answered(stage) == [(sessions[0], 1)]
    assert waiting(stage) == len(sessions) - 1
    seen(stage)


# Whose turn it is


def test_what_may_go_at_once_does_not_wait(stage):
    say(stage, waits(1))
    assert (answered(stage), seen(stage), waiting(stage)) == ([(1, 1)], [b"[1]"], 0)


def test_a_publish_that_waits_is_neither_seen_nor_answered_until_its_turn(stage):
    queue(stage, 1, 2)
    stage.pass_time(1.0)
    assert (answered(stage), seen(stage), keys(stage)) == ([], [], [b"[1]"])
    say(stage, erase())
    assert answered(stage) == [(1, 2), (2, 1)]
    assert seen(stage) == [b"", b"[2]"]
    assert (keys(stage), waiting(stage)) == ([b"[2]"], 0)


def test_its_id_is_of_its_turn(stage):
    """So that tokens grow from holder to holder."""
    say(stage, waits(1), waits(2))
    (first,) = (event.publication for event in stage.got("gateway-1", Event))
    between = publish("else", session=3)
    say(stage, between, erase())
    ids = [event.publication for event in stage.got("gateway-1", Event)]
    assert first < ids[0] < ids[1] < ids[2]


def test_each_change_lets_one_through_the_first_that_came(stage):
    queue(stage, 1, 2, 3, 4)
    for session in (1, 2, 3):
        say(stage, erase(session))
        assert answered(stage) == [(session, 2), (session + 1, 1)]
    assert keys(stage) == [b"[4]"]


def test_who_waits_for_a_publication_takes_it_from_there(stage):
    say(stage, publish(session=1, flags=KEEP))
    (first,) = (event.publication for event in stage.got("gateway-1", Event))
    say(stage, waits(2, when_id=0), waits(3, when_id=first), waits(4, when_id=first))
    assert seen(stage) == [b"[3]"]
    assert waiting(stage) == 2
    say(stage, erase(3))
    assert seen(stage) == [b"", b"[2]"]


def test_who_waits_for_a_document_gets_his_turn_when_it_is_there(stage):
    say(stage, waits(1, when=msgpack.encode({"state": "done"})))
    say(stage, publish(session=2, flags=KEEP, args=b'[{"state":"begun"}]'))
    assert waiting(stage) == 1
    say(stage, publish(session=2, request=2, flags=KEEP, args=b'[{"state":"done"}]'))
    assert answered(stage) == [(1, 1), (2, 1), (2, 2)]
    assert keys(stage) == [b"[1]"]


def test_an_event_that_waits_changes_no_key_so_one_goes_a_change(stage):
    flags = ACKNOWLEDGE | CONDITION
    wanted = {"when": msgpack.encode({"a": 1}), "weak": False, "flags": flags}
    say(stage, waits(1, **wanted), waits(2, **wanted))
    for turn in (1, 2):
        say(stage, publish(session=9, request=turn, flags=KEEP, args=b'[{"a":1}]'))
        assert answered(stage) == [(turn, 1), (9, turn)]
        assert seen(stage) == [b'[{"a":1}]', b"[%d]" % turn]
    assert keys(stage) == [b'[{"a":1}]']


def test_one_turn_may_give_the_next_one_his(stage):
    """Each changes the key to what the other one waits for."""
    one, other = msgpack.encode({"turn": 1}), msgpack.encode({"turn": 2})
    say(
        stage,
        publish(session=1, flags=IF, args=b'[{"turn":2}]', keep=Keep(when=one, watch=True)),
        publish(session=2, flags=IF, args=b'[{"turn":3}]', keep=Keep(when=other, watch=True)),
    )
    assert waiting(stage) == 2
    say(stage, publish(session=3, flags=KEEP, args=b'[{"turn":1}]'))
    assert answered(stage) == [(1, 1), (2, 1), (3, 1)]
    assert keys(stage) == [b'[{"turn":3}]']


def test_a_waiter_that_erases_the_key_lets_the_next_one_take_it(stage):
    say(stage, publish(session=1, flags=KEEP, args=b'[{"done":false}]'))
    done = Keep(when=msgpack.encode({"done": True}), watch=True)
    say(stage, publish(session=2, flags=IF | EMPTY, args=b"", keep=done), waits(3))
    seen(stage)
    say(stage, publish(session=1, request=2, flags=KEEP, args=b'[{"done":true}]'))
    assert seen(stage) == [b'[{"done":true}]', b"", b"[3]"]


def test_a_patch_that_cannot_be_made_when_its_turn_comes_is_refused_and_the_next_one_goes(stage):
    queue(stage, 1)
    say(
        stage,
        publish(session=2, flags=IF, args=b"[2]", keep=Keep(when=NO_KEY, watch=True, patch=True)),
    )
    say(stage, waits(3), erase())
    assert answered(stage) == [(1, 2), (2, -1), (3, 1)]
    assert stored(stage, rows.WAITER) == []
    assert len(stored(stage, rows.GRANT)) == 1


# What makes a key go


def test_the_holders_end_gives_the_key_away(stage):
    queue(stage, 1, 2)
    say(stage, leave(1))
    assert (answered(stage), keys(stage)) == ([(2, 1)], [b"[2]"])


def test_a_key_that_expires_gives_itself_away(stage):
    say(stage, waits(1, seconds=5.0), waits(2, seconds=5.0))
    stage.pass_time(4.5)
    assert keys(stage) == [b"[1]"]
    stage.pass_time(1.0)
    assert keys(stage) == [b"[2]"]
    # Its time begins with its turn.
    stage.pass_time(4.0)
    assert keys(stage) == [b"[2]"]
    stage.pass_time(1.0)
    assert keys(stage) == []


def test_what_a_key_becomes_by_its_will_may_be_waited_for(stage):
    will = Keep(will=msgpack.encode([{"state": "gone"}]))
    say(stage, publish(session=1, flags=KEEP, keep=will))
    say(stage, waits(2, when=msgpack.encode({"state": "gone"})))
    seen(stage)
    say(stage, leave(1))
    assert seen(stage) == [msgpack.encode([{"state": "gone"}]), b"[2]"]


# Nothing else waits


def test_what_its_session_publishes_later_goes_on(stage):
    queue(stage, 1, 2)
    say(stage, publish("x", session=2, request=2), publish("y", session=2, request=3, flags=KEEP))
    assert answered(stage) == [(2, 2), (2, 3)]


def test_its_gateway_may_forget_it(stage):
    queue(stage, 1, 2)
    stage.pass_time(2 * stage.terms.heartbeat)
    assert stage["gateway-0"].link.idle
    assert stage.shard.peers["gateway-0"].passing.idle


def test_its_gateway_may_not_forget_it_before_it_is_stored(stage):
    queue(stage, 1)
    stage.pass_time(2 * stage.terms.heartbeat)
    stage.disk.held = True
    say(stage, waits(2))
    stage.pass_time(2 * stage.terms.heartbeat)
    assert not stage["gateway-0"].link.idle
    stage.disk.held = False
    stage.pass_time(2 * stage.terms.heartbeat)
    assert stage["gateway-0"].link.idle


def test_who_asks_how_far_its_session_is_does_not_wait(stage):
    queue(stage, 1)
    say(stage, waits(2))
    link = stage["gateway-0"].link
    stage.say("gateway-1", Ask("gateway-0", link.epoch, link.last))
    assert stage.got("gateway-1", Reached) == [Reached("gateway-0", link.epoch, link.last)]


def test_it_is_answered_when_its_event_is_delivered(stage):
    queue(stage, 1, 2)
    stage["gateway-1"].silent = True
    say(stage, erase())
    assert seen(stage) == [b"", b"[2]"]
    assert answered(stage) == []
    stage["gateway-1"].silent = False
    stage.turns()
    assert answered(stage) == [(1, 2), (2, 1)]


def test_it_is_answered_when_it_is_durable(stage):
    queue(stage, 1, 2)
    stage.disk.held = True
    say(stage, erase())
    assert (answered(stage), seen(stage), keys(stage)) == ([], [], [b"[1]"])
    stage.disk.held = False
    stage.turns()
    assert answered(stage) == [(1, 2), (2, 1)]
    assert seen(stage) == [b"", b"[2]"]


def test_nobody_is_answered_who_did_not_ask_for_it(stage):
    queue(stage, 1)
    say(stage, waits(2, flags=RETAIN | CONDITION), erase())
    assert answered(stage) == [(1, 2)]
    assert keys(stage) == [b"[2]"]
    say(stage, publish("x", session=5, flags=KEEP))
    say(stage, publish("x", session=5, flags=KEEP))
    assert stored(stage, rows.GRANT) == []


# Who leaves


def test_a_session_that_leaves_does_not_wait_any_more(stage):
    queue(stage, 1, 2, 3)
    say(stage, leave(2), erase())
    assert answered(stage) == [(1, 2), (3, 1)]
    assert stored(stage, rows.WAITER) == []


def test_a_session_that_leaves_while_its_turn_waits_for_the_disk_gives_it_on(stage):
    queue(stage, 1, 2, 3)
    stage.disk.held = True
    say(stage, erase(), leave(2))
    stage.disk.held = False
    stage.turns()
    assert answered(stage)[-1] == (3, 1)
    assert (keys(stage), waiting(stage)) == ([b"[3]"], 0)
    assert stored(stage, rows.WAITER) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_with_a_gateway_go_those_who_wait_at_it(restarted, stage):
    say(stage, waits(11), name="gateway-1")
    stage["gateway-1"].replay += [Present(11), Present(12)]
    say(stage, waits(2), waits(3))
    say(stage, waits(12), name="gateway-1")
    assert waiting(stage) == 3
    stage.kill("gateway-0")
    if restarted:
        stage.restart()
    stage.pass_time(2 * stage.terms.peer_timeout + 1)
    assert waiting(stage) == len(stored(stage, rows.WAITER)) == 1
    say(stage, erase(11), name="gateway-1")
    assert answered(stage, "gateway-1")[-2:] == [(11, 2), (12, 1)]


def test_with_an_earlier_incarnation_go_those_who_waited_at_it(stage):
    queue(stage, 1, 2)
    stage.kill("gateway-0")
    stage.join("gateway-0", incarnation=2)
    stage.turns(6)
    assert (keys(stage), waiting(stage), stored(stage, rows.WAITER)) == ([], 0, [])


def test_who_is_not_told_again_waits_no_more(stage):
    queue(stage, 1, 2, 3)
    stage["gateway-0"].replay = [Present(1), Present(3)]
    stage["gateway-0"].link.break_off(stage.now)
    stage.turns()
    assert waiting(stage) == 1
    say(stage, erase())
    assert answered(stage) == [(1, 2), (3, 1)]


def test_whose_turn_comes_while_his_gateway_is_unlinked_hears_of_it_when_it_is_back(stage):
    say(stage, waits(11), name="gateway-1")
    queue_of_0 = waits(2)
    say(stage, queue_of_0)
    stage["gateway-0"].link.break_off(stage.now)
    stage.shard.lost("gateway-0", stage.now)
    stage["gateway-0"].silent = True
    say(stage, erase(11), name="gateway-1")
    assert answered(stage) == []
    assert seen(stage) == [b"[11]", b"", b"[2]"]
    stage["gateway-0"].silent = False
    stage.pass_time(1.0)
    assert answered(stage) == [(2, 1)]
    stage.pass_time(1.0)
    say(stage, publish("x", session=5, flags=KEEP))
    assert stored(stage, rows.GRANT) == []


# Restarts


def test_who_waits_does_so_over_a_restart_in_the_same_order(stage):
    queue(stage, 1, 2, 3, 4)
    assert len(stored(stage, rows.WAITER)) == 3
    stage.restart()
    stage.turns(8)
    assert (answered(stage), seen(stage), waiting(stage)) == ([], [], 3)
    say(stage, waits(5))
    for session in (1, 2, 3, 4):
        say(stage, erase(session))
        assert answered(stage) == [(session, 2), (session + 1, 1)]
    assert (keys(stage), stored(stage, rows.WAITER)) == ([b"[5]"], [])


def test_what_is_sent_again_and_waits_already_does_not_wait_twice(stage):
    queue(stage, 1)
    stage["gateway-0"].deaf = True
    say(stage, waits(2))
    stage.restart()
    stage.turns(8)
    assert (waiting(stage), answered(stage)) == (1, [])
    say(stage, erase())
    assert answered(stage) == [(1, 2), (2, 1)]
    say(stage, erase(2))
    assert (keys(stage), answered(stage)) == ([], [(2, 2)])


def test_what_was_not_stored_waits_when_it_is_sent_again(stage):
    queue(stage, 1)
    stage.disk.held = True
    say(stage, waits(2))
    stage.restart()
    stage.turns(8)
    assert (waiting(stage), len(stored(stage, rows.WAITER))) == (1, 1)


def test_whose_turn_was_stored_and_not_told_is_told_after_the_restart(stage):
    queue(stage, 1, 2)
    stage.disk.held = True
    say(stage, erase())
    stage.commit()
    stage.restart()
    stage.turns(8)
    assert answered(stage) == [(1, 2), (2, 1)]
    assert sorted(seen(stage, Again)) == [b"", b"[2]"]
    assert keys(stage) == [b"[2]"]


def test_a_turn_is_told_again_until_the_gateway_has_heard_of_it(stage):
    queue(stage, 1, 2)
    stage["gateway-0"].deaf = True
    say(stage, erase())
    ids = [event.publication for event in stage.got("gateway-1", Event)]
    for _ in range(2):
        stage.restart()
        stage["gateway-0"].deaf = True
        stage.turns(8)
        assert stored(stage, rows.GRANT) == [rows.grant(ids[1])]
    stage.restart()
    stage.turns(8)
    (answer,) = (one for one in stage.got("gateway-0", Published) if one.session == 2)
    assert answer.publications == ids[1:]
    stage.pass_time(2 * stage.terms.heartbeat)
    say(stage, publish("x", session=5, flags=KEEP))
    assert stored(stage, rows.GRANT) == []
    answered(stage)
    stage.restart()
    stage.turns(8)
    assert answered(stage) == []


def test_a_turn_is_not_told_before_everybody_has_replayed(stage):
    """Its publisher's gateway confirms it, and the row goes: others could not hear of it any more,
    if the shard died once more.
    """
    queue(stage, 1, 2)
    stage.disk.held = True
    say(stage, leave(1))
    stage.commit()
    stage.restart()
    stage["gateway-1"].silent = True
    stage.turns(8)
    assert answered(stage) == []
    stage.pass_time(2 * stage.terms.heartbeat)
    assert len(stored(stage, rows.GRANT)) == 1
    stage["gateway-1"].silent = False
    stage.turns(8)
    assert answered(stage) == [(2, 1)]
    assert seen(stage, Again) == [b"[2]"]


def test_a_turn_comes_again_where_it_was_among_what_comes_again(stage):
    """Behind the release that led to it, before what was published since."""
    queue(stage, 1, 2)
    stage["gateway-0"].deaf = stage["gateway-1"].deaf = True
    say(stage, erase())
    say(stage, publish(session=11, flags=KEEP, args=b'["last"]'), name="gateway-1")
    stage.restart()
    stage.turns(8)
    assert seen(stage, Again) == [b"", b"[2]", b'["last"]']


def test_a_turn_comes_again_before_what_is_published_then(stage):
    queue(stage, 1, 2)
    stage.disk.held = True
    say(stage, leave(1))
    stage.commit()
    stage.restart()
    stage["gateway-0"].silent = True
    stage.turns(4)
    later = publish(session=11, flags=KEEP, args=b'["later"]')
    say(stage, later, subscribe("=a.b", token=1), name="gateway-1")
    assert stage.got("gateway-1", Again | Event | Settled) == []
    stage["gateway-0"].silent = False
    stage.turns(8)
    kinds = [type(one) for one in stage.got("gateway-1", Again | Event | Settled)]
    assert kinds == [Again, Settled, Event]


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_gateway_that_goes_before_it_has_heard_leaves_no_row(confirmed, stage):
    """confirmed: the other gateway has had the event before that one was gone."""
    queue(stage, 1, 2)
    stage["gateway-0"].deaf = True
    stage["gateway-1"].silent = not confirmed
    say(stage, erase())
    stage.kill("gateway-0")
    stage.shard.peers["gateway-0"].link.lost_at = stage.now - stage.terms.peer_timeout
    stage.turns()
    stage["gateway-1"].silent = False
    stage.turns()
    say(stage, publish("x", session=5, flags=KEEP), name="gateway-1")
    assert stored(stage, rows.GRANT) == []


def test_the_row_of_a_turn_goes_when_the_gateway_has_heard_of_it(stage):
    queue(stage, 1, 2)
    say(stage, erase())
    stage.pass_time(2 * stage.terms.heartbeat)
    # With the next transaction there is.
    say(stage, publish("x", session=5, flags=KEEP))
    assert stored(stage, rows.GRANT) == []


@pytest.mark.parametrize("returns", [True, False])
def test_the_row_of_a_turn_goes_with_the_gateway(returns, stage):
    queue(stage, 1, 2)
    stage["gateway-0"].deaf = True
    say(stage, erase())
    stage.kill("gateway-0")
    stage.restart()
    if returns:
        stage.join("gateway-0", incarnation=2)
    stage.pass_time(2 * stage.terms.peer_timeout + 1)
    say(stage, publish("x", session=5, flags=KEEP), name="gateway-1")
    assert (stored(stage, rows.GRANT), keys(stage)) == ([], [b"[1]"])


def test_the_holder_that_left_while_the_shard_was_down_gives_the_key_away(stage):
    queue(stage, 1, 2)
    stage["gateway-0"].replay = [Present(2)]
    stage.restart()
    stage.turns(8)
    assert (answered(stage), keys(stage)) == ([(2, 1)], [b"[2]"])


def test_a_key_that_expired_while_the_shard_was_down_gives_itself_away(stage):
    say(stage, waits(1, seconds=5.0), waits(2))
    stage.now += 10.0
    stage.restart()
    stage.turns(8)
    assert keys(stage) == [b"[2]"]


def test_nobody_has_his_turn_before_everybody_has_replayed(stage):
    """Who would get the event may not have subscribed again yet."""
    queue(stage, 1, 2)
    stage["gateway-0"].replay = [Present(2)]
    stage.restart()
    stage["gateway-1"].silent = True
    stage.turns(8)
    assert answered(stage) == []
    stage["gateway-1"].silent = False
    stage.turns(8)
    assert seen(stage) == [b"[2]"]
    assert answered(stage) == [(2, 1)]


# When the store fails


def fail(stage):
    """What waits for the disk fails, and the disk goes on failing."""
    stage.disk.trouble = "disk full"
    stage.disk.held = False
    stage.turns()


def recover(stage):
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)


def test_whose_turn_could_not_be_stored_waits_on_and_has_it_when_the_store_works(stage):
    queue(stage, 1, 2, 3)
    stage.disk.held = True
    say(stage, leave(1))
    fail(stage)
    assert (answered(stage), seen(stage)) == ([], [])
    assert waiting(stage) == 2
    recover(stage)
    assert (answered(stage), keys(stage)) == ([(2, 1)], [b"[2]"])
    say(stage, erase(2))
    assert answered(stage) == [(2, 2), (3, 1)]
    assert stored(stage, rows.WAITER) == []


def test_several_turns_that_failed_together_are_taken_in_the_same_order(stage):
    queue(stage, 1, 2, 3, 4)
    stage.disk.held = True
    say(stage, erase(1), leave(2), leave(3))
    fail(stage)
    assert answered(stage) == [(1, -2)]
    assert waiting(stage) == 1
    recover(stage)
    assert (waiting(stage), keys(stage)) == (1, [b"[1]"])
    say(stage, erase(1, 3))
    assert answered(stage) == [(1, 3), (4, 1)]


def test_a_release_that_failed_gives_nobody_the_key(stage):
    queue(stage, 1, 2, 3)
    stage.disk.held = True
    say(stage, erase())
    fail(stage)
    assert (answered(stage), waiting(stage)) == ([(1, -2)], 2)
    recover(stage)
    assert (answered(stage), keys(stage)) == ([], [b"[1]"])
    for session in (1, 2):
        say(stage, erase(session, 3))
        assert answered(stage) == [(session, 3), (session + 1, 1)]


def test_who_cannot_be_stored_is_refused_and_does_not_wait(stage):
    queue(stage, 1)
    stage.disk.held = True
    say(stage, waits(2))
    fail(stage)
    (refused,) = stage.got("gateway-0", Refused)
    assert (refused.session, refused.uri) == (2, UNAVAILABLE)
    assert waiting(stage) == 0
    say(stage, waits(3))
    (refused,) = stage.got("gateway-0", Refused)
    assert (refused.session, refused.uri) == (3, UNAVAILABLE)
    recover(stage)
    assert stored(stage, rows.WAITER) == []
    say(stage, waits(4))
    assert waiting(stage) == 1


def test_who_was_let_through_before_he_was_stored_is_refused_when_both_fail(stage):
    queue(stage, 1)
    stage.disk.held = True
    say(stage, waits(2), erase())
    fail(stage)
    assert answered(stage) == [(1, -2), (2, -1)]
    recover(stage)
    assert (waiting(stage), keys(stage), stored(stage, rows.WAITER)) == (0, [b"[1]"], [])


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_waiter_that_leaves_while_the_store_fails_is_forgotten(when, stage):
    queue(stage, 1, 2, 3)
    stage.disk.held = True
    say(stage, leave(1))
    if when == "before":
        say(stage, leave(2))
    fail(stage)
    if when == "meanwhile":
        say(stage, leave(2))
    recover(stage)
    assert (answered(stage), keys(stage)) == ([(3, 1)], [b"[3]"])
    assert stored(stage, rows.WAITER) == []


def test_a_key_that_expires_while_the_store_fails_gives_itself_away_when_it_works(stage):
    say(stage, waits(1, seconds=3.0), waits(2))
    answered(stage)
    stage.disk.trouble = "disk full"
    say(stage, publish("x", session=5, flags=KEEP))
    stage.pass_time(4.0)
    assert answered(stage) == [(5, -1)]
    recover(stage)
    assert answered(stage) == [(2, 1)]


def test_the_time_of_a_key_begins_when_the_store_has_worked_again(stage):
    queue(stage, 1)
    say(stage, waits(2, seconds=5.0))
    stage.disk.trouble = "disk full"
    say(stage, publish("x", session=5, flags=KEEP), leave(1))
    stage["gateway-0"].silent = stage["gateway-1"].silent = True
    stage.pass_time(4.0)
    stage["gateway-0"].silent = stage["gateway-1"].silent = False
    recover(stage)
    stage.pass_time(3.0)
    assert keys(stage) == [b"[2]"]
    stage.pass_time(3.0)
    assert keys(stage) == []


def test_a_shard_that_restarts_with_a_failing_store_gives_turns_when_it_works(stage):
    queue(stage, 1, 2)
    stage["gateway-0"].replay = [Present(2)]
    stage.restart()
    stage.disk.trouble = "disk full"
    stage.turns(8)
    say(stage, publish("x", session=5, flags=KEEP))
    stage.turns(8)
    recover(stage)
    assert (2, 1) in answered(stage)
    assert keys(stage) == [b"[2]"]


# What others see of it


def test_a_turn_is_settled_for_those_who_subscribe_later(stage):
    """Else they would take it for news after a restart."""
    queue(stage, 1, 2)
    stage["gateway-0"].deaf = True
    say(stage, leave(1))
    (event,) = stage.got("gateway-1", Event)
    stage.say("gateway-1", subscribe("=a.b", token=1))
    settled, subscribed = stage.got("gateway-1", Settled | Subscribed)
    assert (settled, subscribed) == (Settled(event.publication), Subscribed(1))


# In memory


def test_in_memory_nobody_waits_for_the_disk():
    stage = watched_stage(unstored=(REALM,))
    stage.disk.held = True
    queue(stage, 1, 2, 3)
    assert stage["gateway-0"].link.outbox == []
    say(stage, erase())
    assert answered(stage) == [(1, 2), (2, 1)]
    say(stage, leave(2))
    assert (answered(stage), seen(stage)) == ([(3, 1)], [b"", b"[2]", b"[3]"])
    assert stored(stage, rows.WAITER) == stored(stage, rows.GRANT) == []


def test_in_memory_a_turn_does_not_overtake_what_its_session_published(stage):
    stage = watched_stage(unstored=("memory",))
    memory = {"realm": "memory", "topic": "m"}
    stage.say("gateway-1", subscribe("*#", realm="memory"))
    say(stage, publish(session=1, flags=KEEP, **memory))
    waiter = publish(session=2, flags=IF, args=b"[2]", keep=Keep(when=NO_KEY, watch=True), **memory)
    say(stage, waiter)
    seen(stage)
    stage.disk.held = True
    say(stage, publish("x", session=2, request=2, flags=KEEP, args=b'["x"]'))
    say(stage, publish(session=1, request=2, flags=KEEP | EMPTY, args=b"", **memory))
    assert seen(stage) == [b""]
    stage.disk.held = False
    stage.turns()
    assert seen(stage) == [b'["x"]', b"[2]"]
    assert (2, 1) in answered(stage)
