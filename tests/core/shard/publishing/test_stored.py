"""Publishes and the store: which frames wait for a commit, and what happens if it fails."""

import pytest
from shard_harness import REALM, ShardHarness, call, leave, publish, register, subscribe, unregister

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RECORDED,
    RETAIN,
    Audience,
    CallError,
    Event,
    FencePassed,
    FenceQuery,
    Invocation,
    Publish,
    Published,
    Refused,
    Registered,
    Retained,
    StoreFailure,
    Subscribed,
    Unregistered,
    Will,
)
from fox_shard.shard import rows
from fox_shard.shard.links.peers import DISK_CREDIT
from fox_shard.store.journal import RETRY
from fox_shard.topics.ids import MAX_ID

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY
PUBLISH_TAG = Publish.__struct_config__.tag


def retain(topic="a.b", *, flags=KEEP, **more):
    return publish(topic, flags=flags, **more)


@pytest.fixture
def harness():
    """A harness whose gateway-1 is subscribed to everything, and whose disk commits nothing yet."""
    harness = ShardHarness(gateways=3, unstored=["memory"])
    harness.say("gateway-1", *(subscribe("*#", realm=realm) for realm in (REALM, "memory")))
    harness.disk.held = True
    return harness


def commit(harness):
    harness.disk.held = False
    harness.turns()


def fail(harness):
    """Let the writes that wait for the disk fail, and all later ones."""
    harness.disk.trouble = "disk full"
    commit(harness)


def recover(harness):
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)


def topics(harness):
    """Return the topics of the events that gateway-1 has received since the last call."""
    return [event.publish.topic for event in harness.got("gateway-1", Event)]


def answered(harness):
    """Return [(session, requests)] of the acknowledgements that gateway-0 has received."""
    return [(one.session, one.requests) for one in harness.got("gateway-0", Published)]


def refused(harness):
    return [(one.session, one.request) for one in harness.got("gateway-0", Refused)]


def keys(harness):
    """Return {topic: args} of the keys, as a new subscriber is shown them."""
    harness.say("gateway-2", subscribe("*#", token=1, replay=True))
    return {
        one.event.publish.topic: one.event.publish.args
        for one in harness.got("gateway-2", Retained)
    }


# Changes of keys, which wait until they are durable


@pytest.mark.parametrize("flags", [KEEP, ERASE])
def test_a_change_is_delivered_and_answered_when_it_is_durable(flags, harness):
    harness.say("gateway-0", retain(flags=flags))
    assert (topics(harness), harness.got("gateway-0")) == ([], [])
    commit(harness)
    (event,) = harness.got("gateway-1", Event)
    (answer,) = harness.got("gateway-0")
    assert answer == Published(1, [1], [event.publication])
    assert event.publish == retain(flags=flags | RECORDED)


def test_a_change_is_not_answered_before_it_is_delivered(harness):
    harness["gateway-1"].silent = True
    harness.say("gateway-0", retain())
    commit(harness)
    assert (topics(harness), answered(harness)) == (["a.b"], [])
    harness["gateway-1"].silent = False
    harness.turns()
    assert answered(harness) == [(1, [1])]


@pytest.mark.parametrize("flags", [KEEP, RETAIN])
def test_a_gateway_may_forget_a_publish_when_it_is_durable(flags, harness):
    harness.say("gateway-0", retain(flags=flags), reliable=True)
    harness.pass_time(0.2)
    assert not harness["gateway-0"].link.idle
    commit(harness)
    harness.pass_time(harness.terms.heartbeat)
    assert harness["gateway-0"].link.idle


def test_a_new_subscriber_is_shown_the_durable_key_and_then_the_change(harness):
    harness.disk.held = False
    harness.say("gateway-0", retain(args=b"[1]"))
    harness.disk.held = True
    harness.say("gateway-0", retain(args=b"[2]"))
    harness.say("gateway-2", subscribe(token=1, replay=True))
    commit(harness)
    retained, subscribed, event = harness.got("gateway-2", (Retained, Subscribed, Event))
    assert (retained.event.publish.args, subscribed) == (b"[1]", Subscribed(1))
    assert event.publish.args == b"[2]"


