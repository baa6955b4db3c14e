"""What limits refuse is counted under names that no client decides."""

import pytest

from fox_shard.backplane.limit_counts import LimitCounts


def test_a_report_has_what_was_added_since_the_last():
    counts = LimitCounts(("a", "b", "c"))
    counts.add("a")
    counts.add("b", 3)
    counts.add("")
    assert counts.take() == {"refused.a": 1, "refused.b": 3, "refused.c": 0}
    counts.add("b")
    assert counts.take() == {"refused.a": 0, "refused.b": 1, "refused.c": 0}
    assert set(counts.take().values()) == {0}
    assert counts.totals() == {"a": 1, "b": 4}


def test_there_are_no_other_names():
    with pytest.raises(KeyError):
        LimitCounts(("a",)).add("what a client says")
