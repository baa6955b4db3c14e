"""Publishes and the store: what waits for a commit, what does not, and what if it fails."""

import pytest
from shard_harness import REALM, Stage, call, leave, publish, register, subscribe, unregister

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RECORDED,
    RETAIN,
    Ask,
    Audience,
    CallError,
    Event,
    Invocation,
    Publish,
    Published,
    Reached,
    Refused,
    Registered,
    Retained,
    Subscribed,
    Trouble,
    Unregistered,
    Will,
)
from fox_shard.shard import rows
from fox_shard.shard.links.deliveries import EVERYTHING
from fox_shard.store.journal import RETRY

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY
PUBLISH_TAG = Publish.__struct_config__.tag


def keep(topic="a.b", *, flags=KEEP, **more):
    return publish(topic, flags=flags, **more)


@pytest.fixture
def stage():
    """gateway-1 has subscribed to everything; what gateway-0 says waits for the disk."""
    stage = Stage(gateways=3, unstored=["memory"])
    stage.say("gateway-1", *(subscribe("*#", realm=realm) for realm in (REALM, "memory")))
    stage.disk.held = True
    return stage


def commit(stage):
    stage.disk.held = False
    stage.turns()


def fail(stage):
    """What waits for the disk fails, and the disk goes on failing."""
    stage.disk.trouble = "disk full"
    commit(stage)


def recover(stage):
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)


def topics(stage):
    """Of the events that gateway-1 got since it was last asked."""
    return [event.publish.topic for event in stage.got("gateway-1", Event)]


def answered(stage):
    """[(session, requests)] of what gateway-0 heard was published."""
    return [(one.session, one.requests) for one in stage.got("gateway-0", Published)]


def refused(stage):
    return [(one.session, one.request) for one in stage.got("gateway-0", Refused)]


def keys(stage):
    """{topic: args} as a new subscriber is shown them."""
    stage.say("gateway-2", subscribe("*#", token=1, replay=True))
    return {
        one.event.publish.topic: one.event.publish.args for one in stage.got("gateway-2", Retained)
    }


# What changes a key waits until that is durable


@pytest.mark.parametrize("flags", [KEEP, ERASE])
def test_a_key_is_told_when_it_is_durable(flags, stage):
    stage.say("gateway-0", keep(flags=flags))
    assert (topics(stage), stage.got("gateway-0")) == ([], [])
    commit(stage)
    (event,) = stage.got("gateway-1", Event)
    (answer,) = stage.got("gateway-0")
    assert answer == Published(1, [1], [event.publication])
    assert event.publish == keep(flags=flags | RECORDED)


def test_a_key_is_answered_when_it_is_durable_and_delivered(stage):
    stage["gateway-1"].silent = True
    stage.say("gateway-0", keep())
    commit(stage)
    assert (topics(stage), answered(stage)) == (["a.b"], [])
    stage["gateway-1"].silent = False
    stage.turns()
    assert answered(stage) == [(1, [1])]


@pytest.mark.parametrize("flags", [KEEP, RETAIN])
def test_a_gateway_may_forget_a_publish_when_it_is_durable(flags, stage):
    stage.say("gateway-0", keep(flags=flags), reliable=True)
    stage.pass_time(0.2)
    assert not stage["gateway-0"].link.idle
    commit(stage)
    stage.pass_time(stage.terms.heartbeat)
    assert stage["gateway-0"].link.idle


def test_a_new_subscriber_is_shown_what_is_durable_then_the_change(stage):
    stage.disk.held = False
    stage.say("gateway-0", keep(args=b"[1]"))
    stage.disk.held = True
    stage.say("gateway-0", keep(args=b"[2]"))
    stage.say("gateway-2", subscribe(token=1, replay=True))
    commit(stage)
    retained, subscribed, event = stage.got("gateway-2", (Retained, Subscribed, Event))
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
def test_what_changes_nothing_in_the_store_does_not_wait(frame, stage):
    stage.say("gateway-0", frame)
    assert topics(stage) == [frame.topic]
    assert answered(stage) == [(1, [1])]
    assert not any(key.startswith(rows.KEY) for key in stage.disk.rows)


@pytest.mark.parametrize(("realm", "topic"), [(REALM, "$SYS.a"), ("memory", "a.b")])
def test_keys_that_are_not_stored_are_keys_all_the_same(realm, topic, stage):
    stage.say("gateway-0", publish(topic, flags=KEEP, realm=realm))
    assert answered(stage) == [(1, [1])]
    stage.say("gateway-2", subscribe(f"={topic}", token=1, replay=True, realm=realm))
    assert len(stage.got("gateway-2", Retained)) == 1
    stage.say("gateway-0", publish(topic, flags=ERASE, realm=realm))
    assert stage.shard.retention.keys_held == 0


