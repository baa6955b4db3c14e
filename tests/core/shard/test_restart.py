"""A shard that is killed, and the frames that its peers send again when it is back."""

import pytest
from shard_harness import REALM, ShardHarness, leave, publish, subscribe

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
from fox_shard.shard.links.outcomes import GONE
from fox_shard.shard.publishing import settled
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY


def retain(topic="a.b", *, flags=KEEP, **more):
    return publish(topic, flags=flags, **more)


def started(**more):
    """Return a harness whose gateway-1 is subscribed to everything, also after a restart."""
    harness = ShardHarness(gateways=2, **more)
    harness.say("gateway-1", subscribe("*#"))
    harness["gateway-1"].replay = [subscribe("*#")]
    return harness


@pytest.fixture
def harness():
    return started()


def commit_and_kill(harness, *frames):
    """Send and commit the frames, and restart the shard before any peer hears of them."""
    harness.disk.held = True
    harness.say("gateway-0", *frames, reliable=True)
    harness.commit()
    harness.restart()


def outcomes(harness):
    return [key for key in harness.disk.rows if key.startswith(rows.OUTCOMES)]


def shown(harness):
    harness.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in harness.got("gateway-1", Retained)]


# Recorded frames, which are sent again and not applied twice


@pytest.mark.parametrize("flags", [KEEP, ERASE])
def test_a_recorded_publish_is_answered_from_its_outcome(flags, harness):
    commit_and_kill(harness, retain("a", request=1), retain("a", request=2, flags=flags))
    (key,) = outcomes(harness)
    recorded = rows.decode_outcomes(harness.disk.rows[key])
    harness.turns(8)
    again = harness.got("gateway-1", Again | Event)
    assert [type(frame) for frame in again] == [Again, Again]
    ids = [frame.event.publication for frame in again]
    assert recorded == [(1, ids[0]), (2, ids[1])]
    answers = harness.got("gateway-0", Published)
    assert [(one.requests, one.publications) for one in answers] == [([1], ids[:1]), ([2], ids[1:])]


def test_a_recorded_publish_is_not_applied_twice(harness):
    """The later publish of another session stands."""
    harness.disk.held = True
    harness.say("gateway-0", retain(args=b'["older"]'), reliable=True)
    harness.say("gateway-1", retain(session=2, args=b'["newer"]'), reliable=True)
    harness.commit()
    harness.restart()
    harness.turns(8)
    assert shown(harness) == [b'["newer"]']
    assert harness.shard.retained_keys.keys_held == 1


def test_an_unrecorded_publish_is_applied(harness):
    harness.disk.held = True
    harness.say("gateway-0", retain(), publish("x", request=2), reliable=True)
    harness.restart()
    harness.turns(8)
    events = harness.got("gateway-1", Event | Again)
    assert [(type(one), one.publish.topic) for one in events] == [(Event, "a.b"), (Event, "x")]
    assert [one.requests for one in harness.got("gateway-0", Published)] == [[1], [2]]
    assert rows.key(REALM, "a.b") in harness.disk.rows


def test_a_publish_that_stores_nothing_is_handled_again(harness):
    """Delivery is at least once, because no row tells that the event has been delivered."""
    commit_and_kill(
        harness, retain("a", request=1), publish("x", request=2), retain("b", request=3)
    )
    harness.turns(8)
    again = harness.got("gateway-1", Event | Again)
    assert [type(one) for one in again] == [Again, Event, Again]
    assert [one.requests for one in harness.got("gateway-0", Published)] == [[1], [2], [3]]


def test_a_confirmed_publish_is_not_sent_again(harness):
    harness.say("gateway-0", retain(request=1), reliable=True)
    harness.pass_time(0.2)
    assert harness["gateway-0"].link.idle
    harness.got("gateway-0")
    harness.restart()
    harness.turns(8)
    assert harness.got("gateway-0", Published) == harness.got("gateway-1", Again) == []


def test_an_event_is_sent_again_only_to_present_subscribers(harness):
    harness["gateway-1"].replay = [subscribe("=else")]
    commit_and_kill(harness, retain())
    harness.turns(8)
    assert harness.got("gateway-1", Again) == []
    assert len(harness.got("gateway-0", Published)) == 1


def test_an_answer_waits_until_the_event_sent_again_is_confirmed(harness):
    commit_and_kill(harness, retain())
    harness["gateway-0"].silent = True
    harness.turns(8)
    harness["gateway-0"].silent, harness["gateway-1"].silent = False, True
    harness.turns(8)
    assert len(harness.got("gateway-1", Again)) == 1
    assert harness.got("gateway-0", Published) == []
    harness["gateway-1"].silent = False
    harness.turns()
    assert len(harness.got("gateway-0", Published)) == 1


