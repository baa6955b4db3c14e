"""Reducers: events are folded into keys one by one, in order."""

import pytest
from reducing import (
    PLAIN,
    answer,
    asked,
    emit,
    fold,
    key,
    number_of,
    reducer,
    reducing_harness,
)
from shard_harness import REALM, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RETAIN,
    Audience,
    Event,
    NotReduced,
    Reduced,
    SelectedEvent,
    SelectorSpec,
    Subscribe,
)
from fox_shard.documents.payloads import JSON


@pytest.fixture
def harness():
    """A harness with a reducer of `a.#` at session 1 of gateway-0; gateway-1 gets everything."""
    return reducing_harness(reducer())


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


def test_reducers_go_on_while_more_is_published_than_a_turn_can_handle(harness):
    emit(harness, 1)
    (one,) = asked(harness)
    flood = [
        publish(f"k.{number}", session=3, request=number, flags=ACKNOWLEDGE | RETAIN)
        for number in range(20_000)
    ]
    harness.send("gateway-1", *flood, reliable=True)
    harness.turn()
    assert harness.shard.peers["gateway-1"].waiting
    harness.send("gateway-0", Reduced(one.invocation, JSON, b"[[1]]"))
    harness.turns(3)
    assert harness.shard.peers["gateway-1"].waiting
    assert key(harness) == b"[[1]]"
