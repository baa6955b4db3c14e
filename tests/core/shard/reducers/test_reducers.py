"""Reducers: events are folded into keys one by one, in order, exactly once."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, ShardHarness, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Audience,
    Event,
    NotReduced,
    Published,
    Reduce,
    Reduced,
    Refused,
    Registered,
    RegisterReducer,
    Revoked,
    SelectedEvent,
    SelectorSpec,
    Subscribe,
    UnregisterReducer,
)
from fox_shard.config import Reducers
from fox_shard.documents.payloads import JSON
from fox_shard.store.journal import RETRY as DISK_RETRY
from fox_shard.topics.ids import pattern_id

PLAIN = 0


def reducer(
    session=1,
    pattern="*a.#",
    *,
    request=1,
    mission="",
    durable="",
    invoke="single",
    concurrency=100,
    force=False,
    replay=False,
    realm=REALM,
):
    id_ = pattern_id(realm, "reducer", f"{pattern}\0{mission}\0{durable}")
    return RegisterReducer(
        realm, session, request, pattern, id_, mission, durable, invoke, concurrency, force, replay
    )


@pytest.fixture
def harness():
    """A harness with a reducer of `a.#` at session 1 of gateway-0; gateway-1 gets everything."""
    return reducing_harness(reducer())


def reducing_harness(*registrations, **more):
    harness = ShardHarness(gateways=2, unstored=["memory"], **more)
    harness["gateway-1"].replay = [subscribe("*#")]
    harness.say("gateway-1", subscribe("*#"))
    harness.say("gateway-0", *registrations)
    harness["gateway-0"].replay = [
        RegisterReducer(*(getattr(one, name) for name in one.__struct_fields__[:-1]), True)
        for one in registrations
    ]
    harness.got("gateway-0")
    return harness


def emit(harness, *numbers, topic="a.b", flags=ACKNOWLEDGE, session=2, reliable=None):
    """Publish the numbers as gateway-1's session 2."""
    frames = [
        publish(topic, session=session, request=number, flags=flags, args=b"[%d]" % number)
        for number in numbers
    ]
    reliable = bool(flags & ACKNOWLEDGE) if reliable is None else reliable
    harness.say("gateway-1", *frames, reliable=reliable)


def asked(harness, name="gateway-0"):
    """Return the reductions that the gateway has been asked for since the last call."""
    return harness.got(name, Reduce)


def number_of(reduce):
    return int(reduce.event.publish.args[1:-1])


def answer(harness, reduce, args, name="gateway-0"):
    harness.say(name, Reduced(reduce.invocation, JSON, args))


def fold(harness, name="gateway-0"):
    """Let the reducer append each number to the list that the key is, until nothing is asked."""
    while reductions := asked(harness, name):
        for one in reductions:
            before = one.retained[1][1:-1] if one.retained else b"[]"
            after = before[:-1] + (b"," if before != b"[]" else b"") + b"%d]" % number_of(one)
            harness.send(name, Reduced(one.invocation, JSON, b"[%b]" % after))
        harness.turns()


def key(harness, topic="a.b", realm=REALM):
    found = harness.shard.retained_keys.realms[realm].keys.durable_value(topic)
    return None if found is None else found.publish.args


# Folding


def test_an_event_is_reduced_into_its_topics_key(harness):
    emit(harness, 5)
    (one,) = asked(harness)
    assert (one.instance, one.event.publish.topic, one.event.publish.args) == (1, "a.b", b"[5]")
    assert one.retained is None
    answer(harness, one, b"[17]")
    assert key(harness) == b"[17]"
    emit(harness, 6)
    (two,) = asked(harness)
    assert two.retained == (JSON, b"[17]", b"")
    assert two.event.publication > one.event.publication


def test_plain_subscribers_get_the_event_and_not_the_result(harness):
    emit(harness, 5)
    fold(harness)
    assert [event.publish.args for event in harness.got("gateway-1", Event)] == [b"[5]"]


