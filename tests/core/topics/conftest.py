"""Let hypothesis draw patterns from few components, so that many patterns collide."""

from hypothesis import strategies as st

from fox_shard.topics.pattern import EXACT, PREFIX, WILDCARD, Pattern

COMPONENTS = st.sampled_from(["a", "b", "ab", "a/b", "", "*", "+", "#", "=", "$S", "wamp", "fox"])
TOPICS = st.lists(COMPONENTS, min_size=1, max_size=4).map(".".join)


@st.composite
def wildcards(draw):
    components = draw(st.lists(COMPONENTS | st.none() | st.none(), max_size=4))
    rest = draw(st.booleans()) or None not in components
    return Pattern(WILDCARD, "", tuple(components), rest)


@st.composite
def prefixes(draw):
    topic = draw(TOPICS)
    return Pattern(PREFIX, topic[: draw(st.integers(0, len(topic)))])


st.register_type_strategy(
    Pattern, st.builds(Pattern, st.just(EXACT), TOPICS) | wildcards() | prefixes()
)
