"""What a process has counted since its start."""

from fox_shard.backplane.frames import Report
from fox_shard.backplane.totals import FRESH, Totals
from fox_shard.histogram import Histogram


def test_counters_add_up_and_gauges_are_those_of_the_last_report():
    totals = Totals(10.0)
    totals.add(Report({"frames": 3}, {"keys": 7}, {"r": {"calls": 3}}, {}), 11.0)
    totals.add(Report({}, {"keys": 5}, {"r": {"calls": 2, "publishes": 1}}, {}), 12.0)
    assert totals.state(12.5) == {
        "counters": {"frames": 3},
        "realms": {"r": {"calls": 5, "publishes": 1}},
        "histograms": {},
        "gauges": {"keys": 5},
        "age": 0.5,
    }


def test_times_add_up_and_stay_as_they_were_told():
    def times(*seconds):
        histogram = Histogram()
        for one in seconds:
            histogram.add(one)
        return {"commit_seconds": histogram.take()}

    totals = Totals(0.0)
    totals.add(Report({}, {}, {}, times(0.002, 0.3)), 1.0)
    before = totals.state(1.0)["histograms"]
    totals.add(Report({}, {}, {}, times(0.002)), 2.0)
    assert before == times(0.002, 0.3)
    assert totals.state(2.0)["histograms"] == times(0.002, 0.3, 0.002)


def test_totals_are_old_when_the_last_report_is():
    totals = Totals(10.0)
    assert totals.are_old(10.0 + FRESH)
    totals.add(Report({}, {}, {}, {}), 20.0)
    assert not totals.are_old(20.0 + FRESH / 2)
    assert totals.are_old(20.0 + FRESH)