def test_state_subscribers_get_the_change_and_what_it_came_from(harness):
    harness.say("gateway-1", Subscribe(0, REALM, "*a.#", False, SelectorSpec(7, True)))
    emit(harness, 5)
    (one,) = asked(harness)
    answer(harness, one, b"[17]")
    (change,) = harness.got("gateway-1", SelectedEvent)
    value = change.event.publish
    assert (value.args, value.retain.reduced) == (b"[17]", one.event.publication)
    assert change.event.publication > one.event.publication
    emit(harness, 6)
    (two,) = asked(harness)
    answer(harness, two, b"[null]")
    (change,) = harness.got("gateway-1", SelectedEvent)
    assert (change.removed, change.reduced) == ("deleted", two.event.publication)
    assert key(harness) is None


@pytest.mark.parametrize("empty", [b"", b"[]", b"[null]", b"[null,1]"])
def test_an_empty_result_erases_the_key(harness, empty):
    emit(harness, 5)
    fold(harness)
    emit(harness, 6)
    (one,) = asked(harness)
    answer(harness, one, empty)
    assert key(harness) is None
    emit(harness, 7)
    assert asked(harness)[0].retained is None


def test_the_first_result_counts(harness):
    emit(harness, 5)
    answer(harness, asked(harness)[0], b'["x",{"y":[1,2]}]')
    assert key(harness) == b'["x"]'


def test_the_events_of_one_topic_are_reduced_one_by_one_in_order(harness):
    emit(harness, 1, 2, 3)
    assert [number_of(one) for one in asked(harness)] == [1]
    harness.turns()
    assert asked(harness) == []
    emit(harness, 4)
    harness.say("gateway-0", NotReduced(99, "x", JSON, b""))
    assert asked(harness) == []


def test_all_events_of_a_topic_are_folded(harness):
    emit(harness, 1, 2, 3)
    fold(harness)
    emit(harness, 4, 5)
    fold(harness)
    assert key(harness) == b"[[1,2,3,4,5]]"


def test_different_topics_are_reduced_in_parallel_within_the_concurrency():
    harness = reducing_harness(reducer(concurrency=2))
    for topic in ("a.b", "a.c", "a.d"):
        emit(harness, 1, 2, topic=topic)
    first = asked(harness)
    assert [one.event.publish.topic for one in first] == ["a.b", "a.c"]
    answer(harness, first[0], b"[1]")
    (third,) = asked(harness)
    assert third.event.publish.topic == "a.d"


def test_unacknowledged_events_are_folded_too(harness):
    emit(harness, 1, flags=PLAIN)
    emit(harness, 2, flags=PLAIN)
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_a_retained_publish_is_an_event_like_any_other(harness):
    emit(harness, 1)
    fold(harness)
    emit(harness, 2, flags=ACKNOWLEDGE | RETAIN)
    (one,) = asked(harness)
    assert one.retained == (JSON, b"[2]", b"")


@pytest.mark.parametrize("topic", ["b.c", "ab", "wamp.x", "$SYS.x", "fox.reducer.failed"])
def test_other_topics_are_not_reduced(topic):
    harness = reducing_harness(reducer(), reducer(pattern="*+.x", request=2))
    emit(harness, 1, topic=topic)
    assert asked(harness) == []


def test_events_for_some_receivers_only_are_not_reduced(harness):
    limited = publish("a.b", session=2, audience=Audience(eligible_authrole=["admin"]))
    harness.say("gateway-1", limited, reliable=True)
    assert asked(harness) == []