def test_all_changes_of_a_turn_are_one_transaction(stage):
    stage.send("gateway-0", keep("a", request=1), keep("b", request=2))
    stage.send("gateway-2", keep("c", session=2))
    stage.turns()
    (write,) = stage.disk.waiting
    held = [key for key in write.changes if key.startswith(rows.KEY)]
    assert held == [rows.key(REALM, topic) for topic in "abc"]


# Nothing overtakes


def test_later_publishes_of_the_session_wait_with_it(stage):
    stage.say("gateway-0", keep("a"), publish("b", request=2), publish("c", flags=0))
    stage.say("gateway-0", publish("d", request=3))
    assert (topics(stage), answered(stage)) == ([], [])
    commit(stage)
    assert topics(stage) == ["a", "b", "c", "d"]
    assert answered(stage) == [(1, [1, 2]), (1, [3])]


def test_later_publishes_on_the_topic_wait_with_it(stage):
    stage.say("gateway-0", keep(args=b"[1]"))
    stage.say("gateway-2", publish(session=2, args=b"[2]"))
    assert topics(stage) == []
    commit(stage)
    events = stage.got("gateway-1", Event)
    assert [event.publish.args for event in events] == [b"[1]", b"[2]"]
    assert [event.publication for event in events] == sorted(e.publication for e in events)


def test_what_waits_is_waited_for(stage):
    """Session 2 waits behind the topic of session 1, session 3 behind that of session 2."""
    stage.say("gateway-0", keep("a"), publish("a", session=2))
    stage.say("gateway-0", publish("b", session=2), publish("b", session=3))
    assert topics(stage) == []
    commit(stage)
    assert topics(stage) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("stored", [1, 2])
def test_other_traffic_goes_on(stored, stage):
    stage.say("gateway-2", register(11))
    stage.say("gateway-0", *(keep(f"key{n}") for n in range(stored)))
    stage.say("gateway-0", publish("else.where", session=2), call(session=2))
    assert topics(stage) == ["else.where"]
    assert answered(stage) == [(2, [1])]
    assert len(stage.got("gateway-2", Invocation)) == 1


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (call(session=1), CallError),
        (register(1), Registered),
        (unregister(1, "=registered", request=9), Unregistered),
    ],
)
def test_what_a_session_does_is_done_behind_what_it_has_published(frame, answer, stage):
    stage.say("gateway-0", register(1, "=registered"), keep())
    stage.got("gateway-0")
    stage.say("gateway-0", frame)
    assert stage.got("gateway-0") == []
    commit(stage)
    assert {type(one) for one in stage.got("gateway-0")} == {Published, answer}


def test_a_call_comes_to_its_callee_behind_the_event(stage):
    stage.say("gateway-1", register(11))
    stage.got("gateway-1")
    stage.say("gateway-0", keep(), call(session=1))
    assert stage.got("gateway-1") == []
    commit(stage)
    assert [type(frame) for frame in stage.got("gateway-1")] == [Event, Invocation]


def test_a_session_that_leaves_does_so_behind_what_it_has_published(stage):
    will = publish("w", flags=0)
    stage.say("gateway-0", Will(will), keep(), leave(1, graceful=False))
    assert topics(stage) == []
    commit(stage)
    assert topics(stage) == ["a.b", "w"]


def test_what_waits_twice_passes_when_it_has_happened(stage):
    """A session leaves behind its publish, and has a will that is stored in turn."""
    epoch = stage["gateway-0"].link.epoch
    will = Will(keep("w", flags=RETAIN))
    stage.say("gateway-0", will, keep(), leave(1, graceful=False), reliable=True)
    stage.say("gateway-1", Ask("gateway-0", epoch, 4))
    stage.commit()
    stage.turns()
    assert [type(frame) for frame in stage.got("gateway-1")] == [Event]
    stage.pass_time(stage.terms.heartbeat)
    assert not stage["gateway-0"].link.idle
    commit(stage)
    event, reached = stage.got("gateway-1")
    assert (event.publish.topic, type(reached)) == ("w", Reached)
    stage.pass_time(2 * stage.terms.heartbeat)
    assert stage["gateway-0"].link.idle
    assert stage.shard.peers["gateway-0"].passing.idle


def test_later_transactions_are_told_later(stage):
    stage.say("gateway-0", keep("a"))
    (first,) = stage.disk.waiting
    stage.say("gateway-0", keep("b", session=2), publish("a", session=3))
    stage.shard.journal.outcome(first.ticket, "", stage.now)
    stage.turns()
    assert topics(stage) == ["a", "a"]
    commit(stage)
    assert topics(stage) == ["b"]


