"""`GET /metrics`: all metrics in the formats of Prometheus, for those who may read them."""

import asyncio

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from web_sessions import FakeSessions

from fox_shard.coordinator.totals import ProcessTotals, Sums
from fox_shard.histogram import Histogram
from fox_shard.version import __version__
from fox_shard.web import make_app
from fox_shard.web.context import Limits
from fox_shard.web.metric_catalog import CATALOG, as_markdown
from fox_shard.web.metrics import MetricsPage, Snapshot

TOKEN = "0123456789abcdef"


def times(*seconds):
    histogram = Histogram()
    for one in seconds:
        histogram.add(one)
    return histogram.take()


def snapshot(*, realms=("com.example",), sums=True):
    processes = {
        "gateway-0": ProcessTotals(
            {"dropped": 3, "publishes": 9, "refused.max_calls": 2, "cpu_milliseconds": 1500},
            {"sessions": 4, "memory_bytes": 1000},
            {"delivery_seconds": times(0.0002, 0.3, 20.0), "call_seconds": times()},
        ),
        "shard-0": ProcessTotals({"frames": 7}, {"keys": 5}, {"commit_seconds": times(0.004)}),
    }
    told = Sums(
        12.0,
        processes,
        {realm: {"publishes": 9, "wamp.bytes_in": 88} for realm in realms},
        [("com.example", "mqtt", 2)],
    )
    own = {"web": ProcessTotals({"requests": 6}, {"streams": 1})}
    server = {"size": 100, "free": 30}
    return Snapshot({"gateway-0": True, "shard-0": False}, told if sums else None, own, server)


class Source:
    def __init__(self, one):
        self.one = one

    async def snapshot(self):
        return self.one