def test_two_reducers_of_a_topic_both_see_all_events():
    harness = reducing_harness(reducer(), reducer(2, pattern="=a.b"))
    emit(harness, 1, 2)
    seen = []
    while reductions := asked(harness):
        for one in reductions:
            harness.send("gateway-0", Reduced(one.invocation, JSON, b"[%d]" % number_of(one)))
            seen.append((one.instance, number_of(one)))
        harness.turns()
    assert sorted(set(seen)) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_result_that_does_not_know_of_a_change_is_asked_for_again(harness):
    emit(harness, 1)
    (one,) = asked(harness)
    harness.say(
        "gateway-1",
        publish("a.b", session=3, request=9, flags=ACKNOWLEDGE | RETAIN, args=b"[50]"),
        reliable=True,
    )
    answer(harness, one, b"[1]")
    (again,) = asked(harness)
    assert again.event.publication == one.event.publication
    assert again.retained == (JSON, b"[50]", b"")
    assert key(harness) == b"[50]"


# The store


def test_an_event_is_acknowledged_and_shown_to_the_reducer_when_its_row_is_durable(harness):
    harness.disk.held = True
    emit(harness, 1)
    assert (asked(harness), harness.got("gateway-1", Published)) == ([], [])
    harness.disk.held = False
    harness.turns()
    assert len(asked(harness)) == 1
    assert len(harness.got("gateway-1", Published)) == 1


def test_an_event_whose_commit_fails_is_refused_and_not_folded(harness):
    harness.disk.held = True
    emit(harness, 1)
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    assert [one.uri for one in harness.got("gateway-1", Refused)] == ["fox.error.unavailable_store"]
    assert asked(harness) == []
    harness.disk.trouble = ""
    harness.pass_time(DISK_RETRY + 0.5)
    assert asked(harness) == []
    emit(harness, 2)
    fold(harness)
    assert key(harness) == b"[[2]]"


def test_a_fold_whose_commit_fails_is_asked_for_again_with_the_same_value(harness):
    emit(harness, 1)
    fold(harness)
    emit(harness, 2, 3)
    (two,) = asked(harness)
    harness.disk.held = True
    answer(harness, two, b"[[1,2]]")
    harness.disk.trouble, harness.disk.held = "disk full", False
    harness.turns()
    assert asked(harness) == []
    harness.disk.trouble = ""
    harness.pass_time(DISK_RETRY + 0.5)
    (again,) = asked(harness)
    assert (again.event, again.retained) == (two.event, two.retained)
    answer(harness, again, b"[[1,2]]")
    fold(harness)
    assert key(harness) == b"[[1,2,3]]"


def test_an_answer_that_comes_while_the_store_fails_counts_afterwards(harness):
    emit(harness, 1)
    (one,) = asked(harness)
    harness.disk.trouble = "disk full"
    harness.say("gateway-1", publish("k", session=3, flags=ACKNOWLEDGE | RETAIN), reliable=True)
    answer(harness, one, b"[1]")
    assert key(harness) is None
    harness.disk.trouble = ""
    harness.pass_time(DISK_RETRY + 0.5)
    assert key(harness) == b"[1]"
    assert asked(harness) == []


@pytest.mark.parametrize("held", [False, True])
def test_after_a_restart_the_queue_goes_on(harness, held):
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.disk.held = held
    answer(harness, one, b"[[1]]")
    harness.restart()
    harness.turns(8)
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_an_event_that_is_sent_again_after_a_restart_is_not_folded_again(harness):
    harness["gateway-1"].deaf = True
    emit(harness, 1)
    harness.restart()
    harness.turns(8)
    assert len(harness.got("gateway-1", Published)) == 1
    fold(harness)
    assert key(harness) == b"[[1]]"


def test_a_realm_in_memory_has_reducers_without_rows():
    harness = reducing_harness(reducer(realm="memory"))
    rows = dict(harness.disk.rows)
    frames = [
        publish("a.b", session=2, request=n, args=b"[%d]" % n, realm="memory") for n in (1, 2)
    ]
    harness.say("gateway-1", *frames, reliable=True)
    fold(harness)
    assert key(harness, realm="memory") == b"[[1,2]]"
    assert {k for k in harness.disk.rows if k[:1] in b"ef"} == {k for k in rows if k[:1] in b"ef"}


