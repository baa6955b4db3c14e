"""When a process has something to do although nothing arrives."""

import pytest

from fox_shard.deadline import NEVER, Deadline


def test_at_first_there_is_nothing_to_do():
    assert Deadline().at == NEVER == float("inf")


@pytest.mark.parametrize(
    ("planned", "earliest"), [([5.0], 5.0), ([5.0, 3.0], 3.0), ([3.0, 5.0], 3.0), ([NEVER], NEVER)]
)
def test_the_earliest_plan_counts(planned, earliest):
    deadline = Deadline()
    for when in planned:
        deadline.by(when)
    assert deadline.at == earliest