def test_who_asks_about_what_waits_is_answered_behind_it(stage):
    epoch = stage["gateway-0"].link.epoch
    stage.say("gateway-0", keep())
    stage.say("gateway-1", Ask("gateway-0", epoch, 2))
    assert stage.got("gateway-1") == []
    commit(stage)
    event, reached = stage.got("gateway-1")
    assert isinstance(event, Event)
    assert reached == Reached("gateway-0", epoch, 2)


@pytest.mark.parametrize("trouble", ["", "disk full"])
def test_nobody_waits_for_a_disk_that_is_to_forget_a_will(trouble, stage):
    """Who has asked is answered, and the gateway may forget at once what it has sent."""
    epoch = stage["gateway-0"].link.epoch
    stage.say("gateway-0", Will(publish("w", flags=0)), reliable=True)
    commit(stage)
    stage.disk.held, stage.disk.trouble = not trouble, trouble
    stage.say("gateway-0", leave(1), publish("a", session=2), reliable=True)
    stage.say("gateway-1", Ask("gateway-0", epoch, 4))
    assert topics(stage) == ["a"]
    assert stage.got("gateway-1", Reached) == [Reached("gateway-0", epoch, 4)]
    stage.pass_time(2 * stage.terms.heartbeat)
    assert stage["gateway-0"].link.idle
    assert stage.shard.peers["gateway-0"].passing.idle


# Who has gone


def test_what_a_gateway_that_has_gone_has_published_still_happens(stage):
    """And a question about it is answered behind that."""
    epoch = stage["gateway-0"].link.epoch
    stage.say("gateway-0", keep(), publish("b"))
    stage.kill("gateway-0")
    stage.pass_time(6.0)
    stage.say("gateway-1", Ask("gateway-0", epoch, 9))
    assert stage.got("gateway-1") == []
    commit(stage)
    *events, reached = stage.got("gateway-1")
    assert [event.publish.topic for event in events] == ["a.b", "b"]
    assert reached == Reached("gateway-0", epoch, EVERYTHING)


def test_a_call_of_a_gateway_that_has_gone_is_not_made(stage):
    stage.say("gateway-1", register(11))
    stage.say("gateway-0", keep(), call(session=1))
    stage.kill("gateway-0")
    commit(stage)
    assert topics(stage) == ["a.b"]
    assert stage.got("gateway-1", Invocation) == []


def test_a_gateway_that_comes_back_hears_what_was_committed_meanwhile(stage):
    stage.say("gateway-0", keep(), reliable=True)
    stage["gateway-0"].link.break_off(stage.now)
    stage.shard.lost("gateway-0", stage.now)
    commit(stage)
    stage.pass_time(0.5)
    assert topics(stage) == ["a.b"]
    assert answered(stage) == [(1, [1])]
    assert stage["gateway-0"].link.idle


# When the store fails


def test_what_cannot_be_stored_is_refused_and_undone(stage):
    stage.disk.held = False
    stage.say("gateway-0", keep("a", args=b"[1]"), keep("b"))
    assert (topics(stage), answered(stage)) == (["a", "b"], [(1, [1, 1])])
    stage.disk.held = True
    stage.say("gateway-0", keep("a", request=2, args=b"[2]"), keep("b", flags=ERASE, request=3))
    stage.say("gateway-2", keep("a", session=2, request=4, args=b"[3]"), keep("c", session=2))
    fail(stage)
    assert topics(stage) == []
    (one, other) = stage.got("gateway-0", Refused)
    assert (one.request, other.request) == (2, 3)
    assert (one.kind, one.uri) == (PUBLISH_TAG, "fox.error.unavailable_store")
    assert "disk full" in one.message
    assert len(stage.got("gateway-2", Refused)) == 2
    assert keys(stage) == {"a": b"[1]", "b": b"[1]"}


def test_while_the_store_fails_a_publish_that_needs_it_is_refused_at_once(stage):
    stage.say("gateway-0", keep("a"))
    fail(stage)
    assert refused(stage) == [(1, 1)]
    stage.say("gateway-0", keep("b", request=2), publish("c", request=3))
    assert refused(stage) == [(1, 2)]
    assert topics(stage) == ["c"]
    assert answered(stage) == [(1, [3])]
    assert keys(stage) == {}


def test_what_only_waited_happens_when_the_commit_fails(stage):
    stage.say("gateway-0", keep("a"), publish("b", request=2), register(1))
    stage.say("gateway-2", publish("a", session=2))
    fail(stage)
    assert topics(stage) == ["b", "a"]
    assert (refused(stage), answered(stage)) == ([(1, 1)], [(1, [2])])
    assert len(stage.got("gateway-0", Registered)) == 1