def test_a_publish_at_another_gateway_does_not_wait_for_events_sent_again(harness):
    """As always, an answer waits only for the gateways concerned."""
    commit_and_kill(harness, retain())
    harness.say("gateway-1", publish("x", session=2))
    harness.turns(8)
    assert len(harness.got("gateway-1", Published)) == 1


@pytest.mark.parametrize("disk", ["works", "fails"])
def test_an_event_sent_again_does_not_overtake_earlier_publishes_of_its_session(disk):
    """A frame that was not handled before the restart comes after all that were."""
    harness = ShardHarness(gateways=3)
    harness["gateway-2"].replay = [subscribe("*#")]
    harness["gateway-1"].deaf = True
    harness.disk.held = True
    earlier = publish("key", session=2, request=1)
    harness.say("gateway-1", earlier, retain("recorded", session=2, request=2), reliable=True)
    harness.commit()
    harness.say("gateway-0", retain("key"), reliable=True)
    harness.restart()
    harness.disk.trouble = "" if disk == "works" else "disk full"
    harness.turns(8)
    frames = harness.got("gateway-2", Again | Event)
    topics = [getattr(frame, "event", frame).publish.topic for frame in frames]
    assert topics == ["key", "recorded", *(["key"] if disk == "works" else [])]
    assert [type(frame) for frame in frames[:2]] == [Event, Again]
    assert [one.requests for one in harness.got("gateway-1", Published)] == [[1], [2]]


def test_a_refused_publish_is_refused_again(harness):
    harness.disk.trouble = "disk full"
    harness["gateway-0"].deaf = True
    harness.say("gateway-0", retain(request=1), reliable=True)
    harness.say("gateway-0", retain(request=2), reliable=True)
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)
    harness.restart()
    harness.turns(8)
    refusals = harness.got("gateway-0", Refused)
    assert [(one.request, one.uri) for one in refusals] == [
        (1, "fox.error.unavailable_store"),
        (2, "fox.error.unavailable_store"),
    ]
    assert harness.got("gateway-1", Again | Event) == shown(harness) == []


def test_a_refused_publish_without_a_stored_outcome_may_be_applied(harness):
    """The store failed until the shard was killed, and the publisher has heard nothing."""
    harness.disk.trouble = "disk full"
    harness["gateway-0"].deaf = True
    harness.say("gateway-0", retain(), reliable=True)
    harness.restart()
    harness.turns(8)
    assert harness.got("gateway-0", Refused) == []
    assert len(harness.got("gateway-0", Published)) == 1


def test_frames_after_the_replay_have_no_outcomes(harness):
    """The store has outcomes of earlier numbers only."""
    commit_and_kill(harness, retain(request=1))
    harness["gateway-0"].link.send_reliable(retain(request=2))
    harness.turns(8)
    assert [type(one) for one in harness.got("gateway-1", Again | Event)] == [Again, Event]


# Dropping outcomes


def test_outcomes_are_kept_until_the_peer_has_heard_that_it_may_forget(harness):
    harness.say("gateway-0", retain("a"), reliable=True)
    assert len(outcomes(harness)) == 1
    # The peer's next batch says so, and the next transaction deletes the row.
    harness.say("gateway-0", publish("x", flags=0))
    assert len(outcomes(harness)) == 1
    harness.say("gateway-1", retain("b"))
    assert outcomes(harness) == []


def test_outcomes_are_dropped_after_a_restart_too(harness):
    commit_and_kill(harness, retain("a"))
    harness.turns(8)
    harness.say("gateway-0", publish("x", flags=0))
    harness.say("gateway-1", retain("b"))
    assert outcomes(harness) == []
    assert harness.shard.outcomes.outcome(harness.shard.peers["gateway-0"], 1) is None


def peer_rows(harness):
    stored = harness.disk.rows
    return [rows.decode_peer(stored[key]) for key in stored if key.startswith(rows.PEER)]


def test_only_the_fact_is_kept_of_a_gateway_that_has_gone(harness):
    harness.say("gateway-0", retain("a"), reliable=True)
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    harness.say("gateway-1", retain("b"))
    assert outcomes(harness) == []
    assert {row.watermark for row in peer_rows(harness)} == {GONE}


def test_no_rows_are_kept_of_a_gateway_that_does_not_come_back_after_a_restart(harness):
    harness.say("gateway-0", retain("a"), reliable=True)
    harness.restart()
    harness.kill("gateway-0")
    harness.pass_time(11.0)
    harness.say("gateway-1", retain("b"))
    assert outcomes(harness) == []
    assert {row.watermark for row in peer_rows(harness)} == {GONE}


