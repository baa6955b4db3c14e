"""Subscriptions wait for the events that are held back, and nobody looks through all of them."""

from collections import Counter

from gateway_harness import event
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import SelectedEvent
from fox_shard.gateway.sessions.held_events import HeldEvents
from fox_shard.topics.pattern import Pattern

EXACT = Pattern.parse("=a")
ALL = Pattern.parse("*#")


def test_an_exact_subscription_waits_for_its_topic_only():
    held = HeldEvents()
    held.add(event(1, "a"), 0)
    held.add(event(2, "b"), 0)
    assert held.wait(10, 0, Pattern.parse("=c"), selective=False) is None
    assert held.wait(10, 1, EXACT, selective=False) is None
    before = held.wait(10, 0, EXACT, selective=False)
    assert (before.has(1), before.has(2), before.has(3)) == (True, True, False)
    assert held.delivered(event(2, "b"), 0) == []
    assert held.delivered(event(1, "a"), 0) == [10]


def test_what_is_held_back_later_is_not_waited_for():
    held = HeldEvents()
    held.add(event(1, "a"), 0)
    before = held.wait(10, 0, ALL, selective=False)
    held.add(event(2, "a"), 0)
    assert not before.has(2)
    assert held.delivered(event(1, "a"), 0) == [10]


def test_selected_events_and_others_are_told_apart():
    held = HeldEvents()
    held.add(SelectedEvent(event(1, "a"), [5]), 0)
    assert held.wait(10, 0, ALL, selective=False) is None
    before = held.wait(10, 0, ALL, selective=True)
    assert (before.has(-1), before.has(1)) == (True, False)
    assert held.delivered(SelectedEvent(event(1, "a"), [5]), 0) == [10]


def test_an_event_that_was_sent_again_counts_once():
    held = HeldEvents()
    held.add(event(1, "a"), 0)
    held.add(event(1, "a"), 0)
    assert held.wait(10, 0, ALL, selective=False) is not None
    assert held.delivered(event(1, "a"), 0) == [10]
    assert held.delivered(event(1, "a"), 0) == []


def test_a_subscription_that_gives_up_is_not_named():
    held = HeldEvents()
    held.add(event(1, "a"), 0)
    held.wait(10, 0, EXACT, selective=False)
    held.wait(11, 0, EXACT, selective=False)
    held.give_up(10, 0, EXACT, selective=False)
    held.give_up(10, 0, ALL, selective=False)
    held.give_up(10, 1, ALL, selective=False)
    assert held.delivered(event(1, "a"), 0) == [11]


def test_a_subscription_that_waits_again_waits_for_the_later_ones_too():
    held = HeldEvents()
    held.add(event(1, "a"), 0)
    held.wait(10, 0, ALL, selective=False)
    held.add(event(2, "a"), 0)
    held.wait(10, 0, ALL, selective=False)
    assert held.delivered(event(1, "a"), 0) == []
    assert held.delivered(event(2, "a"), 0) == [10]


@given(st.lists(st.sampled_from(["hold", "wait", "deliver"]), max_size=40), st.randoms())
def test_each_subscription_is_named_once_when_all_that_it_waits_for_is_delivered(steps, rng):
    held, at, waiting = HeldEvents(), {}, {}
    named = Counter()
    for number, step in enumerate(steps, 1):
        if step == "hold":
            at[number] = rng.choice("ab")
            held.add(event(number, at[number]), 0)
        elif step == "wait":
            pattern = rng.choice([EXACT, ALL])
            wanted = {n for n, topic in at.items() if pattern.matches(topic)}
            if held.wait(number, 0, pattern, selective=False) is not None:
                waiting[number] = wanted
            else:
                assert not wanted
        elif at:
            done = rng.choice([*at])
            tokens = held.delivered(event(done, at.pop(done)), 0)
            named.update(tokens)
            for wanted in waiting.values():
                wanted.discard(done)
            due = {token for token, wanted in waiting.items() if not wanted}
            assert {*tokens} == due
            for token in due:
                del waiting[token]
    assert all(count == 1 for count in named.values())