def test_nothing_is_left_when_all_is_folded(harness):
    emit(harness, 1, 2, 3)
    fold(harness)
    harness.say("gateway-1", publish("k", session=3, flags=ACKNOWLEDGE | RETAIN), reliable=True)
    assert harness.shard.reducers.idle
    assert not [k for k in harness.disk.rows if k[:1] == b"f"]
    (one,) = harness.shard.reducers.catalog
    assert (len(one.arrivals), one.size, one.queues, one.folded) == (0, 0, {}, 3)


# Failures


def failures(harness):
    """Return the arguments of the events at fox.reducer.failed."""
    events = harness.got("gateway-1", Event)
    return [
        msgpack.decode(event.publish.args)
        for event in events
        if event.publish.topic == "fox.reducer.failed"
    ]


def watch_failures(harness):
    harness.say("gateway-1", subscribe("=fox.reducer.failed"))


def test_an_error_skips_the_event_and_is_told(harness):
    watch_failures(harness)
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.say("gateway-0", NotReduced(one.invocation, "app.bad", JSON, b'["because"]'))
    (told,) = failures(harness)
    event = {"args": [1], "kwargs": {}}
    assert told == ["a.#", "a.b", one.event.publication, "app.bad", ["because"], event]
    fold(harness)
    assert key(harness) == b"[[2]]"


@pytest.mark.parametrize(
    ("result", "uri"),
    [(b"[nonsense", "fox.error.invalid_payload"), (b'["%b"]' % bytes(600), "limit_exceeded")],
)
def test_a_result_that_cannot_be_a_value_is_a_failure_of_that_event(result, uri):
    harness = reducing_harness(reducer(), max_message_size=500)
    watch_failures(harness)
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.say("gateway-0", Reduced(one.invocation, JSON, result.replace(b"\0", b"x")))
    (told,) = failures(harness)
    assert told[3].endswith(uri)
    fold(harness)
    assert key(harness) == b"[[2]]"


def test_a_retry_is_asked_again_after_a_growing_delay(harness):
    watch_failures(harness)
    emit(harness, 1, 2)
    (one,) = asked(harness)
    waits = []
    for _ in range(4):
        harness.say("gateway-0", NotReduced(one.invocation, "fox.error.retry", JSON, b""))
        since = harness.now
        while not (again := asked(harness)):
            harness.pass_time(0.01, step=0.01)
        waits.append(round(harness.now - since, 1))
        assert (again[0].event, again[0].retained) == (one.event, one.retained)
        (one,) = again
    assert waits == [0.1, 0.2, 0.4, 0.8]
    assert failures(harness) == []
    answer(harness, one, b"[[1]]")
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_a_timeout_is_told_and_the_event_is_asked_again(harness):
    watch_failures(harness)
    emit(harness, 1)
    (one,) = asked(harness)
    late = NotReduced(one.invocation, "wamp.error.timeout", JSON, b"", timed_out=True)
    harness.say("gateway-0", late)
    (told,) = failures(harness)
    assert told[:4] == ["a.#", "a.b", one.event.publication, "wamp.error.timeout"]
    harness.pass_time(1)
    (again,) = asked(harness)
    assert again.event == one.event
    answer(harness, one, b"[99]")
    assert key(harness) is None
    answer(harness, again, b"[1]")
    assert key(harness) == b"[1]"


# Limits


def test_a_full_queue_refuses_acknowledged_publishes():
    harness = reducing_harness(reducer(), reducer=Reducers(queue_limit=2))
    emit(harness, 1, 2)
    harness.got("gateway-1")
    emit(harness, 3)
    (refusal,) = harness.got("gateway-1", Refused)
    assert (refusal.request, refusal.uri) == (3, "fox.error.queue_full")
    assert "reducer.queue_limit" in refusal.message
    assert harness.got("gateway-1", Event) == []
    emit(harness, 4, flags=PLAIN)
    assert [event.publish.args for event in harness.got("gateway-1", Event)] == [b"[4]"]
    assert harness.shard.reducers.queues.dropped == 1
    fold(harness)
    assert key(harness) == b"[[1,2]]"
    emit(harness, 5)
    fold(harness)
    assert key(harness) == b"[[1,2,5]]"


