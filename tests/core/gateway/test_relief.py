"""What waits for all clients of a gateway together is bounded, however many they are."""

import pytest

from fox_shard.gateway.sockets.relief import Relief


@pytest.mark.parametrize(
    ("waiting", "ended"),
    [
        ([], []),
        ([("a", 1000)], []),
        ([("a", 600), ("b", 400), ("c", 0)], []),
        ([("a", 600), ("b", 401)], ["a"]),
        ([("a", 300), ("b", 500), ("c", 300), ("d", 0)], ["b"]),
        ([(name, 200) for name in "abcdefg"], ["a", "b"]),
        ([("a", 1001)], ["a"]),
    ],
)
def test_those_for_whom_most_waits_are_ended_until_it_is_not_too_much(waiting, ended):
    relief = Relief(1000)
    assert relief.fullest((size, name) for name, size in waiting) == ended


def test_it_is_looked_at_only_when_much_has_been_written():
    relief = Relief(1000)
    relief.written += 125
    assert not relief.is_due
    relief.written += 1
    assert relief.is_due
    relief.fullest([])
    assert not relief.is_due