def get(page, *, host="127.0.0.1", **headers):
    """Return the answer to a request from that address."""
    app = make_app(FakeSessions(), Limits(is_local=False), metrics=page)

    async def run():
        transport = httpx.ASGITransport(app=app, client=(host, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await http.get("/metrics", headers=named)

    return asyncio.run(run())


def samples(answer, parse=text_string_to_metric_families):
    """Return the samples, by name and labels, as Prometheus' own parser reads them."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "parse", "media_type"),
    [
        ("*/*", text_string_to_metric_families, "text/plain"),
        (OPENMETRICS, openmetrics_families, "application/openmetrics-text"),
    ],
)
def test_prometheus_reads_all_values(accept, parse, media_type):
    answer = get(MetricsPage(Source(snapshot()), "local"), accept=accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    found = samples(answer, parse)
    expected = {
        ("fox_process_up", "gateway-0"): 1,
        ("fox_process_up", "shard-0"): 0,
        ("fox_process_cpu_seconds_total", "gateway-0"): 1.5,
        ("fox_process_resident_memory_bytes", "gateway-0"): 1000,
        ("fox_refused_total", "gateway-0", "max_calls"): 2,
        ("fox_realm_publishes_total", "com.example"): 9,
        ("fox_realm_calls_total", "com.example"): 0,
        ("fox_realm_received_bytes_total", "com.example", "wamp"): 88,
        ("fox_realm_received_bytes_total", "com.example", "mqtt"): 0,
        ("fox_realm_sessions", "com.example", "mqtt"): 2,
        ("fox_gateway_sessions", "gateway-0"): 4,
        ("fox_gateway_dropped_publishes_total", "gateway-0"): 3,
        ("fox_gateway_publishes_total", "gateway-0"): 9,
        ("fox_shard_keys", "shard-0"): 5,
        ("fox_shard_frames_total", "shard-0"): 7,
        ("fox_web_requests_total", "web"): 6,
        ("fox_web_streams", "web"): 1,
        ("fox_uptime_seconds",): 12,
        ("fox_data_filesystem_free_bytes",): 30,
        ("fox_build_info", __version__): 1,
    }
    assert {at: found[at] for at in expected} == expected


def test_a_histogram_has_cumulative_buckets_and_a_sum():
    found = samples(get(MetricsPage(Source(snapshot()), "local")))
    name = "fox_gateway_delivery_seconds"
    assert found[f"{name}_bucket", "0.0001", "gateway-0"] == 0
    assert found[f"{name}_bucket", "0.00025", "gateway-0"] == 1
    assert found[f"{name}_bucket", "0.5", "gateway-0"] == 2
    assert found[f"{name}_bucket", "+Inf", "gateway-0"] == 3
    assert found[f"{name}_count", "gateway-0"] == 3
    assert found[f"{name}_sum", "gateway-0"] == pytest.approx(20.3002)


def test_without_the_coordinator_there_is_what_is_known_here():
    found = samples(get(MetricsPage(Source(snapshot(sums=False)), "local")))
    assert found["fox_process_up", "shard-0"] == 0
    assert found["fox_web_requests_total", "web"] == 6
    assert not any(name.startswith(("fox_realm", "fox_shard", "fox_uptime")) for name, *_ in found)


def test_names_of_realms_are_escaped():
    realm = 'a"b\\c\nd'
    found = samples(get(MetricsPage(Source(snapshot(realms=[realm])), "local")))
    assert found["fox_realm_publishes_total", realm] == 9


@pytest.mark.parametrize(
    ("access", "host", "headers", "status"),
    [
        ("local", "127.0.0.1", {}, 200),
        ("local", "::1", {}, 200),
        ("local", "10.0.0.7", {}, 403),
        ("local", "127.0.0.1", {"x_forwarded_for": "127.0.0.1"}, 403),
        ("local", "127.0.0.1", {"forwarded": "for=10.0.0.7"}, 403),
        ("local", "127.0.0.1", {"via": "1.1 proxy"}, 403),
        ("all", "10.0.0.7", {}, 200),
    ],
)
def test_who_may_read_the_metrics(access, host, headers, status):
    page = MetricsPage(Source(snapshot()), access)
    assert get(page, host=host, **headers).status_code == status


@pytest.mark.parametrize(
    ("access", "host", "shown", "status"),
    [
        ("token", "10.0.0.7", f"Bearer {TOKEN}", 200),
        ("token", "127.0.0.1", None, 401),
        ("token", "127.0.0.1", f"Bearer {TOKEN}x", 401),
        ("token", "127.0.0.1", f"Basic {TOKEN}", 401),
        ("token", "127.0.0.1", "Bearer größe".encode(), 401),
        ("local", "10.0.0.7", f"bearer {TOKEN}", 200),
        ("local", "10.0.0.7", None, 401),
        ("local", "127.0.0.1", None, 200),
    ],
)
def test_who_shows_the_token_may_read_them_from_anywhere(access, host, shown, status):
    headers = {} if shown is None else {"authorization": shown}
    answer = get(MetricsPage(Source(snapshot()), access, TOKEN), host=host, **headers)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) is (status == 401)


def test_without_access_there_is_no_such_page():
    assert get(None).status_code == 404


def test_names_follow_the_conventions():
    names = [metric.full_name for metric in CATALOG]
    assert len(set(names)) == len(names)
    for metric in CATALOG:
        assert metric.full_name.endswith("_total") is (metric.kind == "counter")
        assert "microseconds" not in metric.name
    assert all(line.count(" | ") == 4 for line in as_markdown().splitlines()[2:])


def test_who_comes_together_gets_one_answer():
    """To make one takes a while, and anybody may come as often as they like."""
    asked, now = [], [100.0]

    class Slow(Source):
        async def snapshot(self):
            asked.append(now[0])
            await asyncio.sleep(0)
            return self.one

    page = MetricsPage(Slow(snapshot()), "all", clock=lambda: now[0])

    async def visits(count, accept):
        app = make_app(FakeSessions(), Limits(is_local=None), metrics=page)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://fox") as http:
            answers = await asyncio.gather(
                *(http.get("/metrics", headers={"accept": accept}) for _ in range(count))
            )
            return {one.text for one in answers}

    async def main():
        (text,) = await visits(5, "text/plain")
        (other,) = await visits(5, "application/openmetrics-text")
        assert asked == [100.0]
        assert text != other
        now[0] += 0.6
        assert await visits(1, "text/plain") == {text}
        assert asked == [100.0, 100.6]

    asyncio.run(main())