@pytest.mark.parametrize(
    "frame",
    [
        publish(flags=KEEP, realm="memory"),
        publish(flags=KEEP, audience=Audience(eligible=[1])),
        publish(flags=ACKNOWLEDGE),
        publish(flags=ACKNOWLEDGE | EMPTY),
    ],
)
def test_a_publish_that_stores_nothing_does_not_wait(frame, harness):
    harness.say("gateway-0", frame)
    assert topics(harness) == [frame.topic]
    assert answered(harness) == [(1, [1])]
    assert not any(key.startswith(rows.KEY) for key in harness.disk.rows)


@pytest.mark.parametrize(("realm", "topic"), [(REALM, "$SYS.a"), ("memory", "a.b")])
def test_keys_that_are_not_stored_are_shown_and_erased_like_others(realm, topic, harness):
    harness.say("gateway-0", publish(topic, flags=KEEP, realm=realm))
    assert answered(harness) == [(1, [1])]
    harness.say("gateway-2", subscribe(f"={topic}", token=1, replay=True, realm=realm))
    assert len(harness.got("gateway-2", Retained)) == 1
    harness.say("gateway-0", publish(topic, flags=ERASE, realm=realm))
    assert harness.shard.retained_keys.keys_held == 0


def test_all_changes_of_a_turn_are_one_transaction(harness):
    harness.send("gateway-0", retain("a", request=1), retain("b", request=2))
    harness.send("gateway-2", retain("c", session=2))
    harness.turns()
    (write,) = harness.disk.waiting
    held = [key for key in write.changes if key.startswith(rows.KEY)]
    assert held == [rows.key(REALM, topic) for topic in "abc"]


# Order


def test_later_publishes_of_the_session_wait_too(harness):
    harness.say("gateway-0", retain("a"), publish("b", request=2), publish("c", flags=0))
    harness.say("gateway-0", publish("d", request=3))
    assert (topics(harness), answered(harness)) == ([], [])
    commit(harness)
    assert topics(harness) == ["a", "b", "c", "d"]
    assert answered(harness) == [(1, [1, 2]), (1, [3])]


def test_later_publishes_on_the_topic_wait_too(harness):
    harness.say("gateway-0", retain(args=b"[1]"))
    harness.say("gateway-2", publish(session=2, args=b"[2]"))
    assert topics(harness) == []
    commit(harness)
    events = harness.got("gateway-1", Event)
    assert [event.publish.args for event in events] == [b"[1]", b"[2]"]
    assert [event.publication for event in events] == sorted(e.publication for e in events)


def test_a_publish_that_waits_holds_up_others_in_turn(harness):
    """Session 2 waits behind session 1 on its topic, and session 3 behind session 2 on another."""
    harness.say("gateway-0", retain("a"), publish("a", session=2))
    harness.say("gateway-0", publish("b", session=2), publish("b", session=3))
    assert topics(harness) == []
    commit(harness)
    assert topics(harness) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("stored", [1, 2])
def test_other_traffic_does_not_wait(stored, harness):
    harness.say("gateway-2", register(11))
    harness.say("gateway-0", *(retain(f"key{n}") for n in range(stored)))
    harness.say("gateway-0", publish("else.where", session=2), call(session=2))
    assert topics(harness) == ["else.where"]
    assert answered(harness) == [(2, [1])]
    assert len(harness.got("gateway-2", Invocation)) == 1


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (call(session=1), CallError),
        (register(1), Registered),
        (unregister(1, "=registered", request=9), Unregistered),
    ],
)
def test_other_requests_of_a_session_wait_behind_its_publishes(frame, answer, harness):
    harness.say("gateway-0", register(1, "=registered"), retain())
    harness.got("gateway-0")
    harness.say("gateway-0", frame)
    assert harness.got("gateway-0") == []
    commit(harness)
    assert {type(one) for one in harness.got("gateway-0")} == {Published, answer}


