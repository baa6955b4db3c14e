"""Sums since the start: by process and by realm, with bounded names."""

from fox_shard.backplane.frames import Report
from fox_shard.coordinator.totals import OTHER, Totals
from fox_shard.histogram import Histogram


def publishes(count: int, *realms: str) -> Report:
    return Report({}, {}, {realm: {"publishes": count} for realm in realms}, {})


def test_counters_grow_over_reports_and_outlive_their_process():
    totals = Totals(["realm1"], 10, 5.0)
    for _ in range(2):
        totals.report("gateway-0", Report({"dropped": 2}, {"sessions": 7}, {}, {}))
    totals.peer_gone("gateway-0")
    sums = totals.sums([], 8.0)
    assert sums.uptime == 3.0
    assert sums.processes["gateway-0"].counters["dropped"] == 4
    assert sums.processes["gateway-0"].gauges == {}


def test_counters_of_realms_are_summed_up_for_each_gateway_too():
    totals = Totals(["a"], 10, 0.0)
    totals.report("gateway-0", publishes(2, "a", "b"))
    totals.report("gateway-1", publishes(3, "a"))
    sums = totals.sums([], 0.0)
    assert {realm: counters["publishes"] for realm, counters in sums.realms.items()} == {
        "a": 5,
        "b": 2,
    }
    assert sums.processes["gateway-0"].counters["publishes"] == 4
    assert sums.processes["gateway-1"].counters["publishes"] == 3


def test_so_many_realms_have_sums_of_their_own_and_the_rest_share_one():
    totals = Totals(["a", "b"], 3, 0.0)
    totals.report("gateway-0", publishes(1, "x", "y", "z", "b"))
    sums = totals.sums([("x", "wamp", 1), ("y", "wamp", 2), ("z", "wamp", 3)], 0.0)
    assert {realm: counters.get("publishes", 0) for realm, counters in sums.realms.items()} == {
        "a": 0,
        "b": 1,
        "x": 1,
        OTHER: 2,
    }
    assert sorted(sums.sessions) == [(OTHER, "wamp", 5), ("x", "wamp", 1)]


def test_configured_realms_beyond_the_limit_share_one_name_too():
    totals = Totals(["a", "b"], 1, 0.0)
    totals.report("gateway-0", publishes(1, "b", "c"))
    assert totals.sums([], 0.0).realms == {"a": {}, OTHER: {"publishes": 2}}


def test_attached_gateways_share_one_name():
    totals = Totals([], 1, 0.0)
    for name in ("gateway-xa", "gateway-xb"):
        totals.report(name, Report({"dropped": 1}, {"sessions": 2}, {}, {}))
    totals.peer_gone("gateway-xa")
    (sums,) = totals.sums([], 0.0).processes.items()
    assert sums[0] == "gateway-x"
    assert sums[1].counters["dropped"] == 2
    assert sums[1].gauges == {"sessions": 2}


def test_histograms_add_up():
    totals = Totals([], 1, 0.0)
    for seconds in (0.2, 0.3):
        times = Histogram()
        times.add(seconds)
        totals.report("shard-0", Report({}, {}, {}, {"commit_seconds": times.take()}))
    buckets = totals.sums([], 0.0).processes["shard-0"].histograms["commit_seconds"]
    assert buckets[0] == 500_000
    assert sum(buckets[1:]) == 2