def test_the_bytes_of_a_realms_queues_are_limited():
    harness = reducing_harness(reducer(), reducer=Reducers(queue_bytes=4096))
    payload = b'["%b"]' % (b"x" * 2000)
    for number in (1, 2):
        frame = publish("a.b", session=2, request=number, args=payload)
        harness.say("gateway-1", frame, reliable=True)
    (refusal,) = harness.got("gateway-1", Refused)
    assert (refusal.request, refusal.uri) == (2, "fox.error.queue_full")
    assert "reducer.queue_bytes" in refusal.message


def test_a_refusal_is_the_same_after_a_restart():
    harness = reducing_harness(reducer(), reducer=Reducers(queue_limit=1))
    emit(harness, 1)
    harness.got("gateway-1")
    harness["gateway-1"].deaf = True
    emit(harness, 2)
    (one,) = asked(harness)
    answer(harness, one, b"[[1]]")
    harness.restart()
    harness.turns(8)
    (refusal,) = harness.got("gateway-1", Refused)
    assert (refusal.request, refusal.uri) == (2, "fox.error.queue_full")
    fold(harness)
    assert key(harness) == b"[[1]]"


# Instances


def test_a_registration_is_answered_when_the_reducer_is_durable():
    harness = ShardHarness(gateways=2)
    harness.disk.held = True
    harness.say("gateway-0", reducer())
    assert harness.got("gateway-0", Registered) == []
    harness.disk.held = False
    harness.turns()
    (answered,) = harness.got("gateway-0", Registered)
    assert (answered.session, answered.registration) == (1, reducer().registration)


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ("single", "single", "wamp.error.procedure_already_exists"),
        (
            "single",
            "random",
            "wamp.error.procedure_exists_with_different_invocation_policy",
        ),
        ("random", "random", None),
    ],
)
def test_several_instances_need_a_sharing_policy(first, second, error):
    harness = reducing_harness(reducer(invoke=first))
    harness.say("gateway-1", reducer(9, invoke=second))
    (got,) = harness.got("gateway-1", (Registered, Refused))
    assert getattr(got, "uri", None) == error


def test_force_reregister_revokes_the_others(harness):
    emit(harness, 1)
    (one,) = asked(harness)
    harness.say("gateway-1", reducer(9, force=True))
    (revoked,) = harness.got("gateway-0", Revoked)
    assert revoked.session == 1
    (again,) = asked(harness, "gateway-1")
    assert (again.instance, again.event) == (9, one.event)


def test_a_topic_stays_on_one_instance_and_topics_spread_over_all():
    harness = reducing_harness(
        *(reducer(session, invoke="random", concurrency=1000) for session in range(1, 5))
    )
    of = {}
    for _ in range(3):
        for number in range(40):
            emit(harness, 1, topic=f"a.{number}")
        for one in asked(harness):
            of.setdefault(one.event.publish.topic, set()).add(one.instance)
            answer(harness, one, b"[1]")
    assert all(len(instances) == 1 for instances in of.values())
    assert set.union(*of.values()) == {1, 2, 3, 4}


def test_when_an_instance_leaves_the_others_get_what_was_out_at_it():
    harness = reducing_harness(reducer(1, invoke="random"))
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.say("gateway-1", reducer(9, invoke="random"))
    harness.say("gateway-0", leave(1))
    harness.pass_time(1)
    (again,) = asked(harness, "gateway-1")
    assert (again.instance, again.event, again.retained) == (9, one.event, one.retained)
    answer(harness, one, b"[77]")
    assert key(harness) is None
    answer(harness, again, b"[[1]]", "gateway-1")
    fold(harness, "gateway-1")
    assert key(harness) == b"[[1,2]]"


