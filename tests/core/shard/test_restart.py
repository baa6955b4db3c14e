"""A shard that is killed, and what its peers send it again when it is back."""

import pytest
from shard_harness import REALM, Stage, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RECORDED,
    RETAIN,
    Again,
    Event,
    Published,
    Refused,
    Retained,
    Settled,
    Subscribed,
    Will,
)
from fox_shard.shard import rows
from fox_shard.shard.publishing import settled
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY


def keep(topic="a.b", *, flags=KEEP, **more):
    return publish(topic, flags=flags, **more)


def started(**more):
    """gateway-1 is subscribed to everything, also when it replays."""
    stage = Stage(gateways=2, **more)
    stage.say("gateway-1", subscribe("*#"))
    stage["gateway-1"].replay = [subscribe("*#")]
    return stage


@pytest.fixture
def stage():
    return started()


def unheard(stage, *frames):
    """They are committed, and the shard is killed before anybody hears of it."""
    stage.disk.held = True
    stage.say("gateway-0", *frames, reliable=True)
    stage.commit()
    stage.restart()


def outcomes(stage):
    return [key for key in stage.disk.rows if key.startswith(rows.OUTCOMES)]


def shown(stage):
    stage.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in stage.got("gateway-1", Retained)]


# What is recorded comes again, and is not applied twice


@pytest.mark.parametrize("flags", [KEEP, ERASE])
def test_what_is_recorded_is_answered_from_its_outcome(flags, stage):
    unheard(stage, keep("a", request=1), keep("a", request=2, flags=flags))
    (key,) = outcomes(stage)
    recorded = rows.decode_outcomes(stage.disk.rows[key])
    stage.turns(8)
    again = stage.got("gateway-1", Again | Event)
    assert [type(frame) for frame in again] == [Again, Again]
    ids = [frame.event.publication for frame in again]
    assert recorded == [(1, ids[0]), (2, ids[1])]
    answers = stage.got("gateway-0", Published)
    assert [(one.requests, one.publications) for one in answers] == [([1], ids[:1]), ([2], ids[1:])]


def test_what_is_recorded_is_not_applied_twice(stage):
    """What another session has published since then stands."""
    stage.disk.held = True
    stage.say("gateway-0", keep(args=b'["older"]'), reliable=True)
    stage.say("gateway-1", keep(session=2, args=b'["newer"]'), reliable=True)
    stage.commit()
    stage.restart()
    stage.turns(8)
    assert shown(stage) == [b'["newer"]']
    assert stage.shard.retention.keys_held == 1


def test_what_is_not_recorded_is_applied(stage):
    stage.disk.held = True
    stage.say("gateway-0", keep(), publish("x", request=2), reliable=True)
    stage.restart()
    stage.turns(8)
    events = stage.got("gateway-1", Event | Again)
    assert [(type(one), one.publish.topic) for one in events] == [(Event, "a.b"), (Event, "x")]
    assert [one.requests for one in stage.got("gateway-0", Published)] == [[1], [2]]
    assert rows.key(REALM, "a.b") in stage.disk.rows


def test_what_stores_nothing_is_handled_again(stage):
    """At least once: nothing tells that it has been delivered."""
    unheard(stage, keep("a", request=1), publish("x", request=2), keep("b", request=3))
    stage.turns(8)
    again = stage.got("gateway-1", Event | Again)
    assert [type(one) for one in again] == [Again, Event, Again]
    assert [one.requests for one in stage.got("gateway-0", Published)] == [[1], [2], [3]]


def test_only_what_has_not_been_heard_comes_again(stage):
    stage.say("gateway-0", keep(request=1), reliable=True)
    stage.pass_time(0.2)
    assert stage["gateway-0"].link.idle
    stage.got("gateway-0")
    stage.restart()
    stage.turns(8)
    assert stage.got("gateway-0", Published) == stage.got("gateway-1", Again) == []


def test_what_comes_again_is_for_who_is_subscribed_then(stage):
    stage["gateway-1"].replay = [subscribe("=else")]
    unheard(stage, keep())
    stage.turns(8)
    assert stage.got("gateway-1", Again) == []
    assert len(stage.got("gateway-0", Published)) == 1


def test_an_answer_waits_until_what_comes_again_is_confirmed(stage):
    unheard(stage, keep())
    stage["gateway-0"].silent = True
    stage.turns(8)
    stage["gateway-0"].silent, stage["gateway-1"].silent = False, True
    stage.turns(8)
    assert len(stage.got("gateway-1", Again)) == 1
    assert stage.got("gateway-0", Published) == []
    stage["gateway-1"].silent = False
    stage.turns()
    assert len(stage.got("gateway-0", Published)) == 1


