"""Metrics: counters summed over reports, and gauges kept while their process lives."""

import pytest

from fox_shard.backplane.frames import Report
from fox_shard.coordinator.metrics import Metrics


def flushed(metrics: Metrics, now: float = 0.0) -> list[tuple[str, int, str]]:
    return [value for value in metrics.flush([], now) if value[0] != "coordinator.uptime"]


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([], []),
        ([("a", {"x": 1}, {})], [("x", 1, "c")]),
        ([("a", {"x": 1}, {}), ("b", {"x": 2, "y": 5}, {})], [("x", 3, "c"), ("y", 5, "c")]),
        ([("a", {"x": 1}, {}), ("a", {"x": 2}, {})], [("x", 3, "c")]),
        ([("a", {"x": 0}, {})], [("x", 0, "c")]),
        ([("a", {}, {"g": 1}), ("b", {}, {"g": 2})], [("g", 3, "g")]),
        ([("a", {}, {"g": 1}), ("a", {}, {"g": 2})], [("g", 2, "g")]),
        ([("a", {}, {"g": 1}), ("a", {}, {"h": 2})], [("h", 2, "g")]),
        ([("a", {"z": 1}, {"a": 1, "0": 2})], [("z", 1, "c"), ("0", 2, "g"), ("a", 1, "g")]),
    ],
)
def test_counters_add_up_and_gauges_are_the_latest_of_each_process(reports, expected):
    metrics = Metrics()
    for process, counters, gauges in reports:
        metrics.report(process, Report(counters, gauges), 0.0)
    assert flushed(metrics) == expected


def test_counters_begin_again_after_a_flush_and_gauges_stay():
    metrics = Metrics()
    metrics.report("a", Report({"x": 1}, {"g": 5}), 0.0)
    flushed(metrics)
    assert flushed(metrics) == [("g", 5, "g")]
    metrics.report("a", Report({"x": 2}, {"g": 5}), 0.0)
    assert flushed(metrics) == [("x", 2, "c"), ("g", 5, "g")]


def test_gauges_that_no_process_has_any_more_are_flushed_as_zero_once():
    metrics = Metrics()
    metrics.report("a", Report({"x": 1}, {"both": 1, "own": 2}), 0.0)
    metrics.report("b", Report({}, {"both": 10}), 0.0)
    metrics.peer_gone("c", 0.0)
    assert ("both", 11, "g") in flushed(metrics)
    metrics.report("a", Report({"x": 3}, {"both": 1, "own": 2}), 0.0)
    metrics.peer_gone("a", 0.0)
    assert flushed(metrics) == [("x", 3, "c"), ("both", 10, "g"), ("own", 0, "g")]
    assert flushed(metrics) == [("both", 10, "g")]


def test_a_report_is_not_modified():
    report = Report({"x": 1}, {"g": 1})
    metrics = Metrics()
    metrics.report("a", report, 0.0)
    metrics.report("b", Report({"x": 1}, {"g": 1}), 0.0)
    metrics.flush([("realm1", "wamp", 2)], 0.0)
    assert report == Report({"x": 1}, {"g": 1})


def test_uptime_counts_from_the_first_report():
    metrics = Metrics()
    metrics.report("a", Report({}, {}), 100.0)
    assert metrics.flush([], 107.9) == [("coordinator.uptime", 7, "g")]
