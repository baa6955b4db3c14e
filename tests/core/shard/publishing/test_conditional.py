"""Publishes that wait until their conditions hold, as locks do (semantics: `watch`)."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, leave, publish, subscribe, watched_harness

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    RETAIN,
    Again,
    Event,
    FencePassed,
    FenceQuery,
    Published,
    Refused,
    Retained,
    RetainOptions,
    SessionAlive,
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
def harness():
    """A harness whose gateway-1 is subscribed to everything, also after a restart."""
    return watched_harness()


def waits(session, *, request=1, flags=IF, seconds=0.0, weak=True, **condition):
    """Return a publish that takes the key when its condition holds, by default: no key."""
    retain = RetainOptions(seconds, watch=True, weak=weak, **(condition or {"when": NO_KEY}))
    return publish(
        session=session, request=request, flags=flags, args=b"[%d]" % session, retain=retain
    )


def erase(session=1, request=2):
    return publish(session=session, request=request, flags=KEEP | EMPTY, args=b"")


def say(harness, *frames, name="gateway-0"):
    """Send frames reliably, as gateways send acknowledged publishes."""
    harness.say(name, *frames, reliable=True)


def answered(harness, name="gateway-0"):
    """Return [(session, request)] of the answers, sorted; for a refusal, minus the request."""
    found = []
    for answer in harness.got(name, Published | Refused):
        if isinstance(answer, Refused):
            found.append((answer.session, -answer.request))
        else:
            found += [(answer.session, request) for request in answer.requests]
    return sorted(found)


def seen(harness, kind=Event | Again):
    """Return the arguments of the events that gateway-1 has received, or received again."""
    events = [getattr(one, "event", one) for one in harness.got("gateway-1", kind)]
    return [event.publish.args for event in events]


def keys(harness):
    harness.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event.publish.args for frame in harness.got("gateway-1", Retained)]


def stored(harness, kind):
    return [key for key in harness.disk.rows if key.startswith(kind)]


def waiting(harness):
    return harness.shard.health()["waiting_publishes"]


def queue(harness, *sessions):
    """Let the first session hold the key and the others wait, and discard what was sent so far."""
    say(harness, *(waits(session) for session in sessions))
    assert answered(harness) == [(sessions[0], 1)]
    assert waiting(harness) == len(sessions) - 1
    seen(harness)


# Which waiter is let through


def test_a_publish_whose_condition_holds_does_not_wait(harness):
    say(harness, waits(1))
    assert (answered(harness), seen(harness), waiting(harness)) == ([(1, 1)], [b"[1]"], 0)


def test_a_waiting_publish_is_neither_seen_nor_answered_until_it_is_let_through(harness):
    queue(harness, 1, 2)
    harness.pass_time(1.0)
    assert (answered(harness), seen(harness), keys(harness)) == ([], [], [b"[1]"])
    say(harness, erase())
    assert answered(harness) == [(1, 2), (2, 1)]
    assert seen(harness) == [b"", b"[2]"]
    assert (keys(harness), waiting(harness)) == ([b"[2]"], 0)


def test_a_waiting_publish_gets_its_id_when_it_is_let_through(harness):
    """Fencing tokens therefore grow from holder to holder."""
    say(harness, waits(1), waits(2))
    (first,) = (event.publication for event in harness.got("gateway-1", Event))
    between = publish("else", session=3)
    say(harness, between, erase())
    ids = [event.publication for event in harness.got("gateway-1", Event)]
    assert first < ids[0] < ids[1] < ids[2]


def test_each_change_lets_the_first_waiter_through(harness):
    queue(harness, 1, 2, 3, 4)
    for session in (1, 2, 3):
        say(harness, erase(session))
        assert answered(harness) == [(session, 2), (session + 1, 1)]
    assert keys(harness) == [b"[4]"]


def test_a_waiter_may_wait_for_a_publication_id(harness):
    say(harness, publish(session=1, flags=KEEP))
    (first,) = (event.publication for event in harness.got("gateway-1", Event))
    say(harness, waits(2, when_id=0), waits(3, when_id=first), waits(4, when_id=first))
    assert seen(harness) == [b"[3]"]
    assert waiting(harness) == 2
    say(harness, erase(3))
    assert seen(harness) == [b"", b"[2]"]


def test_a_waiter_may_wait_for_a_document(harness):
    say(harness, waits(1, when=msgpack.encode({"state": "done"})))
    say(harness, publish(session=2, flags=KEEP, args=b'[{"state":"begun"}]'))
    assert waiting(harness) == 1
    say(harness, publish(session=2, request=2, flags=KEEP, args=b'[{"state":"done"}]'))
    assert answered(harness) == [(1, 1), (2, 1), (2, 2)]
    assert keys(harness) == [b"[1]"]


def test_a_waiting_event_changes_no_key_so_each_change_lets_one_through(harness):
    flags = ACKNOWLEDGE | CONDITION
    wanted = {"when": msgpack.encode({"a": 1}), "weak": False, "flags": flags}
    say(harness, waits(1, **wanted), waits(2, **wanted))
    for turn in (1, 2):
        say(harness, publish(session=9, request=turn, flags=KEEP, args=b'[{"a":1}]'))
        assert answered(harness) == [(turn, 1), (9, turn)]
        assert seen(harness) == [b'[{"a":1}]', b"[%d]" % turn]
    assert keys(harness) == [b'[{"a":1}]']


def test_a_grant_may_let_the_next_waiter_through(harness):
    """The first publish changes the key to what the second one waits for."""
    one, other = msgpack.encode({"turn": 1}), msgpack.encode({"turn": 2})
    say(
        harness,
        publish(
            session=1, flags=IF, args=b'[{"turn":2}]', retain=RetainOptions(when=one, watch=True)
        ),
        publish(
            session=2, flags=IF, args=b'[{"turn":3}]', retain=RetainOptions(when=other, watch=True)
        ),
    )
    assert waiting(harness) == 2
    say(harness, publish(session=3, flags=KEEP, args=b'[{"turn":1}]'))
    assert answered(harness) == [(1, 1), (2, 1), (3, 1)]
    assert keys(harness) == [b'[{"turn":3}]']


def test_a_waiter_that_erases_the_key_lets_the_next_one_take_it(harness):
    say(harness, publish(session=1, flags=KEEP, args=b'[{"done":false}]'))
    done = RetainOptions(when=msgpack.encode({"done": True}), watch=True)
    say(harness, publish(session=2, flags=IF | EMPTY, args=b"", retain=done), waits(3))
    seen(harness)
    say(harness, publish(session=1, request=2, flags=KEEP, args=b'[{"done":true}]'))
    assert seen(harness) == [b'[{"done":true}]', b"", b"[3]"]


def test_a_waiting_patch_that_proves_invalid_is_refused_and_the_next_waiter_let_through(harness):
    queue(harness, 1)
    say(
        harness,
        publish(
            session=2,
            flags=IF,
            args=b"[2]",
            retain=RetainOptions(when=NO_KEY, watch=True, patch=True),
        ),
    )
    say(harness, waits(3), erase())
    assert answered(harness) == [(1, 2), (2, -1), (3, 1)]
    assert stored(harness, rows.WAITER) == []
    assert len(stored(harness, rows.GRANT)) == 1


# Changes without a publish


def test_the_end_of_the_holder_lets_the_next_waiter_through(harness):
    queue(harness, 1, 2)
    say(harness, leave(1))
    assert (answered(harness), keys(harness)) == ([(2, 1)], [b"[2]"])


def test_the_expiry_of_the_key_lets_the_next_waiter_through(harness):
    say(harness, waits(1, seconds=5.0), waits(2, seconds=5.0))
    harness.pass_time(4.5)
    assert keys(harness) == [b"[1]"]
    harness.pass_time(1.0)
    assert keys(harness) == [b"[2]"]
    # The lifetime begins when the publish is let through.
    harness.pass_time(4.0)
    assert keys(harness) == [b"[2]"]
    harness.pass_time(1.0)
    assert keys(harness) == []


def test_a_waiter_may_wait_for_the_will_of_a_key(harness):
    will = RetainOptions(will=msgpack.encode([{"state": "gone"}]))
    say(harness, publish(session=1, flags=KEEP, retain=will))
    say(harness, waits(2, when=msgpack.encode({"state": "gone"})))
    seen(harness)
    say(harness, leave(1))
    assert seen(harness) == [msgpack.encode([{"state": "gone"}]), b"[2]"]


# Nothing else waits


def test_later_publishes_of_a_waiters_session_do_not_wait(harness):
    queue(harness, 1, 2)
    say(harness, publish("x", session=2, request=2), publish("y", session=2, request=3, flags=KEEP))
    assert answered(harness) == [(2, 2), (2, 3)]


def test_the_gateway_of_a_waiter_may_forget_it(harness):
    queue(harness, 1, 2)
    harness.pass_time(2 * harness.terms.heartbeat)
    assert harness["gateway-0"].link.idle
    assert harness.shard.peers["gateway-0"].deliveries.idle


def test_the_gateway_of_a_waiter_may_not_forget_it_before_it_is_stored(harness):
    queue(harness, 1)
    harness.pass_time(2 * harness.terms.heartbeat)
    harness.disk.held = True
    say(harness, waits(2))
    harness.pass_time(2 * harness.terms.heartbeat)
    assert not harness["gateway-0"].link.idle
    harness.disk.held = False
    harness.pass_time(2 * harness.terms.heartbeat)
    assert harness["gateway-0"].link.idle


def test_a_fence_query_does_not_wait_for_a_waiter(harness):
    queue(harness, 1)
    say(harness, waits(2))
    link = harness["gateway-0"].link
    harness.say("gateway-1", FenceQuery("gateway-0", link.epoch, link.last))
    assert harness.got("gateway-1", FencePassed) == [
        FencePassed("gateway-0", link.epoch, link.last)
    ]


def test_a_grant_is_answered_when_its_event_is_delivered(harness):
    queue(harness, 1, 2)
    harness["gateway-1"].silent = True
    say(harness, erase())
    assert seen(harness) == [b"", b"[2]"]
    assert answered(harness) == []
    harness["gateway-1"].silent = False
    harness.turns()
    assert answered(harness) == [(1, 2), (2, 1)]


def test_a_grant_is_sent_and_answered_when_it_is_durable(harness):
    queue(harness, 1, 2)
    harness.disk.held = True
    say(harness, erase())
    assert (answered(harness), seen(harness), keys(harness)) == ([], [], [b"[1]"])
    harness.disk.held = False
    harness.turns()
    assert answered(harness) == [(1, 2), (2, 1)]
    assert seen(harness) == [b"", b"[2]"]


def test_a_waiter_without_acknowledgement_is_not_answered(harness):
    queue(harness, 1)
    say(harness, waits(2, flags=RETAIN | CONDITION), erase())
    assert answered(harness) == [(1, 2)]
    assert keys(harness) == [b"[2]"]
    say(harness, publish("x", session=5, flags=KEEP))
    say(harness, publish("x", session=5, flags=KEEP))
    assert stored(harness, rows.GRANT) == []


# Sessions and gateways that leave


def test_a_waiter_ends_with_its_session(harness):
    queue(harness, 1, 2, 3)
    say(harness, leave(2), erase())
    assert answered(harness) == [(1, 2), (3, 1)]
    assert stored(harness, rows.WAITER) == []


def test_a_session_that_leaves_while_its_grant_is_uncommitted_lets_the_next_waiter_through(harness):
    queue(harness, 1, 2, 3)
    harness.disk.held = True
    say(harness, erase(), leave(2))
    harness.disk.held = False
    harness.turns()
    assert answered(harness)[-1] == (3, 1)
    assert (keys(harness), waiting(harness)) == ([b"[3]"], 0)
    assert stored(harness, rows.WAITER) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_the_waiters_of_a_gateway_end_when_it_has_gone(restarted, harness):
    say(harness, waits(11), name="gateway-1")
    harness["gateway-1"].replay += [SessionAlive(11), SessionAlive(12)]
    say(harness, waits(2), waits(3))
    say(harness, waits(12), name="gateway-1")
    assert waiting(harness) == 3
    harness.kill("gateway-0")
    if restarted:
        harness.restart()
    harness.pass_time(2 * harness.terms.peer_timeout + 1)
    assert waiting(harness) == len(stored(harness, rows.WAITER)) == 1
    say(harness, erase(11), name="gateway-1")
    assert answered(harness, "gateway-1")[-2:] == [(11, 2), (12, 1)]


def test_the_waiters_of_an_earlier_incarnation_end_when_the_gateway_is_back(harness):
    queue(harness, 1, 2)
    harness.kill("gateway-0")
    harness.join("gateway-0", incarnation=2)
    harness.turns(6)
    assert (keys(harness), waiting(harness), stored(harness, rows.WAITER)) == ([], 0, [])


def test_the_waiter_of_a_session_that_is_not_reported_in_a_new_pair_ends(harness):
    queue(harness, 1, 2, 3)
    harness["gateway-0"].replay = [SessionAlive(1), SessionAlive(3)]
    harness["gateway-0"].link.break_off(harness.now)
    harness.turns()
    assert waiting(harness) == 1
    say(harness, erase())
    assert answered(harness) == [(1, 2), (3, 1)]


def test_a_grant_for_an_unlinked_gateway_is_answered_when_the_gateway_is_back(harness):
    say(harness, waits(11), name="gateway-1")
    waiter_of_0 = waits(2)
    say(harness, waiter_of_0)
    harness["gateway-0"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    harness["gateway-0"].silent = True
    say(harness, erase(11), name="gateway-1")
    assert answered(harness) == []
    assert seen(harness) == [b"[11]", b"", b"[2]"]
    harness["gateway-0"].silent = False
    harness.pass_time(1.0)
    assert answered(harness) == [(2, 1)]
    harness.pass_time(1.0)
    say(harness, publish("x", session=5, flags=KEEP))
    assert stored(harness, rows.GRANT) == []


# Restarts


def test_waiters_survive_a_restart_in_the_same_order(harness):
    queue(harness, 1, 2, 3, 4)
    assert len(stored(harness, rows.WAITER)) == 3
    harness.restart()
    harness.turns(8)
    assert (answered(harness), seen(harness), waiting(harness)) == ([], [], 3)
    say(harness, waits(5))
    for session in (1, 2, 3, 4):
        say(harness, erase(session))
        assert answered(harness) == [(session, 2), (session + 1, 1)]
    assert (keys(harness), stored(harness, rows.WAITER)) == ([b"[5]"], [])


def test_a_waiter_that_is_sent_again_does_not_wait_twice(harness):
    queue(harness, 1)
    harness["gateway-0"].deaf = True
    say(harness, waits(2))
    harness.restart()
    harness.turns(8)
    assert (waiting(harness), answered(harness)) == (1, [])
    say(harness, erase())
    assert answered(harness) == [(1, 2), (2, 1)]
    say(harness, erase(2))
    assert (keys(harness), answered(harness)) == ([], [(2, 2)])


def test_a_waiter_that_was_not_stored_waits_when_it_is_sent_again(harness):
    queue(harness, 1)
    harness.disk.held = True
    say(harness, waits(2))
    harness.restart()
    harness.turns(8)
    assert (waiting(harness), len(stored(harness, rows.WAITER))) == (1, 1)


def test_a_stored_grant_that_was_not_sent_is_sent_after_a_restart(harness):
    queue(harness, 1, 2)
    harness.disk.held = True
    say(harness, erase())
    harness.commit()
    harness.restart()
    harness.turns(8)
    assert answered(harness) == [(1, 2), (2, 1)]
    assert sorted(seen(harness, Again)) == [b"", b"[2]"]
    assert keys(harness) == [b"[2]"]


def test_a_grant_is_answered_again_until_the_gateway_has_confirmed_it(harness):
    queue(harness, 1, 2)
    harness["gateway-0"].deaf = True
    say(harness, erase())
    ids = [event.publication for event in harness.got("gateway-1", Event)]
    for _ in range(2):
        harness.restart()
        harness["gateway-0"].deaf = True
        harness.turns(8)
        assert stored(harness, rows.GRANT) == [rows.grant(ids[1])]
    harness.restart()
    harness.turns(8)
    (answer,) = (one for one in harness.got("gateway-0", Published) if one.session == 2)
    assert answer.publications == ids[1:]
    harness.pass_time(2 * harness.terms.heartbeat)
    say(harness, publish("x", session=5, flags=KEEP))
    assert stored(harness, rows.GRANT) == []
    answered(harness)
    harness.restart()
    harness.turns(8)
    assert answered(harness) == []


def test_a_grant_is_not_sent_again_before_every_peer_has_replayed(harness):
    """The grant's row is deleted once the publisher's gateway has confirmed it.

    If the shard then died again, the other gateways could not get the event any more.
    """
    queue(harness, 1, 2)
    harness.disk.held = True
    say(harness, leave(1))
    harness.commit()
    harness.restart()
    harness["gateway-1"].silent = True
    harness.turns(8)
    assert answered(harness) == []
    harness.pass_time(2 * harness.terms.heartbeat)
    assert len(stored(harness, rows.GRANT)) == 1
    harness["gateway-1"].silent = False
    harness.turns(8)
    assert answered(harness) == [(2, 1)]
    assert seen(harness, Again) == [b"[2]"]


def test_a_grant_keeps_its_place_among_the_events_sent_again(harness):
    """The grant comes after the release that led to it, and before later publishes."""
    queue(harness, 1, 2)
    harness["gateway-0"].deaf = harness["gateway-1"].deaf = True
    say(harness, erase())
    say(harness, publish(session=11, flags=KEEP, args=b'["last"]'), name="gateway-1")
    harness.restart()
    harness.turns(8)
    assert seen(harness, Again) == [b"", b"[2]", b'["last"]']


def test_a_grant_is_sent_again_before_new_publishes(harness):
    queue(harness, 1, 2)
    harness.disk.held = True
    say(harness, leave(1))
    harness.commit()
    harness.restart()
    harness["gateway-0"].silent = True
    harness.turns(4)
    later = publish(session=11, flags=KEEP, args=b'["later"]')
    say(harness, later, subscribe("=a.b", token=1), name="gateway-1")
    assert harness.got("gateway-1", Again | Event | Settled) == []
    harness["gateway-0"].silent = False
    harness.turns(8)
    kinds = [type(one) for one in harness.got("gateway-1", Again | Event | Settled)]
    assert kinds == [Again, Settled, Event]


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_row_of_a_grant_is_deleted_if_its_gateway_goes_before_it_is_told(confirmed, harness):
    """confirmed: whether the other gateway confirms the event before this one has gone."""
    queue(harness, 1, 2)
    harness["gateway-0"].deaf = True
    harness["gateway-1"].silent = not confirmed
    say(harness, erase())
    harness.kill("gateway-0")
    harness.shard.peers["gateway-0"].link.lost_at = harness.now - harness.terms.peer_timeout
    harness.turns()
    harness["gateway-1"].silent = False
    harness.turns()
    say(harness, publish("x", session=5, flags=KEEP), name="gateway-1")
    assert stored(harness, rows.GRANT) == []


def test_the_row_of_a_grant_is_deleted_when_the_gateway_has_confirmed_it(harness):
    queue(harness, 1, 2)
    say(harness, erase())
    harness.pass_time(2 * harness.terms.heartbeat)
    # The row is deleted in the next transaction.
    say(harness, publish("x", session=5, flags=KEEP))
    assert stored(harness, rows.GRANT) == []


@pytest.mark.parametrize("returns", [True, False])
def test_the_row_of_a_grant_is_deleted_when_its_gateway_has_gone(returns, harness):
    queue(harness, 1, 2)
    harness["gateway-0"].deaf = True
    say(harness, erase())
    harness.kill("gateway-0")
    harness.restart()
    if returns:
        harness.join("gateway-0", incarnation=2)
    harness.pass_time(2 * harness.terms.peer_timeout + 1)
    say(harness, publish("x", session=5, flags=KEEP), name="gateway-1")
    assert (stored(harness, rows.GRANT), keys(harness)) == ([], [b"[1]"])


def test_a_holder_that_left_while_the_shard_was_down_lets_the_next_waiter_through(harness):
    queue(harness, 1, 2)
    harness["gateway-0"].replay = [SessionAlive(2)]
    harness.restart()
    harness.turns(8)
    assert (answered(harness), keys(harness)) == ([(2, 1)], [b"[2]"])


def test_a_key_that_expired_while_the_shard_was_down_lets_the_next_waiter_through(harness):
    say(harness, waits(1, seconds=5.0), waits(2))
    harness.now += 10.0
    harness.restart()
    harness.turns(8)
    assert keys(harness) == [b"[2]"]


def test_no_waiter_is_let_through_before_every_peer_has_replayed(harness):
    """Receivers of the event may not have subscribed again yet."""
    queue(harness, 1, 2)
    harness["gateway-0"].replay = [SessionAlive(2)]
    harness.restart()
    harness["gateway-1"].silent = True
    harness.turns(8)
    assert answered(harness) == []
    harness["gateway-1"].silent = False
    harness.turns(8)
    assert seen(harness) == [b"[2]"]
    assert answered(harness) == [(2, 1)]


# When the store fails


def fail(harness):
    """Let the writes that wait for the disk fail, and all later ones."""
    harness.disk.trouble = "disk full"
    harness.disk.held = False
    harness.turns()


def recover(harness):
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)


def test_a_waiter_whose_grant_failed_is_let_through_when_the_store_works(harness):
    queue(harness, 1, 2, 3)
    harness.disk.held = True
    say(harness, leave(1))
    fail(harness)
    assert (answered(harness), seen(harness)) == ([], [])
    assert waiting(harness) == 2
    recover(harness)
    assert (answered(harness), keys(harness)) == ([(2, 1)], [b"[2]"])
    say(harness, erase(2))
    assert answered(harness) == [(2, 2), (3, 1)]
    assert stored(harness, rows.WAITER) == []


def test_several_grants_that_failed_together_are_repeated_in_the_same_order(harness):
    queue(harness, 1, 2, 3, 4)
    harness.disk.held = True
    say(harness, erase(1), leave(2), leave(3))
    fail(harness)
    assert answered(harness) == [(1, -2)]
    assert waiting(harness) == 1
    recover(harness)
    assert (waiting(harness), keys(harness)) == (1, [b"[1]"])
    say(harness, erase(1, 3))
    assert answered(harness) == [(1, 3), (4, 1)]


def test_a_release_that_failed_lets_no_waiter_through(harness):
    queue(harness, 1, 2, 3)
    harness.disk.held = True
    say(harness, erase())
    fail(harness)
    assert (answered(harness), waiting(harness)) == ([(1, -2)], 2)
    recover(harness)
    assert (answered(harness), keys(harness)) == ([], [b"[1]"])
    for session in (1, 2):
        say(harness, erase(session, 3))
        assert answered(harness) == [(session, 3), (session + 1, 1)]


def test_a_waiter_that_cannot_be_stored_is_refused_and_does_not_wait(harness):
    queue(harness, 1)
    harness.disk.held = True
    say(harness, waits(2))
    fail(harness)
    (refused,) = harness.got("gateway-0", Refused)
    assert (refused.session, refused.uri) == (2, UNAVAILABLE)
    assert waiting(harness) == 0
    say(harness, waits(3))
    (refused,) = harness.got("gateway-0", Refused)
    assert (refused.session, refused.uri) == (3, UNAVAILABLE)
    recover(harness)
    assert stored(harness, rows.WAITER) == []
    say(harness, waits(4))
    assert waiting(harness) == 1


def test_a_waiter_is_refused_if_its_row_and_its_grant_fail_together(harness):
    queue(harness, 1)
    harness.disk.held = True
    say(harness, waits(2), erase())
    fail(harness)
    assert answered(harness) == [(1, -2), (2, -1)]
    recover(harness)
    assert (waiting(harness), keys(harness), stored(harness, rows.WAITER)) == (0, [b"[1]"], [])


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_waiter_whose_session_leaves_while_the_store_fails_is_forgotten(when, harness):
    queue(harness, 1, 2, 3)
    harness.disk.held = True
    say(harness, leave(1))
    if when == "before":
        say(harness, leave(2))
    fail(harness)
    if when == "meanwhile":
        say(harness, leave(2))
    recover(harness)
    assert (answered(harness), keys(harness)) == ([(3, 1)], [b"[3]"])
    assert stored(harness, rows.WAITER) == []


def test_a_key_that_expires_while_the_store_fails_lets_a_waiter_through_when_it_works(harness):
    say(harness, waits(1, seconds=3.0), waits(2))
    answered(harness)
    harness.disk.trouble = "disk full"
    say(harness, publish("x", session=5, flags=KEEP))
    harness.pass_time(4.0)
    assert answered(harness) == [(5, -1)]
    recover(harness)
    assert answered(harness) == [(2, 1)]


def test_the_lifetime_of_a_granted_key_begins_when_the_store_works_again(harness):
    queue(harness, 1)
    say(harness, waits(2, seconds=5.0))
    harness.disk.trouble = "disk full"
    say(harness, publish("x", session=5, flags=KEEP), leave(1))
    harness["gateway-0"].silent = harness["gateway-1"].silent = True
    harness.pass_time(4.0)
    harness["gateway-0"].silent = harness["gateway-1"].silent = False
    recover(harness)
    harness.pass_time(3.0)
    assert keys(harness) == [b"[2]"]
    harness.pass_time(3.0)
    assert keys(harness) == []


def test_a_shard_that_restarts_with_a_failing_store_lets_waiters_through_when_it_works(harness):
    queue(harness, 1, 2)
    harness["gateway-0"].replay = [SessionAlive(2)]
    harness.restart()
    harness.disk.trouble = "disk full"
    harness.turns(8)
    say(harness, publish("x", session=5, flags=KEEP))
    harness.turns(8)
    recover(harness)
    assert (2, 1) in answered(harness)
    assert keys(harness) == [b"[2]"]


# What other sessions see


def test_a_grant_is_settled_for_later_subscribers(harness):
    """Otherwise they would take the grant for news when it is sent again after a restart."""
    queue(harness, 1, 2)
    harness["gateway-0"].deaf = True
    say(harness, leave(1))
    (event,) = harness.got("gateway-1", Event)
    harness.say("gateway-1", subscribe("=a.b", token=1))
    settled, subscribed = harness.got("gateway-1", Settled | Subscribed)
    assert (settled, subscribed) == (Settled(event.publication), Subscribed(1))


# In memory


def test_waiters_in_memory_do_not_wait_for_the_disk():
    harness = watched_harness(unstored=(REALM,))
    harness.disk.held = True
    queue(harness, 1, 2, 3)
    assert harness["gateway-0"].link.outbox == []
    say(harness, erase())
    assert answered(harness) == [(1, 2), (2, 1)]
    say(harness, leave(2))
    assert (answered(harness), seen(harness)) == ([(3, 1)], [b"", b"[2]", b"[3]"])
    assert stored(harness, rows.WAITER) == stored(harness, rows.GRANT) == []


def test_a_grant_in_memory_does_not_overtake_stored_publishes_of_its_session(harness):
    harness = watched_harness(unstored=("memory",))
    memory = {"realm": "memory", "topic": "m"}
    harness.say("gateway-1", subscribe("*#", realm="memory"))
    say(harness, publish(session=1, flags=KEEP, **memory))
    waiter = publish(
        session=2, flags=IF, args=b"[2]", retain=RetainOptions(when=NO_KEY, watch=True), **memory
    )
    say(harness, waiter)
    seen(harness)
    harness.disk.held = True
    say(harness, publish("x", session=2, request=2, flags=KEEP, args=b'["x"]'))
    say(harness, publish(session=1, request=2, flags=KEEP | EMPTY, args=b"", **memory))
    assert seen(harness) == [b""]
    harness.disk.held = False
    harness.turns()
    assert seen(harness) == [b'["x"]', b"[2]"]
    assert (2, 1) in answered(harness)