def test_who_publishes_at_another_gateway_does_not_wait_for_what_comes_again(stage):
    """As always: an answer waits for whom it concerns."""
    unheard(stage, keep())
    stage.say("gateway-1", publish("x", session=2))
    stage.turns(8)
    assert len(stage.got("gateway-1", Published)) == 1


@pytest.mark.parametrize("disk", ["works", "fails"])
def test_what_comes_again_does_not_overtake_what_its_session_published_before(disk):
    """Nor does what was not handled before: it is behind all that was."""
    stage = Stage(gateways=3)
    stage["gateway-2"].replay = [subscribe("*#")]
    stage["gateway-1"].deaf = True
    stage.disk.held = True
    earlier = publish("key", session=2, request=1)
    stage.say("gateway-1", earlier, keep("recorded", session=2, request=2), reliable=True)
    stage.commit()
    stage.say("gateway-0", keep("key"), reliable=True)
    stage.restart()
    stage.disk.trouble = "" if disk == "works" else "disk full"
    stage.turns(8)
    frames = stage.got("gateway-2", Again | Event)
    topics = [getattr(frame, "event", frame).publish.topic for frame in frames]
    assert topics == ["key", "recorded", *(["key"] if disk == "works" else [])]
    assert [type(frame) for frame in frames[:2]] == [Event, Again]
    assert [one.requests for one in stage.got("gateway-1", Published)] == [[1], [2]]


def test_what_was_refused_is_refused_again(stage):
    stage.disk.trouble = "disk full"
    stage["gateway-0"].deaf = True
    stage.say("gateway-0", keep(request=1), reliable=True)
    stage.say("gateway-0", keep(request=2), reliable=True)
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)
    stage.restart()
    stage.turns(8)
    refusals = stage.got("gateway-0", Refused)
    assert [(one.request, one.uri) for one in refusals] == [
        (1, "fox.error.unavailable_store"),
        (2, "fox.error.unavailable_store"),
    ]
    assert stage.got("gateway-1", Again | Event) == shown(stage) == []


def test_what_was_refused_and_not_recorded_may_be_applied(stage):
    """The store did not work until the shard was killed, and the publisher has heard nothing."""
    stage.disk.trouble = "disk full"
    stage["gateway-0"].deaf = True
    stage.say("gateway-0", keep(), reliable=True)
    stage.restart()
    stage.turns(8)
    assert stage.got("gateway-0", Refused) == []
    assert len(stage.got("gateway-0", Published)) == 1


def test_what_comes_behind_the_replay_is_not_looked_up(stage):
    """Of these numbers the store knows nothing, whatever it says of earlier ones."""
    unheard(stage, keep(request=1))
    stage["gateway-0"].link.send_reliable(keep(request=2))
    stage.turns(8)
    assert [type(one) for one in stage.got("gateway-1", Again | Event)] == [Again, Event]


# Forgetting


def test_outcomes_are_kept_until_the_peer_has_heard_that_it_may_forget(stage):
    stage.say("gateway-0", keep("a"), reliable=True)
    assert len(outcomes(stage)) == 1
    # Its next batch says so, and with the next transaction the row goes.
    stage.say("gateway-0", publish("x", flags=0))
    assert len(outcomes(stage)) == 1
    stage.say("gateway-1", keep("b"))
    assert outcomes(stage) == []


def test_after_a_restart_too(stage):
    unheard(stage, keep("a"))
    stage.turns(8)
    stage.say("gateway-0", publish("x", flags=0))
    stage.say("gateway-1", keep("b"))
    assert outcomes(stage) == []
    assert stage.shard.ledger.outcome(stage.shard.peers["gateway-0"], 1) is None


def test_of_a_gateway_that_has_gone_nothing_is_kept(stage):
    stage.say("gateway-0", keep("a"), reliable=True)
    stage.kill("gateway-0")
    stage.pass_time(6.0)
    stage.say("gateway-1", keep("b"))
    assert outcomes(stage) == []
    assert not any(key.startswith(rows.PEER) for key in stage.disk.rows)


def test_of_a_gateway_that_does_not_come_back_after_a_restart_neither(stage):
    stage.say("gateway-0", keep("a"), reliable=True)
    stage.restart()
    stage.kill("gateway-0")
    stage.pass_time(11.0)
    stage.say("gateway-1", keep("b"))
    assert outcomes(stage) == []
    assert not any(key.startswith(rows.PEER) for key in stage.disk.rows)


