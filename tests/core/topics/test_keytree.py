"""The key tree finds the same keys as a naive scan, in sorted order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.topics import sortedkeys
from fox_shard.topics.keytree import KeyTree
from fox_shard.topics.pattern import PREFIX, Pattern
from fox_shard.topics.sortedkeys import SortedKeys

COMPONENTS = st.sampled_from(
    ["a", "b", "ab", "a-", "a/b", "", "*", "+", "$S", "$", "%", "wamp", "wamp-", "fox", "fo", "g"]
)
TOPICS = st.lists(COMPONENTS, min_size=1, max_size=4).map(".".join)


def tree_of(topics):
    tree = KeyTree()
    for topic in topics:
        tree.add(topic)
    return tree


@pytest.fixture
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(sortedkeys, "_FULL", 4)
    monkeypatch.setattr(sortedkeys, "_SPARSE", 2)


@given(st.lists(TOPICS, max_size=40), st.from_type(Pattern))
def test_walking_agrees_with_scanning(topics, pattern):
    expected = sorted({topic for topic in topics if pattern.matches(topic)})
    assert list(tree_of(topics).match(pattern)) == expected


@given(st.lists(TOPICS, max_size=40), st.from_type(Pattern), TOPICS)
def test_a_walk_can_begin_behind_any_topic(topics, pattern, start):
    beyond = {topic for topic in topics if topic > start or not start}  # "": from the beginning
    expected = sorted(topic for topic in beyond if pattern.matches(topic))
    steps = tree_of(topics).steps(pattern, start)
    assert [topic for topic in steps if topic is not None] == expected


def test_steps_that_find_nothing_are_seen_by_the_caller():
    tree = tree_of(f"a{number:03}.b.x" for number in range(500))
    steps = tree.steps(Pattern.mqtt("+/+/none"))
    assert [next(steps) for _ in range(500)] == [None] * 500


@given(st.lists(TOPICS, max_size=40), st.from_type(Pattern))
def test_no_walk_takes_more_than_a_few_steps_for_each_topic(topics, pattern):
    assert len(list(tree_of(topics).steps(pattern))) <= len(set(topics))


@pytest.mark.parametrize("filter_", ["a/+", "a/#", "+/b", "+/b/#", "a/b/c", "+/+", "a"])
def test_characters_that_sort_before_the_dot_do_not_hide_a_subtree(filter_):
    topics = ["a", "a!", "a-", "a-.b", "a-b", "a.b", "a.b-", "a.b-.c", "a.b.c", "a/b", "b.b"]
    pattern = Pattern.mqtt(filter_)
    expected = sorted(topic for topic in topics if pattern.matches(topic))
    assert list(tree_of(topics).match(pattern)) == expected
    # Without the key `a` itself, the walk meets its neighbours `a!` and `a-` first.
    assert list(tree_of(topics[1:]).match(pattern)) == [t for t in expected if t != "a"]


@pytest.mark.parametrize("filter_", ["+/a", "+/#", "+", "#", "wamp/+", "$S/a"])
def test_a_walk_skips_reserved_topics(filter_):
    """[MQTT-4.7.2-1], which this server extends to `wamp` and `fox`."""
    topics = ["$S.a", "$S", "$T.a", "%.a", "fox", "fox.a", "foxes.a", "wamp", "wamp.a", "wamp-.a"]
    pattern = Pattern.mqtt(filter_)
    expected = sorted(topic for topic in topics if pattern.matches(topic))
    assert list(tree_of(topics).match(pattern)) == expected


@pytest.mark.parametrize(
    "prefix", ["", "$", "%", "f", "fo", "fox", "fox.", "w", "wamp", "wamp.a", "a", "x\U0010ffff"]
)
def test_prefixes_beside_reserved_topics_agree_with_scanning(prefix):
    topics = ["$", "$S.a", "%", "fo", "fox", "fox-a", "fox.a", "fox/", "foxes", "wamp", "wamp-"]
    topics += ["wamp.a.b", "wamp/a", "wampum", "", "a", "x", "x\U0010ffff", "x\U0010ffffa", "y"]
    pattern = Pattern(PREFIX, prefix)
    expected = sorted(topic for topic in topics if pattern.matches(topic))
    assert list(tree_of(topics).match(pattern)) == expected


def test_a_prefix_may_end_with_the_highest_code_point():
    topics = ["\U0010ffff", "\U0010ffff\U0010ffffa", "a"]
    assert list(tree_of(topics).match(Pattern(PREFIX, "\U0010ffff"))) == topics[:2]


class CountingKeys(SortedKeys):
    """Sorted keys that count the look-ups of a walk."""

    lookups = 0

    def ceiling(self, key):
        self.lookups += 1
        return super().ceiling(key)


@pytest.mark.parametrize(
    ("filter_", "found", "lookups"),
    [
        ("room7/+/state", 30, 70),
        ("room7/lamp7/state", 1, 1),
        ("room7/#", 60, 5),
        ("+/lamp7/state", 100, 410),
        ("room7/+/nothing", 0, 70),
        ("+/lamp7/nothing", 0, 410),
        ("nowhere/+", 0, 5),
        ("room7/lamp7/state/+", 0, 5),
        ("+/lamp7/state/+", 0, 510),
        ("#", 6000, 5),
        ("+", 0, 210),
    ],
)
def test_a_walk_looks_only_where_the_pattern_can_match(filter_, found, lookups):
    tree = KeyTree()
    tree._keys = CountingKeys()
    for room in range(100):
        for lamp in range(30):
            tree.add(f"room{room}.lamp{lamp}.state")
            tree.add(f"room{room}.lamp{lamp}.colour")
    assert len(list(tree.match(Pattern.mqtt(filter_)))) == found
    assert tree._keys.lookups <= lookups


def test_a_deep_topic_needs_no_recursion():
    topic = "." * 60_000
    tree = tree_of([topic, "a"])
    assert list(tree.match(Pattern.mqtt("+/" * 30_000 + "#"))) == [topic]


@pytest.mark.usefixtures("tiny_chunks")
def test_sorted_keys_agree_with_a_set():
    check_against_a_set()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=120))
def check_against_a_set(changes):
    keys, truth = SortedKeys(), set()
    for add, number in changes:
        key = f"{number:02}"
        if add:
            assert keys.add(key) is (key not in truth)
            truth.add(key)
        else:
            assert keys.discard(key) is (key in truth)
            truth.discard(key)
        assert len(keys) == len(truth)
        assert (key in keys) is add
        assert list(keys) == sorted(truth)
        assert list(keys.between("10", "20")) == sorted(k for k in truth if "10" <= k < "20")
        assert keys.ceiling("15") == min((k for k in truth if k >= "15"), default=None)
    for key in sorted(truth):
        assert keys.discard(key)
    assert keys._chunks == []
    assert keys._heads == []


@pytest.mark.usefixtures("tiny_chunks")
def test_a_walk_survives_changes_of_the_tree():
    tree = tree_of(f"{number:03}" for number in range(100))
    seen = []
    for topic in tree.match(Pattern.mqtt("#")):
        seen.append(topic)
        tree.discard(topic)
        tree.add("~" + topic)
        if topic.startswith("~"):
            break
    assert seen[:100] == [f"{number:03}" for number in range(100)]


def test_a_tree_behaves_like_a_set():
    tree = tree_of(["b", "a"])
    assert not tree.add("a")
    assert len(tree) == 2
    assert "a" in tree
    assert "c" not in tree
    assert tree.discard("a")
    assert not tree.discard("a")
    assert list(tree) == ["b"]


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_keys_stay_sorted(seed):
    topics = [f"{number:04}" for number in range(5000)]
    shuffled = random.Random(seed).sample(topics, len(topics))
    tree = tree_of(shuffled)
    assert list(tree) == topics
    for topic in shuffled[:4000]:
        tree.discard(topic)
    assert list(tree) == sorted(shuffled[4000:])


NOT_EMPTY = TOPICS.filter(bool)


def level_of(topics, above):
    """What is one level below, by looking at all topics."""
    below = [topic for topic in topics if topic.startswith(above)]
    leaves = {topic: 0 for topic in below if "." not in topic[len(above) :]}
    branches = {}
    for topic in below:
        name, dot, _ = topic[len(above) :].partition(".")
        if dot:
            branches[f"{above}{name}."] = branches.get(f"{above}{name}.", 0) + 1
    return sorted([*leaves.items(), *branches.items()], key=lambda found: (found[0], found[1]))


@given(st.sets(NOT_EMPTY, max_size=40), st.sampled_from(["", "a.", "a.b.", "b.", "$S.", "a.."]))
def test_a_level_is_what_a_scan_finds(topics, above):
    assert list(tree_of(topics).level(above)) == level_of(topics, above)


@given(st.sets(NOT_EMPTY, max_size=40), st.sampled_from(["", "a.", "a.b.", "b."]))
def test_a_level_can_go_on_behind_each_of_its_items(topics, above):
    tree = tree_of(topics)
    found = list(tree.level(above))
    for place, (topic, _) in enumerate(found):
        assert list(tree.level(above, topic)) == found[place + 1 :]
