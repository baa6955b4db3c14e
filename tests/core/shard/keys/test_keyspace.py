"""The keys of a realm: their present and their durable values, and changes that are undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_harness import publish

from fox_shard.backplane.frames import Event
from fox_shard.shard.keys.keyspace import Keyspace
from fox_shard.shard.keys.quota import KeyQuota, size_of
from fox_shard.topics.pattern import Pattern

ALL = Pattern.mqtt("#")


def event(number, topic="a.b"):
    return Event(number, publish(topic))


@pytest.fixture
def keys():
    return Keyspace(KeyQuota())


def durable(keys, pattern=ALL):
    return [one.publication for one in keys.durable(pattern)]


def test_a_change_takes_effect_at_once_and_is_shown_when_it_is_durable(keys):
    keys.change("a.b", event(1), 1)
    assert keys.get("a.b") == event(1)
    assert (len(keys), durable(keys), keys.is_committed) == (1, [], False)
    keys.committed("a.b", 1)
    assert (len(keys), durable(keys), keys.is_committed) == (1, [1], True)


def test_the_earlier_value_is_shown_until_a_change_is_durable(keys):
    keys.set("a.b", event(1))
    keys.change("a.b", event(2), 1)
    keys.change("a.b", None, 2)
    assert (keys.get("a.b"), len(keys), durable(keys)) == (None, 0, [1])
    keys.committed("a.b", 1)
    assert durable(keys) == [2]
    keys.committed("a.b", 2)
    assert (durable(keys), keys.is_committed) == ([], True)


def test_a_transaction_makes_its_last_change_durable(keys):
    keys.change("a.b", event(1), 1)
    keys.change("a.b", None, 1)
    keys.change("a.b", event(3), 1)
    keys.change("a.b", event(4), 2)
    keys.committed("a.b", 1)
    assert durable(keys) == [3]


def test_transactions_may_become_durable_together(keys):
    for number in (1, 2, 3):
        keys.change("a.b", event(number), number)
    keys.committed("a.b", 2)
    assert durable(keys) == [2]
    assert not keys.is_committed


@pytest.mark.parametrize("before", [None, event(1)])
@pytest.mark.parametrize("changes", [[event(2)], [None], [event(2), None, event(3)], [None, None]])
def test_failed_changes_leave_the_durable_value(before, changes, keys):
    keys.set("a.b", before)
    for ticket, change in enumerate(changes, 1):
        keys.change("a.b", change, ticket)
    keys.commit_failed("a.b")
    assert keys.get("a.b") == before
    assert durable(keys) == ([] if before is None else [1])
    assert keys.is_committed


def test_committed_and_commit_failed_do_nothing_without_a_change(keys):
    keys.change("a.b", event(1), 1)
    for _ in range(2):
        keys.committed("a.b", 1)
    keys.commit_failed("a.b")
    keys.commit_failed("never.changed")
    assert durable(keys) == [1]


def test_only_keys_that_match_the_pattern_are_shown(keys):
    for number, topic in enumerate(("a.b", "a.c", "b.c"), 1):
        keys.set(topic, event(number, topic))
    keys.change("a.c", None, 1)
    keys.change("b.c", event(4, "b.c"), 1)
    keys.change("a.d", event(5, "a.d"), 1)
    assert durable(keys, Pattern.mqtt("a/+")) == [1, 2]
    assert durable(keys, Pattern.mqtt("+/c")) == [2, 3]


# Against a model that keeps every state of all keys

TOPICS = ("a", "a.b", "a.c", "b")
PATTERNS = [Pattern.mqtt(text) for text in ("#", "a/+", "a/b", "+", "+/c")]
STEPS = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(TOPICS), st.booleans()),
    st.tuples(st.just("set"), st.sampled_from(TOPICS), st.booleans()),
    st.tuples(st.sampled_from(["commit", "settle", "undo"]), st.just(""), st.just(value=False)),
)


@given(st.lists(STEPS, max_size=40), st.randoms(use_true_random=False))
def test_keys_agree_with_a_list_of_all_states(steps, rng):
    """`states` has the durable state first, then one for each transaction, the present one last."""
    keys = Keyspace(KeyQuota())
    first, states, changing = 0, [{}, {}], []

    def update(state, topic, value):
        state.pop(topic, None)
        if value is not None:
            state[topic] = value

    for number, (step, topic, erase) in enumerate(steps, 1):
        value = None if erase else event(number, topic)
        if step == "change":
            keys.change(topic, value, first + len(states) - 1)
            update(states[-1], topic, value)
            changing.append(topic)
        elif step == "set" and topic not in changing:  # as `$` topics, which never wait
            keys.set(topic, value)
            for state in states:
                update(state, topic, value)
        elif step == "commit":
            states.append(dict(states[-1]))
        elif step == "settle":
            count = rng.randrange(len(states))
            first, states = first + count, states[count:]
            if len(states) == 1:
                states.append(dict(states[0]))
            for one in TOPICS:
                keys.committed(one, first)
        elif step == "undo":
            first, states = first + len(states) - 1, [states[0], dict(states[0])]
            for one in changing:
                keys.commit_failed(one)
        if step == "undo" or keys.is_committed:
            changing.clear()
        assert {topic: keys.get(topic) for topic in TOPICS} == {
            topic: states[-1].get(topic) for topic in TOPICS
        }
        assert len(keys) == keys.quota.count == len(states[-1])
        assert keys.quota.size == sum(size_of(one.publish) for one in states[-1].values())
        for pattern in PATTERNS:
            shown = list(keys.durable(pattern))
            assert sorted(one.publish.topic for one in shown) == sorted(
                topic for topic in states[0] if pattern.matches(topic)
            )
            assert all(states[0][one.publish.topic] == one for one in shown)