def test_a_new_incarnation_of_a_gateway_is_not_taken_for_the_old_one(stage):
    """Its numbers begin anew; of them, nothing is recorded."""
    stage.disk.held = True
    stage.say("gateway-0", keep(args=b'["old"]'), reliable=True)
    stage.commit()
    stage.restart()
    stage.join("gateway-0", incarnation=2)
    stage.send("gateway-0", keep(args=b'["new"]'), reliable=True)
    stage.turns(8)
    assert [type(one) for one in stage.got("gateway-1", Again | Event)] == [Event]
    assert shown(stage) == [b'["new"]']
    assert len(outcomes(stage)) == 1


def test_what_failed_of_the_old_incarnation_is_nothing_to_the_new_one(stage):
    stage.say("gateway-0", keep(request=1), keep(request=2), reliable=True)
    stage.disk.held = True
    stage.say("gateway-0", keep(request=3), reliable=True)
    stage.join("gateway-0", incarnation=2)
    stage.turns(6)
    stage.disk.held, stage.disk.trouble = False, "disk full"
    stage.turns()
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)
    stage["gateway-0"].deaf = True
    stage.say("gateway-0", *(keep(request=n) for n in (1, 2, 3)), reliable=True)
    assert len(outcomes(stage)) == 1
    stage.restart()
    stage.turns(8)
    assert stage.got("gateway-0", Refused) == []
    assert [one.requests for one in stage.got("gateway-0", Published)] == [[1], [2], [3]]


def test_a_subscriber_hears_first_that_what_he_has_not_seen_is_old(stage):
    """Up to what is held, which he is yet to see."""
    stage.say("gateway-0", keep(request=1))
    (first,) = (event.publication for event in stage.got("gateway-1", Event))
    stage.say("gateway-1", subscribe("=other", token=1))
    assert stage.got("gateway-1") == [Settled(first), Subscribed(1)]
    stage.say("gateway-1", subscribe("=another", token=2))
    assert stage.got("gateway-1") == [Subscribed(2)]
    stage.disk.held = True
    stage.say("gateway-0", keep(request=2))
    stage.say("gateway-1", subscribe("=a third", token=3))
    settled, subscribed = stage.got("gateway-1")
    stage.disk.held = False
    stage.commit()
    stage.turns()
    (second,) = (event.publication for event in stage.got("gateway-1", Event))
    assert (settled, subscribed) == (Settled(second - 1), Subscribed(3))


def test_gateways_hear_what_is_settled_from_time_to_time(stage, monkeypatch):
    monkeypatch.setattr(settled, "SETTLED_EVERY", 3)
    stage.say("gateway-0", *(keep(request=n) for n in (1, 2, 3)))
    ids = [event.publication for event in stage.got("gateway-1", Event)]
    assert stage.got("gateway-1", Settled) == [Settled(ids[-1])]
    # It is not said again until as many have been recorded.
    stage.say("gateway-0", keep(), keep())
    assert stage.got("gateway-1", Settled) == []


def test_a_replay_that_breaks_off_begins_anew(stage):
    """Before the barrier is over: what was sent again is not handled twice."""
    unheard(stage, keep())
    stage["gateway-1"].silent = True
    stage.turns(6)
    stage["gateway-0"].link.break_off(stage.now)
    stage.shard.lost("gateway-0", stage.now)
    stage.turns(6)
    stage["gateway-1"].silent = False
    stage.turns(8)
    assert len(stage.got("gateway-1", Again | Event)) == 1
    assert len(stage.got("gateway-0", Published)) == 1


# The coordinator: all it publishes is recorded


META = "wamp.session.on_join"


def meta(number):
    return publish(META, session=0, request=0, flags=0, args=b"[%d]" % number)


@pytest.fixture
def with_coordinator(stage):
    stage.join("coordinator")
    stage.say("gateway-1", subscribe(f"={META}"))
    stage["gateway-1"].replay.append(subscribe(f"={META}"))
    return stage


def numbers(stage, kind=Again | Event):
    events = [getattr(one, "event", one) for one in stage.got("gateway-1", kind)]
    return [event.publish.args for event in events]


def test_an_event_of_the_coordinator_comes_once(with_coordinator):
    stage = with_coordinator
    stage["coordinator"].deaf = True
    stage.say("coordinator", meta(1), meta(2), reliable=True)
    (first, second) = stage.got("gateway-1", Event)
    assert first.publish.flags == RECORDED
    stage.restart()
    stage.turns(8)
    again = stage.got("gateway-1", Again | Event)
    assert [one.event.publication for one in again] == [first.publication, second.publication]


