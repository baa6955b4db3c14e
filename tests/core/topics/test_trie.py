"""The trie and its match cache find the same values as a naive scan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.topics.cache import MatchCache
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie

COMPONENTS = st.sampled_from(["a", "b", "ab", "abc", "a/b", "", "*", "+", "$S", "wamp", "fox"])
TOPICS = st.lists(COMPONENTS, min_size=1, max_size=5).map(".".join)


def scan(pairs, topic):
    return {value for pattern, value in pairs if pattern.matches(topic)}


@given(st.sets(st.from_type(Pattern)), TOPICS)
def test_matching_agrees_with_scanning(subscribed, topic):
    trie = Trie()
    for pattern in sorted(subscribed, key=lambda pattern: pattern.text):
        trie.add(pattern, pattern)
    found = trie.match(topic)
    assert len(found) == len(set(found))
    assert set(found) == {pattern for pattern in subscribed if pattern.matches(topic)}


@given(st.data())
def test_matching_agrees_with_scanning_while_patterns_come_and_go(data):
    trie, cache, pairs = Trie(), MatchCache(4), set()
    patterns = data.draw(st.lists(st.from_type(Pattern), min_size=1, max_size=6))
    topics = data.draw(st.lists(TOPICS, min_size=1, max_size=6))
    topics += [pattern.literal for pattern in patterns if pattern.is_exact]
    for _ in range(data.draw(st.integers(1, 40))):
        pattern = data.draw(st.sampled_from(patterns))
        value = data.draw(st.integers(0, 10))
        if data.draw(st.booleans()):
            assert trie.add(pattern, value) is ((pattern, value) not in pairs)
            pairs.add((pattern, value))
        else:
            assert trie.remove(pattern, value) is ((pattern, value) in pairs)
            pairs.discard((pattern, value))
        cache.drop(pattern)
        assert len(trie) == len(pairs)
        for topic in topics:
            if cache.entries.get(topic) is None:
                cache.put(topic, trie.match(topic))
            assert sorted(cache.get(topic)) == sorted(scan(pairs, topic))
            assert len(cache) <= 4
    for pattern, value in sorted(pairs, key=lambda pair: (pair[0].text, pair[1])):
        assert trie.remove(pattern, value)
    assert len(trie) == 0
    assert trie._exact == {}
    assert trie._root.is_bare()


def test_the_values_of_one_pattern_keep_their_order_while_others_go():
    for pattern in [Pattern.wamp("a.b"), Pattern.wamp("a.*"), Pattern.wamp("a", "prefix")]:
        trie = Trie()
        for value in range(100):
            assert trie.add(pattern, value)
        for value in range(0, 100, 2):
            assert trie.remove(pattern, value)
        assert not trie.add(pattern, 1)
        assert not trie.remove(pattern, 0)
        assert trie.match("a.b") == list(range(1, 100, 2))
        for value in range(1, 100, 2):
            assert trie.remove(pattern, value)
        assert trie.match("a.b") == []
        assert len(trie) == 0


def test_matches_are_ordered_by_kind_then_level_then_arrival():
    trie = Trie()
    for uri, match, value in [
        ("a.b", "exact", "exact"),
        ("a.b", "prefix", "prefix of b"),
        ("a.", "wildcard", "one"),
        ("#", "exact", "all"),
        ("a.#", "exact", "below a"),
        ("a.b", "exact", "exact too"),
    ]:
        trie.add(Pattern.wamp(uri, match), value)
    expected = ["exact", "exact too", "all", "below a", "prefix of b", "one"]
    assert trie.match("a.b") == expected


def test_a_value_under_two_patterns_is_found_once():
    trie = Trie()
    for uri in ["a.b", "a.*", "#"]:
        trie.add(Pattern.wamp(uri), "v")
    assert trie.match("a.b") == ["v"]
    assert len(trie) == 3


@pytest.mark.parametrize("depth", [60_000])
def test_a_deep_pattern_needs_no_recursion(depth):
    trie = Trie()
    deep = Pattern.mqtt("+/" * (depth // 2) + "#")
    assert trie.add(deep, 1)
    assert trie.match("." * depth) == [1]
    assert trie.match("a") == []
    assert trie.remove(deep, 1)
    assert trie._root.is_bare()


def test_a_full_cache_drops_its_oldest_entries():
    cache = MatchCache(16)
    for number in range(17):
        cache.put(str(number), number)
    assert cache.get("0") is None
    assert cache.get("1") is None
    assert cache.get("2") == 2
    assert cache.get("16") == 16
    assert len(cache) == 15


def test_a_full_cache_replaces_an_entry_in_place():
    cache = MatchCache(2)
    cache.put("a", 1)
    cache.put("b", 1)
    cache.put("a", 2)
    assert cache.entries == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (Pattern.wamp("a"), {"b": 2}),
        (Pattern.wamp("c"), {"a": 1, "b": 2}),
        (Pattern.wamp("#"), {}),
        (Pattern.wamp("x", "prefix"), {}),
    ],
)
def test_a_changed_pattern_drops_the_entries_that_it_may_affect(pattern, left):
    cache = MatchCache(4)
    entries = cache.entries
    cache.put("a", 1)
    cache.put("b", 2)
    cache.drop(pattern)
    assert cache.entries == left
    assert cache.entries is entries


def test_a_cache_needs_room_for_one_entry():
    with pytest.raises(ValueError, match="at least 1"):
        MatchCache(0)


def test_the_removal_of_a_pattern_leaves_its_siblings():
    trie = Trie()
    for uri in ["a.b.*", "a.c.*"]:
        trie.add(Pattern.wamp(uri), uri)
    assert trie.remove(Pattern.wamp("a.b.*"), "a.b.*")
    assert trie.match("a.b.x") == []
    assert trie.match("a.c.x") == ["a.c.*"]