def test_what_nobody_waits_for_is_counted(stage):
    stage.say("gateway-0", keep("a", flags=RETAIN))
    fail(stage)
    stage.say("gateway-0", keep("b", flags=RETAIN))
    assert stage.got("gateway-0", Event | Refused | Published) == topics(stage) == []
    assert stage.shard.commits.refusals.dropped == 2


def test_transactions_behind_one_that_failed_have_failed(stage):
    """None of them is committed, although each alone could be."""
    stage.say("gateway-0", keep("a"))
    stage.say("gateway-0", keep("b", session=2))
    fail(stage)
    assert refused(stage) == [(1, 1), (2, 1)]
    recover(stage)
    assert keys(stage) == {}
    assert not any(key.startswith(rows.KEY) for key in stage.disk.rows)


def test_when_the_store_works_again_so_does_everything(stage):
    stage.say("gateway-0", keep("a"))
    fail(stage)
    assert stage.shard.health()["store"] == "disk full"
    assert stage.shard.health()["status"] == "degraded"
    stage.got("gateway-0")
    recover(stage)
    assert stage.shard.health()["status"] == "ok"
    assert "store" not in stage.shard.health()
    stage.say("gateway-0", keep("a", request=2))
    assert (topics(stage), answered(stage)) == (["a"], [(1, [2])])
    assert list(keys(stage)) == ["a"]
    assert rows.key(REALM, "a") in stage.disk.rows


def test_a_store_that_goes_on_failing_is_tried_again(stage):
    stage.say("gateway-0", keep("a"))
    fail(stage)
    stage.pass_time(3 * RETRY)
    stage.say("gateway-0", keep("a", request=2))
    assert refused(stage) == [(1, 1), (1, 2)]
    recover(stage)
    stage.say("gateway-0", keep("a", request=3))
    assert answered(stage) == [(1, [3])]


def test_the_deadline_tells_when_it_is_tried_again(stage):
    stage = Stage(gateways=1)
    stage.disk.trouble = "disk full"
    stage.say("gateway-0", keep())
    stage.kill("gateway-0")
    stage.pass_time(6.0)
    stage.shard.tick(stage.now)
    # Nobody is there, and nothing else is due.
    assert stage.now < stage.shard.deadline.at <= stage.now + RETRY


def test_the_log_names_the_reason(stage):
    stage.shard.notices.clear()
    stage.say("gateway-0", keep())
    fail(stage)
    assert stage.shard.notices == [("store_failed", {"reason": "disk full"})]


def test_what_was_refused_is_not_sent_again(stage):
    stage.say("gateway-0", keep(), reliable=True)
    fail(stage)
    stage.pass_time(0.5)
    assert refused(stage) == [(1, 1)]
    assert stage["gateway-0"].link.idle


def test_who_asks_about_what_failed_is_answered(stage):
    epoch = stage["gateway-0"].link.epoch
    stage.say("gateway-0", keep())
    stage.say("gateway-1", Ask("gateway-0", epoch, 2))
    fail(stage)
    assert stage.got("gateway-1", Reached) == [Reached("gateway-0", epoch, 2)]


def test_gateways_are_told_that_a_store_fails_and_works_again(stage):
    stage.say("gateway-0", keep())
    fail(stage)
    assert stage.got("gateway-1", Trouble) == [Trouble("disk full")]
    assert (stage.shard.health()["status"], stage.shard.health()["store"]) == (
        "degraded",
        "disk full",
    )
    stage.join("gateway-1", incarnation=2)
    stage.turns()
    assert stage.got("gateway-1", Trouble) == [Trouble("disk full")]
    recover(stage)
    assert stage.got("gateway-0", Trouble) == [Trouble("disk full"), Trouble("")]
    assert "store" not in stage.shard.health()


# Load


def test_while_the_disk_is_behind_no_gateway_is_given_credit():
    stage = Stage(gateways=2, credit=2000)
    stage.disk.held = True
    for number in range(30):
        stage.say("gateway-0", keep(f"t{number}", args=b"x" * 100))
    stage.pass_time(0.2)
    assert stage["gateway-0"].link.congested
    commit(stage)
    stage.pass_time(0.2)
    assert not stage["gateway-0"].link.congested


def test_no_topic_and_no_session_is_held_up_for_nothing(stage):
    stage.say("gateway-0", keep("a"), publish("b"))
    commit(stage)
    topics(stage)
    stage.disk.held = True
    stage.say("gateway-0", publish("a"), publish("b"))
    assert topics(stage) == ["a", "b"]