def test_an_instance_that_unregisters_is_not_asked_any_more(harness):
    harness.say("gateway-0", UnregisterReducer(REALM, 1, reducer().registration))
    emit(harness, 1)
    assert asked(harness) == []
    assert not list(harness.shard.reducers.catalog)


def test_a_broken_link_loses_no_event(harness):
    emit(harness, 1)
    asked(harness)
    harness["gateway-0"].link.break_off(harness.now)
    harness["gateway-0"].got.clear()
    harness.shard.connection_lost("gateway-0", harness.now)
    emit(harness, 2)
    harness.turns(8)
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_without_an_instance_events_pass_by(harness):
    harness.say("gateway-0", leave(1))
    emit(harness, 1)
    harness.say("gateway-1", reducer(9))
    assert asked(harness, "gateway-1") == []


def test_what_is_queued_waits_for_the_instance_to_return():
    harness = reducing_harness(reducer(), reducer=Reducers(wait_for_return=10.0))
    emit(harness, 1, 2)
    asked(harness)
    harness.say("gateway-0", leave(1))
    harness.pass_time(9)
    harness.say("gateway-1", reducer(9))
    harness.pass_time(1)
    fold(harness, "gateway-1")
    assert key(harness) == b"[[1,2]]"


def test_what_is_queued_is_dropped_if_no_instance_returns():
    harness = reducing_harness(reducer(), reducer=Reducers(wait_for_return=10.0))
    emit(harness, 1, 2)
    asked(harness)
    harness.say("gateway-0", leave(1))
    harness.pass_time(12)
    assert harness.shard.reducers.queues.dropped == 2
    assert not list(harness.shard.reducers.catalog)
    harness.say("gateway-1", publish("k", session=3, flags=ACKNOWLEDGE | RETAIN), reliable=True)
    assert not [k for k in harness.disk.rows if k[:1] in b"ef"]
    harness.say("gateway-1", reducer(9))
    assert asked(harness, "gateway-1") == []


def test_a_durable_reducer_gets_what_came_in_its_absence():
    harness = reducing_harness(reducer(durable="totals"))
    harness["gateway-0"].replay = []
    harness.say("gateway-0", leave(1))
    emit(harness, 1)
    harness.pass_time(100, step=5)
    harness.restart()
    harness.turns(8)
    emit(harness, 2)
    harness.say("gateway-0", reducer(9, durable="totals"))
    fold(harness)
    assert key(harness) == b"[[1,2]]"


def test_a_reducer_without_instances_after_a_restart_is_dropped_after_a_while():
    harness = reducing_harness(reducer(), reducer=Reducers(wait_for_return=10.0))
    emit(harness, 1)
    harness["gateway-0"].replay = []
    harness.restart()
    harness.turns(8)
    harness.pass_time(12)
    assert not list(harness.shard.reducers.catalog)


def test_an_erased_key_counts_as_none(harness):
    emit(harness, 1)
    fold(harness)
    erasing = publish("a.b", session=3, flags=ACKNOWLEDGE | RETAIN | EMPTY, args=b"")
    harness.say("gateway-1", erasing, reliable=True)
    (one,) = asked(harness)
    assert (one.retained, one.event.publish.args) == (None, b"")


def test_a_realm_has_so_many_reducers_and_no_more():
    harness = reducing_harness(
        reducer(1, durable="a"), reducer(1, durable="b"), reducer=Reducers(max_reducers=2)
    )
    harness.say("gateway-0", reducer(1, durable="c", request=9))
    (refusal,) = harness.got("gateway-0", Refused)
    assert (refusal.request, refusal.uri) == (9, "fox.error.limit_exceeded")
    harness.say("gateway-0", reducer(5, durable="a", request=10, force=True))
    assert len(harness.got("gateway-0", Registered)) == 1
    assert len(list(harness.shard.reducers.catalog)) == 2
    assert len([row for row in harness.disk.rows if row[:1] == b"e"]) == 2
