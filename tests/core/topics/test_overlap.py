"""Overlap and cover of two patterns, checked against the topics that the patterns match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.topics.overlap import covers, overlap, shape_of
from fox_shard.topics.pattern import Pattern

topics = st.lists(st.sampled_from(["a", "ab", "b", "wamp", "$x"]), min_size=1, max_size=3).map(
    ".".join
)
patterns = st.one_of(
    topics.map(Pattern.wamp),
    st.builds(
        lambda parts, rest: Pattern.wamp(".".join([*parts, *["#"] * rest]) or "#", "wildcard"),
        st.lists(st.sampled_from(["a", "ab", "*", "wamp"]), max_size=3),
        st.booleans(),
    ),
    st.one_of(topics, topics.map(lambda topic: topic + "."), st.just("")).map(
        lambda text: Pattern.wamp(text, "prefix")
    ),
)


@given(patterns, patterns, topics)
def test_patterns_that_do_not_overlap_have_no_topic_in_common(one, other, topic):
    if one.matches(topic) and other.matches(topic):
        assert overlap(shape_of(one), shape_of(other))
        assert overlap(shape_of(other), shape_of(one))


@given(patterns, patterns, topics)
def test_a_pattern_that_covers_another_matches_all_its_topics(wide, narrow, topic):
    if covers(shape_of(wide), shape_of(narrow)) and narrow.matches(topic):
        assert wide.matches(topic)


@pytest.mark.parametrize(
    ("one", "other", "overlaps", "covering"),
    [
        (("a.#",), ("a.b",), True, True),
        (("a.#",), ("a.*.c",), True, True),
        (("a.*",), ("a.#",), True, False),
        (("a.b", "prefix"), ("a.bc.#",), True, True),
        (("a.b", "prefix"), ("a.*",), True, False),
        (("a.b", "prefix"), ("a.c.#",), False, False),
        (("#",), ("wamp.x",), False, False),
        (("wamp", "prefix"), ("#",), True, False),
        (("wamp.", "prefix"), ("#",), False, False),
        (("", "prefix"), ("#",), True, True),
        (("a.b",), ("a.b.c",), False, False),
    ],
)
def test_overlap_and_cover_are_exact_in_the_usual_cases(one, other, overlaps, covering):
    one, other = shape_of(Pattern.wamp(*one)), shape_of(Pattern.wamp(*other))
    assert (overlap(one, other), covers(one, other)) == (overlaps, covering)
