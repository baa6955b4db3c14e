"""Metrics: counters summed over reports, and gauges kept while their process lives."""

import pytest

from fox_shard.backplane.frames import Report
from fox_shard.coordinator.metrics import Metrics
from fox_shard.coordinator.totals import Totals
from fox_shard.histogram import Histogram, no_times


def flushed(metrics: Metrics, now: float = 0.0) -> list[tuple[str, str, int, str]]:
    return [value for value in metrics.flush([], now) if value[1] != "uptime"]


def report(counters=(), gauges=(), realms=(), histograms=()) -> Report:
    return Report(dict(counters), dict(gauges), dict(realms), dict(histograms))


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([], []),
        ([("a", report({"x": 1}))], [("a", "x", 1, "c")]),
        (
            [("a", report({"x": 1})), ("b", report({"x": 2, "y": 5}))],
            [("a", "x", 1, "c"), ("b", "x", 2, "c"), ("b", "y", 5, "c")],
        ),
        ([("a", report({"x": 1})), ("a", report({"x": 2}))], [("a", "x", 3, "c")]),
        ([("a", report({"x": 0}))], [("a", "x", 0, "c")]),
        ([("a", report({"refused.x": 0, "refused.y": 1}))], [("a", "refused.y", 1, "c")]),
        (
            [("a", report(realms={"r": {"x": 1}})), ("b", report(realms={"r": {"x": 2}}))],
            [("r", "x", 3, "c")],
        ),
        (
            [("gateway-xa", report({"x": 1})), ("gateway-xb", report({"x": 2}))],
            [("gateway-x", "x", 3, "c")],
        ),
        (
            [("a", report((), {"g": 1})), ("b", report((), {"g": 2}))],
            [("a", "g", 1, "g"), ("b", "g", 2, "g")],
        ),
        (
            [("gateway-xa", report((), {"g": 1})), ("gateway-xb", report((), {"g": 2}))],
            [("gateway-x", "g", 3, "g")],
        ),
        ([("a", report((), {"g": 1})), ("a", report((), {"g": 2}))], [("a", "g", 2, "g")]),
        ([("a", report((), {"g": 1})), ("a", report((), {"h": 2}))], [("a", "h", 2, "g")]),
        (
            [("a", report({"z": 1}, {"a": 1, "0": 2}))],
            [("a", "z", 1, "c"), ("a", "0", 2, "g"), ("a", "a", 1, "g")],
        ),
    ],
)
def test_counters_add_up_and_gauges_are_the_latest_of_each_process(reports, expected):
    metrics = Metrics()
    for process, one in reports:
        metrics.report(process, one, 0.0)
    assert flushed(metrics) == expected


def test_counters_begin_again_after_a_flush_and_gauges_stay():
    metrics = Metrics()
    metrics.report("a", report({"x": 1}, {"g": 5}), 0.0)
    flushed(metrics)
    assert flushed(metrics) == [("a", "g", 5, "g")]
    metrics.report("a", report({"x": 2}, {"g": 5}), 0.0)
    assert flushed(metrics) == [("a", "x", 2, "c"), ("a", "g", 5, "g")]


def test_gauges_that_no_process_has_any_more_are_flushed_as_zero_once():
    metrics = Metrics()
    metrics.report("gateway-xa", report({"x": 1}, {"both": 1, "own": 2}), 0.0)
    metrics.report("gateway-xb", report((), {"both": 10}), 0.0)
    metrics.peer_gone("c", 0.0)
    assert ("gateway-x", "both", 11, "g") in flushed(metrics)
    metrics.report("gateway-xa", report({"x": 3}, {"both": 1, "own": 2}), 0.0)
    metrics.peer_gone("gateway-xa", 0.0)
    assert flushed(metrics) == [
        ("gateway-x", "x", 3, "c"),
        ("gateway-x", "both", 10, "g"),
        ("gateway-x", "own", 0, "g"),
    ]
    assert flushed(metrics) == [("gateway-x", "both", 10, "g")]


def test_commits_and_their_average_time_come_from_the_histogram():
    times = Histogram()
    for seconds in (0.001, 0.003):
        times.add(seconds)
    metrics = Metrics()
    metrics.report("shard-0", report(histograms={"commit_seconds": times.take()}), 0.0)
    assert flushed(metrics) == [
        ("shard-0", "commits", 2, "c"),
        ("shard-0", "commit_microseconds", 2000, "g"),
    ]


def test_a_report_is_not_modified():
    def same() -> Report:
        return report({"x": 1}, {"g": 1}, {"r": {"y": 1}}, {"commit_seconds": no_times()})

    one = same()
    metrics, totals = Metrics(), Totals(["r"], 1, 0.0)
    for _ in range(2):
        metrics.report("a", one, 0.0)
        totals.report("a", one)
    metrics.flush([("realm1", "wamp", 2)], 0.0)
    totals.sums([], 0.0)
    assert one == same()


def test_uptime_counts_from_the_first_report():
    metrics = Metrics()
    metrics.report("a", report(), 100.0)
    assert metrics.flush([], 107.9) == [("coordinator", "uptime", 7, "g")]