def test_a_new_incarnation_of_a_gateway_is_not_taken_for_the_old_one(harness):
    """The new incarnation numbers anew, and none of its frames is recorded."""
    harness.disk.held = True
    harness.say("gateway-0", retain(args=b'["old"]'), reliable=True)
    harness.commit()
    harness.restart()
    harness.join("gateway-0", incarnation=2)
    harness.send("gateway-0", retain(args=b'["new"]'), reliable=True)
    harness.turns(8)
    assert [type(one) for one in harness.got("gateway-1", Again | Event)] == [Event]
    assert shown(harness) == [b'["new"]']
    assert len(outcomes(harness)) == 1


def test_failures_of_the_old_incarnation_do_not_affect_the_new_one(harness):
    harness.say("gateway-0", retain(request=1), retain(request=2), reliable=True)
    harness.disk.held = True
    harness.say("gateway-0", retain(request=3), reliable=True)
    harness.join("gateway-0", incarnation=2)
    harness.turns(6)
    harness.disk.held, harness.disk.trouble = False, "disk full"
    harness.turns()
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)
    harness["gateway-0"].deaf = True
    harness.say("gateway-0", *(retain(request=n) for n in (1, 2, 3)), reliable=True)
    assert len(outcomes(harness)) == 1
    harness.restart()
    harness.turns(8)
    assert harness.got("gateway-0", Refused) == []
    assert [one.requests for one in harness.got("gateway-0", Published)] == [[1], [2], [3]]


def test_a_gateway_hears_what_is_settled_before_its_subscription_is_confirmed(harness):
    """Events that are held are not settled, because the gateway is yet to get them."""
    harness.say("gateway-0", retain(request=1))
    (first,) = (event.publication for event in harness.got("gateway-1", Event))
    harness.say("gateway-1", subscribe("=other", token=1))
    assert harness.got("gateway-1") == [Settled(first), Subscribed(1)]
    harness.say("gateway-1", subscribe("=another", token=2))
    assert harness.got("gateway-1") == [Subscribed(2)]
    harness.disk.held = True
    harness.say("gateway-0", retain(request=2))
    harness.say("gateway-1", subscribe("=a third", token=3))
    settled, subscribed = harness.got("gateway-1")
    harness.disk.held = False
    harness.commit()
    harness.turns()
    (second,) = (event.publication for event in harness.got("gateway-1", Event))
    assert (settled, subscribed) == (Settled(second - 1), Subscribed(3))


def test_gateways_hear_what_is_settled_from_time_to_time(harness, monkeypatch):
    monkeypatch.setattr(settled, "SETTLED_EVERY", 3)
    harness.say("gateway-0", *(retain(request=n) for n in (1, 2, 3)))
    ids = [event.publication for event in harness.got("gateway-1", Event)]
    assert harness.got("gateway-1", Settled) == [Settled(ids[-1])]
    # The next Settled comes when as many more have been recorded.
    harness.say("gateway-0", retain(), retain())
    assert harness.got("gateway-1", Settled) == []


def test_a_replay_that_breaks_off_begins_anew(harness):
    """Frames that were sent again before the pair broke, during sync, are not handled twice."""
    commit_and_kill(harness, retain())
    harness["gateway-1"].silent = True
    harness.turns(6)
    harness["gateway-0"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    harness.turns(6)
    harness["gateway-1"].silent = False
    harness.turns(8)
    assert len(harness.got("gateway-1", Again | Event)) == 1
    assert len(harness.got("gateway-0", Published)) == 1


# The coordinator, all of whose publishes are recorded


META = "wamp.session.on_join"


def meta(number):
    return publish(META, session=0, request=0, flags=0, args=b"[%d]" % number)


@pytest.fixture
def with_coordinator(harness):
    harness.join("coordinator")
    harness.say("gateway-1", subscribe(f"={META}"))
    harness["gateway-1"].replay.append(subscribe(f"={META}"))
    return harness


def numbers(harness, kind=Again | Event):
    events = [getattr(one, "event", one) for one in harness.got("gateway-1", kind)]
    return [event.publish.args for event in events]


def test_an_event_of_the_coordinator_keeps_its_id_when_it_is_sent_again(with_coordinator):
    harness = with_coordinator
    harness["coordinator"].deaf = True
    harness.say("coordinator", meta(1), meta(2), reliable=True)
    (first, second) = harness.got("gateway-1", Event)
    assert first.publish.flags == RECORDED
    harness.restart()
    harness.turns(8)
    again = harness.got("gateway-1", Again | Event)
    assert [one.event.publication for one in again] == [first.publication, second.publication]


def test_an_event_of_the_coordinator_that_could_not_be_recorded_is_not_repeated(with_coordinator):
    """While the store fails, the event goes to present subscribers and is not recorded."""
    harness = with_coordinator
    harness.disk.trouble = "disk full"
    harness.say("gateway-0", retain())
    harness["coordinator"].deaf = True
    harness.say("coordinator", meta(1), reliable=True)
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)
    harness.say("coordinator", meta(2), reliable=True)
    assert numbers(harness, Event) == [b"[1]", b"[2]"]
    harness.restart()
    harness.turns(8)
    assert numbers(harness) == [b"[2]"]


