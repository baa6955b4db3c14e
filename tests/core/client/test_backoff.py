"""The times between two tries."""

from fox_shard.client.backoff import Backoff


def test_times_double_up_to_a_limit_and_begin_anew_after_a_success():
    backoff = Backoff(lambda: 0.0, first=1.0, most=5.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_chance_takes_away_up_to_a_half():
    assert Backoff(lambda: 1.0, first=8.0).next() == 4.0
    assert Backoff(lambda: 0.5, first=8.0).next() == 6.0
