"""Which table a topic belongs to, found by its components, as a search of all tables finds it."""

from hypothesis import given
from hypothesis import strategies as st

from fox_shard.tables.schema import TableSet

NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map(".".join)
TOPICS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=6).map(".".join)
TABLE = {"properties": {"id": {"type": "string"}}, "primary_key": ["id"]}


def apart(names):
    """Return the names that are not below another one, as a schema must have them."""
    return [one for one in names if not any(one.startswith(other + ".") for other in names)]


@given(st.sets(NAMES, max_size=6), TOPICS)
def test_a_topic_belongs_to_the_table_at_or_above_it(names, topic):
    tables = TableSet.parse(dict.fromkeys(apart(names), TABLE))
    found = tables.table_of(topic)
    expected = [one for one in tables.tables if topic == one or topic.startswith(one + ".")]
    assert ([] if found is None else [found.name]) == expected
