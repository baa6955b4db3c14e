"""The deadline: when a process has something to do although nothing arrives."""

import pytest

from fox_shard.deadline import NEVER, Deadline


def test_a_new_deadline_is_never():
    assert Deadline().at == NEVER == float("inf")


@pytest.mark.parametrize(
    ("planned", "earliest"), [([5.0], 5.0), ([5.0, 3.0], 3.0), ([3.0, 5.0], 3.0), ([NEVER], NEVER)]
)
def test_the_deadline_is_the_earliest_planned_time(planned, earliest):
    deadline = Deadline()
    for when in planned:
        deadline.by(when)
    assert deadline.at == earliest