def test_an_invocation_reaches_its_callee_after_the_callers_event(harness):
    harness.say("gateway-1", register(11))
    harness.got("gateway-1")
    harness.say("gateway-0", retain(), call(session=1))
    assert harness.got("gateway-1") == []
    commit(harness)
    assert [type(frame) for frame in harness.got("gateway-1")] == [Event, Invocation]


def test_a_session_leaves_after_its_publishes(harness):
    will = publish("w", flags=0)
    harness.say("gateway-0", Will(will), retain(), leave(1, graceful=False))
    assert topics(harness) == []
    commit(harness)
    assert topics(harness) == ["a.b", "w"]


def test_a_batch_that_waits_for_two_commits_is_delivered_after_the_second(harness):
    """The session leaves when its publish is stored, and then its will is stored."""
    epoch = harness["gateway-0"].link.epoch
    will = Will(retain("w", flags=RETAIN))
    harness.say("gateway-0", will, retain(), leave(1, graceful=False), reliable=True)
    harness.say("gateway-1", FenceQuery("gateway-0", epoch, 4))
    harness.commit()
    harness.turns()
    assert [type(frame) for frame in harness.got("gateway-1")] == [Event]
    harness.pass_time(harness.terms.heartbeat)
    assert not harness["gateway-0"].link.idle
    commit(harness)
    event, reached = harness.got("gateway-1")
    assert (event.publish.topic, type(reached)) == ("w", FencePassed)
    harness.pass_time(2 * harness.terms.heartbeat)
    assert harness["gateway-0"].link.idle
    assert harness.shard.peers["gateway-0"].deliveries.idle


def test_events_of_a_later_transaction_are_delivered_later(harness):
    harness.say("gateway-0", retain("a"))
    (first,) = harness.disk.waiting
    harness.say("gateway-0", retain("b", session=2), publish("a", session=3))
    harness.shard.journal.outcome(first.ticket, "", harness.now)
    harness.turns()
    assert topics(harness) == ["a", "a"]
    commit(harness)
    assert topics(harness) == ["b"]


def test_a_fence_query_about_a_publish_that_waits_is_answered_after_its_event(harness):
    epoch = harness["gateway-0"].link.epoch
    harness.say("gateway-0", retain())
    harness.say("gateway-1", FenceQuery("gateway-0", epoch, 2))
    assert harness.got("gateway-1") == []
    commit(harness)
    event, reached = harness.got("gateway-1")
    assert isinstance(event, Event)
    assert reached == FencePassed("gateway-0", epoch, 2)


@pytest.mark.parametrize("trouble", ["", "disk full"])
def test_nothing_waits_until_the_row_of_a_dropped_will_is_deleted(trouble, harness):
    """A fence query is answered, and the gateway may forget its frames, at once."""
    epoch = harness["gateway-0"].link.epoch
    harness.say("gateway-0", Will(publish("w", flags=0)), reliable=True)
    commit(harness)
    harness.disk.held, harness.disk.trouble = not trouble, trouble
    harness.say("gateway-0", leave(1), publish("a", session=2), reliable=True)
    harness.say("gateway-1", FenceQuery("gateway-0", epoch, 4))
    assert topics(harness) == ["a"]
    assert harness.got("gateway-1", FencePassed) == [FencePassed("gateway-0", epoch, 4)]
    harness.pass_time(2 * harness.terms.heartbeat)
    assert harness["gateway-0"].link.idle
    assert harness.shard.peers["gateway-0"].deliveries.idle


# Gateways that have gone


def test_publishes_of_a_gateway_that_has_gone_still_take_effect(harness):
    """A fence query about that gateway is answered after them."""
    epoch = harness["gateway-0"].link.epoch
    harness.say("gateway-0", retain(), publish("b"))
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    harness.say("gateway-1", FenceQuery("gateway-0", epoch, 9))
    assert harness.got("gateway-1") == []
    commit(harness)
    *events, reached = harness.got("gateway-1")
    assert [event.publish.topic for event in events] == ["a.b", "b"]
    assert reached == FencePassed("gateway-0", epoch, MAX_ID)


