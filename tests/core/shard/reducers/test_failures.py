"""Reducers that fail: that event only, and it is told."""

import pytest
from reducing import (
    PLAIN,
    answer,
    asked,
    emit,
    failures,
    fold,
    key,
    reducer,
    reducing_harness,
    watch_failures,
)
from shard_harness import publish

from fox_shard.backplane.frames import (
    Event,
    NotReduced,
    Reduced,
    Refused,
)
from fox_shard.config import Reducers
from fox_shard.documents.payloads import JSON


@pytest.fixture
def harness():
    """A harness with a reducer of `a.#` at session 1 of gateway-0; gateway-1 gets everything."""
    return reducing_harness(reducer())


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


def tried_again(harness, one):
    """Ask for another try; return what is asked then, and after how many seconds."""
    harness.say("gateway-0", NotReduced(one.invocation, "fox.error.retry", JSON, b""))
    since = harness.now
    while not (again := asked(harness)):
        harness.pass_time(0.01, step=0.01)
    assert (again[0].event, again[0].retained) == (one.event, one.retained)
    return again[0], round(harness.now - since, 1)


def test_a_retry_is_asked_again_after_a_growing_delay(harness):
    watch_failures(harness)
    emit(harness, 1, 2)
    (one,) = asked(harness)
    for expected in (0.1, 0.2, 0.4, 0.8):
        one, waited = tried_again(harness, one)
        assert waited == expected
    assert failures(harness) == []
    answer(harness, one, b"[[1]]")
    # The next event for the key has not failed yet.
    (two,) = asked(harness)
    two, waited = tried_again(harness, two)
    assert waited == 0.1
    answer(harness, two, b"[[1,2]]")
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


def test_a_full_queue_refuses_acknowledged_publishes():
    harness = reducing_harness(reducer(), reducer=Reducers(queue_limit=2))
    emit(harness, 1, 2)
    harness.got("gateway-1")
    emit(harness, 3)
    (refusal,) = harness.got("gateway-1", Refused)
    assert (refusal.request, refusal.uri) == (3, "fox.error.queue_full")
    assert harness.shard.health()["refused"] == {"reducer_queue_limit": 1}
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
    assert harness.shard.health()["refused"] == {"reducer_queue_bytes": 1}


def several(count, missions=None):
    """Return reducers of one topic, each of which gets every event."""
    missions = missions or [f"key.{number}" for number in range(count)]
    return [reducer(number, mission=mission) for number, mission in enumerate(missions, 1)]


def test_an_event_counts_for_each_of_its_reducers_before_it_waits():
    """Or one large event, for a thousand reducers, would take all memory."""
    harness = reducing_harness(*several(5), reducer=Reducers(queue_bytes=8192))
    payload = b'["%b"]' % (b"x" * 2000)
    frame = publish("a.b", session=2, request=1, args=payload)
    harness.say("gateway-1", frame, reliable=True)
    (refusal,) = harness.got("gateway-1", Refused)
    assert "reducer.queue_bytes" in refusal.message
    assert harness.got("gateway-1", Event) == []
    assert harness.shard.reducers.queues.waiting == 0
    harness.say("gateway-1", publish("a.b", session=2, args=payload, flags=PLAIN))
    assert len(harness.got("gateway-1", Event)) == 1
    assert harness.shard.reducers.queues.waiting == 2
    assert harness.shard.reducers.queues.dropped == 3


def test_an_event_that_many_reducers_have_no_room_for_is_paid_for():
    harness = reducing_harness(*several(200), reducer=Reducers(queue_limit=1))
    emit(harness, 1, flags=PLAIN)
    harness.shard.budget.begin_turn()
    harness.send("gateway-1", publish("a.b", session=2, flags=PLAIN, args=b"[2]"))
    harness.turn()
    assert harness.shard.reducers.queues.dropped == 200
    assert harness.shard.budget.left <= harness.shard.budget.units - 25


def test_topics_with_the_same_reducers_share_their_list():
    """Or a thousand reducers, and a hundred thousand topics, would take a gigabyte."""
    harness = reducing_harness(*several(5))
    wanting = harness.shard.reducers.catalog.wanting
    assert wanting(publish("a.b")) is wanting(publish("a.c"))
    assert len(wanting(publish("a.b"))) == 5
    harness.say("gateway-0", reducer(9, mission="other"))
    assert len(wanting(publish("a.b"))) == 6
    assert wanting(publish("x")) == ()


def test_a_large_event_for_many_reducers_is_paid_for():
    harness = reducing_harness(*several(20))
    harness.shard.budget.begin_turn()
    payload = b'["%b"]' % (b"x" * 100_000)
    harness.send("gateway-1", publish("a.b", session=2, args=payload, flags=PLAIN))
    harness.turn()
    assert harness.shard.budget.left < harness.shard.budget.units - 20 * 90


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


def test_what_is_told_has_no_more_bytes_than_a_message():
    """The event and the error are left out; who has failed at what is told all the same."""
    harness = reducing_harness(reducer(), max_message_size=500)
    watch_failures(harness)
    frame = publish("a.b", session=2, args=b'["%b"]' % (b"x" * 400))
    harness.say("gateway-1", frame, reliable=True)
    (one,) = asked(harness)
    error = NotReduced(one.invocation, "app.bad", JSON, b'["%b"]' % (b"y" * 400))
    harness.say("gateway-0", error)
    (told,) = failures(harness)
    assert told == ["a.#", "a.b", one.event.publication, "app.bad", [], None]