def test_an_event_that_could_not_be_recorded_does_not_come_twice_either(with_coordinator):
    """While the store fails: the event needs no row, and whoever is there gets it."""
    stage = with_coordinator
    stage.disk.trouble = "disk full"
    stage.say("gateway-0", keep())
    stage["coordinator"].deaf = True
    stage.say("coordinator", meta(1), reliable=True)
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)
    stage.say("coordinator", meta(2), reliable=True)
    assert numbers(stage, Event) == [b"[1]", b"[2]"]
    stage.restart()
    stage.turns(8)
    assert numbers(stage) == [b"[2]"]


@pytest.mark.parametrize("shard", ["lives", "dies"])
def test_a_new_coordinator_is_not_taken_for_the_old_one(shard, with_coordinator):
    stage = with_coordinator
    stage["coordinator"].deaf = True
    stage.say("coordinator", *(meta(n) for n in range(5)), reliable=True)
    assert len(numbers(stage)) == 5
    if shard == "dies":
        stage.restart()
    stage.join("coordinator", incarnation=2)
    stage.turns(8)
    numbers(stage)
    stage.say("coordinator", meta(10), reliable=True)
    stage.say("coordinator", meta(11), reliable=True)
    assert numbers(stage, Event) == [b"[10]", b"[11]"]


def test_of_an_old_coordinator_nothing_is_left(with_coordinator):
    stage = with_coordinator
    for incarnation in (1, 2):
        stage.join("coordinator", incarnation=incarnation)
        stage.turns()
        stage["coordinator"].deaf = True
        stage.say("coordinator", *(meta(n) for n in range(6 - incarnation)), reliable=True)
    (key,) = outcomes(stage)
    assert len(rows.decode_outcomes(stage.disk.rows[key])) == 4
    stage.restart()
    stage.turns(8)
    stage.pass_time(2 * stage.terms.heartbeat)
    assert stage["coordinator"].link.idle
    stage.say("gateway-0", keep(), reliable=True)
    assert [key for key in outcomes(stage) if b"coordinator" in key] == []


# Wills


@pytest.mark.parametrize("told", [True, False])
def test_a_will_is_there_after_a_restart_if_its_gateway_tells_it_again(told, stage):
    """If it does not, the session has left meanwhile."""
    will = Will(publish("w", flags=0, args=b'["will"]'))
    stage.say("gateway-0", will)
    if told:
        stage["gateway-0"].replay = [*stage["gateway-0"].replay, will]
    stage.restart()
    stage.turns(8)
    stage.say("gateway-0", leave(1, graceful=False))
    assert numbers(stage) == ([b'["will"]'] if told else [])
    stage.commit()
    assert not any(key.startswith(rows.WILL) for key in stage.disk.rows)


@pytest.mark.parametrize("returns", ["same", "new", "never"])
def test_a_will_of_a_gateway_that_died_with_the_shard_goes_out(returns, stage):
    will = Will(publish("w", flags=0, args=b'["will"]'))
    stage.say("gateway-0", will)
    stage.restart()
    if returns != "same":
        del stage.puppets["gateway-0"]
    if returns == "new":
        stage.join("gateway-0", incarnation=2)
    stage.pass_time(11.0)
    assert numbers(stage) == ([] if returns == "same" else [b'["will"]'])


def test_a_will_that_was_dropped_does_not_come_back(stage):
    stage.say("gateway-0", Will(publish("w", flags=0)))
    stage.say("gateway-0", leave(1), reliable=True)
    stage.restart()
    stage.turns(8)
    stage.say("gateway-0", leave(1, graceful=False))
    assert numbers(stage) == []


@pytest.mark.parametrize("disk", ["held", "failing", "failing since"])
def test_a_session_has_not_left_before_the_store_knows(disk, stage):
    """Else its gateway, which may forget it then, would not tell a restarted shard of it."""
    stage.say("gateway-0", Will(publish("w", flags=0)))
    if disk == "failing":
        stage.disk.trouble = "disk full"
        stage.say("gateway-1", keep("x", session=2))
    stage.disk.held = True
    stage.say("gateway-0", leave(1), reliable=True)
    if disk == "failing since":
        stage.disk.trouble = "disk full"
        stage.disk.held = False
        stage.turns()
    stage.pass_time(0.5)
    stage.restart()
    stage.turns(8)
    stage.kill("gateway-0")
    stage.pass_time(6.0)
    assert numbers(stage) == []