def test_a_held_call_of_a_gateway_that_has_gone_is_dropped(harness):
    harness.say("gateway-1", register(11))
    harness.say("gateway-0", retain(), call(session=1))
    harness.kill("gateway-0")
    commit(harness)
    assert topics(harness) == ["a.b"]
    assert harness.got("gateway-1", Invocation) == []


def test_a_gateway_that_comes_back_is_answered_for_publishes_committed_meanwhile(harness):
    harness.say("gateway-0", retain(), reliable=True)
    harness["gateway-0"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    commit(harness)
    harness.pass_time(0.5)
    assert topics(harness) == ["a.b"]
    assert answered(harness) == [(1, [1])]
    assert harness["gateway-0"].link.idle


# When the store fails


def test_changes_that_cannot_be_stored_are_refused_and_undone(harness):
    harness.disk.held = False
    harness.say("gateway-0", retain("a", args=b"[1]"), retain("b"))
    assert (topics(harness), answered(harness)) == (["a", "b"], [(1, [1, 1])])
    harness.disk.held = True
    harness.say(
        "gateway-0", retain("a", request=2, args=b"[2]"), retain("b", flags=ERASE, request=3)
    )
    harness.say("gateway-2", retain("a", session=2, request=4, args=b"[3]"), retain("c", session=2))
    fail(harness)
    assert topics(harness) == []
    (one, other) = harness.got("gateway-0", Refused)
    assert (one.request, other.request) == (2, 3)
    assert (one.kind, one.uri) == (PUBLISH_TAG, "fox.error.unavailable_store")
    assert "disk full" in one.message
    assert len(harness.got("gateway-2", Refused)) == 2
    assert keys(harness) == {"a": b"[1]", "b": b"[1]"}


def test_a_publish_that_needs_a_failing_store_is_refused_at_once(harness):
    harness.say("gateway-0", retain("a"))
    fail(harness)
    assert refused(harness) == [(1, 1)]
    harness.say("gateway-0", retain("b", request=2), publish("c", request=3))
    assert refused(harness) == [(1, 2)]
    assert topics(harness) == ["c"]
    assert answered(harness) == [(1, [3])]
    assert keys(harness) == {}


def test_frames_that_only_waited_take_effect_when_the_commit_fails(harness):
    harness.say("gateway-0", retain("a"), publish("b", request=2), register(1))
    harness.say("gateway-2", publish("a", session=2))
    fail(harness)
    assert topics(harness) == ["b", "a"]
    assert (refused(harness), answered(harness)) == ([(1, 1)], [(1, [2])])
    assert len(harness.got("gateway-0", Registered)) == 1


def test_unacknowledged_publishes_that_are_refused_are_counted(harness):
    harness.say("gateway-0", retain("a", flags=RETAIN))
    fail(harness)
    harness.say("gateway-0", retain("b", flags=RETAIN))
    assert harness.got("gateway-0", Event | Refused | Published) == topics(harness) == []
    assert harness.shard.stored_publishes.refusals.dropped == 2


def test_transactions_after_a_failed_one_fail_too(harness):
    """None of them is committed, although each alone could be."""
    harness.say("gateway-0", retain("a"))
    harness.say("gateway-0", retain("b", session=2))
    fail(harness)
    assert refused(harness) == [(1, 1), (2, 1)]
    recover(harness)
    assert keys(harness) == {}
    assert not any(key.startswith(rows.KEY) for key in harness.disk.rows)


def test_publishes_are_stored_when_the_store_works_again(harness):
    harness.say("gateway-0", retain("a"))
    fail(harness)
    assert harness.shard.health()["store"] == "disk full"
    assert harness.shard.health()["status"] == "degraded"
    harness.got("gateway-0")
    recover(harness)
    assert harness.shard.health()["status"] == "ok"
    assert "store" not in harness.shard.health()
    harness.say("gateway-0", retain("a", request=2))
    assert (topics(harness), answered(harness)) == (["a"], [(1, [2])])
    assert list(keys(harness)) == ["a"]
    assert rows.key(REALM, "a") in harness.disk.rows


def test_a_store_that_goes_on_failing_is_tried_again(harness):
    harness.say("gateway-0", retain("a"))
    fail(harness)
    harness.pass_time(3 * RETRY)
    harness.say("gateway-0", retain("a", request=2))
    assert refused(harness) == [(1, 1), (1, 2)]
    recover(harness)
    harness.say("gateway-0", retain("a", request=3))
    assert answered(harness) == [(1, [3])]


def test_the_deadline_covers_the_next_attempt_to_store(harness):
    harness = ShardHarness(gateways=1)
    harness.disk.trouble = "disk full"
    harness.say("gateway-0", retain())
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    harness.shard.tick(harness.now)
    # No peer is linked, and nothing else is due.
    assert harness.now < harness.shard.deadline.at <= harness.now + RETRY


def test_the_log_names_the_reason_why_the_store_failed(harness):
    harness.shard.notices.clear()
    harness.say("gateway-0", retain())
    fail(harness)
    assert harness.shard.notices == [("store_failed", {"reason": "disk full"})]


def test_a_refused_publish_is_not_sent_again(harness):
    harness.say("gateway-0", retain(), reliable=True)
    fail(harness)
    harness.pass_time(0.5)
    assert refused(harness) == [(1, 1)]
    assert harness["gateway-0"].link.idle


def test_a_fence_query_about_a_failed_publish_is_answered(harness):
    epoch = harness["gateway-0"].link.epoch
    harness.say("gateway-0", retain())
    harness.say("gateway-1", FenceQuery("gateway-0", epoch, 2))
    fail(harness)
    assert harness.got("gateway-1", FencePassed) == [FencePassed("gateway-0", epoch, 2)]


def test_gateways_are_told_that_a_store_fails_and_works_again(harness):
    harness.say("gateway-0", retain())
    fail(harness)
    assert harness.got("gateway-1", StoreFailure) == [StoreFailure("disk full")]
    assert (harness.shard.health()["status"], harness.shard.health()["store"]) == (
        "degraded",
        "disk full",
    )
    harness.join("gateway-1", incarnation=2)
    harness.turns()
    assert harness.got("gateway-1", StoreFailure) == [StoreFailure("disk full")]
    recover(harness)
    assert harness.got("gateway-0", StoreFailure) == [StoreFailure("disk full"), StoreFailure("")]
    assert "store" not in harness.shard.health()


# Load


def test_no_gateway_is_given_credit_while_the_disk_is_behind():
    harness = ShardHarness(gateways=2, credit=2000)
    harness.disk.held = True
    for number in range(30):
        harness.say("gateway-0", retain(f"t{number}", args=b"x" * 100))
    harness.pass_time(0.2)
    assert harness["gateway-0"].link.congested
    commit(harness)
    harness.pass_time(0.2)
    assert not harness["gateway-0"].link.congested


def test_the_disk_may_be_less_behind_than_a_gateway():
    """What waits for the disk keeps everybody's frames waiting as soon as it stops credit."""
    harness = ShardHarness(gateways=2)
    harness.disk.held = True
    harness.say("gateway-0", retain("t", args=b"x" * DISK_CREDIT))
    harness.pass_time(0.3)
    assert harness["gateway-0"].link.in_flight > DISK_CREDIT
    commit(harness)
    harness.pass_time(0.3)
    assert harness["gateway-0"].link.in_flight == 0


def test_a_commit_releases_the_session_and_the_topics_that_it_held_up(harness):
    harness.say("gateway-0", retain("a"), publish("b"))
    commit(harness)
    topics(harness)
    harness.disk.held = True
    harness.say("gateway-0", publish("a"), publish("b"))
    assert topics(harness) == ["a", "b"]
