"""fox bench: latencies, numbered messages, and what is said of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.bench.latencies import Latencies, Summary
from fox_shard.bench.measured import Measured, Receiving, Sending, received_by, sentences
from fox_shard.bench.message import Stamp, arguments_of, stamp_of
from fox_shard.bench.sequences import GAPS, SENDERS, Sequences


@given(st.lists(st.floats(0, 1000), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_near_the_one_of_all_times(times, share):
    latencies = Latencies()
    for one in times:
        latencies.add(one)
    exact = sorted(times)[max(0, -int(-share * len(times) // 1) - 1)]
    assert exact - 1e-6 <= latencies.percentile(share) <= exact * (1 + 1 / 32) + 2e-6


def test_the_longest_time_is_exact_and_memory_is_bounded():
    latencies = Latencies()
    for microseconds in range(1, 1_000_000, 7):
        latencies.add(microseconds / 1e6)
    assert latencies.summary().max == 999.993
    assert len(latencies._counts) < 1000


def test_less_than_nothing_is_nothing():
    latencies = Latencies()
    latencies.add(-1.0)
    assert latencies.summary() == Summary(0.0, 0.0, 0.0, 0.0)


def taken(numbers, **more):
    sequences = Sequences(**more)
    for number in numbers:
        sequences.take("a", number)
    return sequences.received, sequences.lost, sequences.duplicates


@pytest.mark.parametrize(
    ("numbers", "received", "lost", "duplicates"),
    [
        ([0, 1, 2], 3, 0, 0),
        ([0, 2], 2, 1, 0),
        ([2, 0, 1], 3, 0, 0),
        ([0, 0, 1, 1], 2, 0, 2),
        ([3], 1, 3, 0),
        ([5, 3, 3], 2, 4, 1),
    ],
)
def test_numbers_that_are_missing_or_come_again_are_counted(numbers, received, lost, duplicates):
    assert taken(numbers, from_start=True) == (received, lost, duplicates)


def test_whoever_comes_later_misses_nothing_before():
    assert taken([7, 8, 10], from_start=False) == (3, 1, 0)


@given(st.permutations(range(50)), st.integers(0, 50))
def test_in_any_order_nothing_is_lost_but_what_has_not_come(numbers, count):
    some = numbers[:count]
    highest = max(some, default=-1)
    assert taken(some, from_start=True) == (count, highest + 1 - count, 0)


def test_gaps_and_senders_are_bounded():
    sequences = Sequences(from_start=True)
    sequences.take("a", 10 * GAPS)
    assert sequences.lost == 10 * GAPS
    assert len(sequences._missing) == GAPS
    for sender in range(SENDERS + 5):
        sequences.take(str(sender), 0)
    assert len(sequences._next) == SENDERS
    assert sequences.received == SENDERS + 6


@pytest.mark.parametrize("size", [64, 65, 1000])
def test_a_message_has_its_size_and_says_who_has_sent_it(size):
    stamp = Stamp("0a1b2c3d", 12, 345_678, 1_795_957_553_245_162)
    args = arguments_of(stamp, size)
    assert len(msgspec.json.encode(args)) == size
    assert stamp_of(args) == stamp


@pytest.mark.parametrize("args", [[], [21.5], ["a", 1, 2, 3], ["a", "b", 1, 2, ""]])
def test_other_messages_are_none_of_ours(args):
    assert stamp_of(args) is None
    latencies = Latencies()
    receiving = Receiving(None, latencies)
    receiving.take(args, 0)
    assert (receiving.others, receiving.count) == (1, 0)


def test_messages_of_another_run_do_not_count():
    receiving = Receiving("mine", Latencies())
    receiving.take(["other", 0, 0, 0, ""], 10)
    receiving.take(["mine", 0, 0, 0, ""], 10)
    assert (receiving.others, receiving.count) == (1, 1)


def measured(expected, numbers=(0, 1), failures=()):
    latencies = Latencies()
    receiving = Receiving("run", latencies)
    for number in numbers:
        receiving.take(["run", 0, number, 1_000, ""], 3_000)
    sending = Sending(100.0)
    sending.count = expected + len(failures)
    for why in failures:
        sending.fails(why)
    received = received_by([receiving], latencies, 2.0, expected)
    return Measured("pub", 2.0, 1, 0.1, sending.result(2.0), received)


def test_a_load_is_whole_if_nothing_was_lost_and_nothing_has_failed():
    assert measured(2).is_whole
    assert not measured(3).is_whole
    assert not measured(2, failures=["no"]).is_whole
    assert measured(3).received.lost == 1


def test_what_was_lost_is_told_with_reasons():
    said = "\n".join(sentences(measured(3, (0, 0), ["not allowed", "not allowed"])))
    assert "published    5 in 2.0 s: 2/s of 100/s asked for, by 1 client\n" in said
    assert "failed       2: not allowed\n" in said
    assert "received     1, 0/s: p50 2.00 ms" in said
    assert "lost         2\n" in said
    assert said.endswith("duplicates   1")


def test_reasons_are_bounded():
    sending = Sending(0.0)
    for number in range(1000):
        sending.fails(f"reason {number}")
    assert sending.failed == 1000
    assert len(sending._reasons) == 101
    assert len(sending.result(1.0).reasons) == 5


def test_a_command_that_was_busy_itself_says_so():
    said = list(sentences(Measured("sub", 1.0, 1, 0.97)))
    assert said[-1].startswith("This command itself has used 97% of a core")


def test_a_command_that_got_no_time_says_so():
    sending = Sending(100.0)
    sending.lateness.add(0.25)
    said = list(sentences(Measured("call", 1.0, 1, 0.1, sending.result(1.0))))
    assert said[-1].startswith("This machine was too busy: the command itself woke up to 250 ms")