@pytest.mark.parametrize("shard", ["lives", "dies"])
def test_a_new_coordinator_is_not_taken_for_the_old_one(shard, with_coordinator):
    harness = with_coordinator
    harness["coordinator"].deaf = True
    harness.say("coordinator", *(meta(n) for n in range(5)), reliable=True)
    assert len(numbers(harness)) == 5
    if shard == "dies":
        harness.restart()
    harness.join("coordinator", incarnation=2)
    harness.turns(8)
    numbers(harness)
    harness.say("coordinator", meta(10), reliable=True)
    harness.say("coordinator", meta(11), reliable=True)
    assert numbers(harness, Event) == [b"[10]", b"[11]"]


def test_no_outcomes_are_left_of_an_old_coordinator(with_coordinator):
    harness = with_coordinator
    for incarnation in (1, 2):
        harness.join("coordinator", incarnation=incarnation)
        harness.turns()
        harness["coordinator"].deaf = True
        harness.say("coordinator", *(meta(n) for n in range(6 - incarnation)), reliable=True)
    (key,) = outcomes(harness)
    assert len(rows.decode_outcomes(harness.disk.rows[key])) == 4
    harness.restart()
    harness.turns(8)
    harness.pass_time(2 * harness.terms.heartbeat)
    assert harness["coordinator"].link.idle
    harness.say("gateway-0", retain(), reliable=True)
    assert [key for key in outcomes(harness) if b"coordinator" in key] == []


# Wills


@pytest.mark.parametrize("replayed", [True, False])
def test_a_will_survives_a_restart_if_its_gateway_replays_it(replayed, harness):
    """Otherwise the session has left meanwhile."""
    will = Will(publish("w", flags=0, args=b'["will"]'))
    harness.say("gateway-0", will)
    if replayed:
        harness["gateway-0"].replay = [*harness["gateway-0"].replay, will]
    harness.restart()
    harness.turns(8)
    harness.say("gateway-0", leave(1, graceful=False))
    assert numbers(harness) == ([b'["will"]'] if replayed else [])
    harness.commit()
    assert not any(key.startswith(rows.WILL) for key in harness.disk.rows)


@pytest.mark.parametrize("returns", ["same", "new", "never"])
def test_a_will_is_published_unless_its_gateway_returns_in_the_same_incarnation(returns, harness):
    will = Will(publish("w", flags=0, args=b'["will"]'))
    harness.say("gateway-0", will)
    harness.restart()
    if returns != "same":
        del harness.peers["gateway-0"]
    if returns == "new":
        harness.join("gateway-0", incarnation=2)
    harness.pass_time(11.0)
    assert numbers(harness) == ([] if returns == "same" else [b'["will"]'])


def test_a_dropped_will_does_not_come_back(harness):
    harness.say("gateway-0", Will(publish("w", flags=0)))
    harness.say("gateway-0", leave(1), reliable=True)
    harness.restart()
    harness.turns(8)
    harness.say("gateway-0", leave(1, graceful=False))
    assert numbers(harness) == []


@pytest.mark.parametrize("disk", ["held", "failing", "failing since"])
def test_a_dropped_will_does_not_come_back_even_if_its_row_was_not_deleted(disk, harness):
    """The gateway, which may forget the leave, does not replay the will to the restarted shard."""
    harness.say("gateway-0", Will(publish("w", flags=0)))
    if disk == "failing":
        harness.disk.trouble = "disk full"
        harness.say("gateway-1", retain("x", session=2))
    harness.disk.held = True
    harness.say("gateway-0", leave(1), reliable=True)
    if disk == "failing since":
        harness.disk.trouble = "disk full"
        harness.disk.held = False
        harness.turns()
    harness.pass_time(0.5)
    harness.restart()
    harness.turns(8)
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    assert numbers(harness) == []
