"""Prometheus (Debian's package) scrapes a server under load; the board and the alert rules fit."""

import asyncio
import json
import math
import re
import shutil
import subprocess
import threading

import httpx
import pytest
from cluster import END, ROOT, await_true
from mqtt_peers import MqttPeer
from prometheus_client.parser import text_string_to_metric_families
from threads import Thread
from web_cluster import WebCluster

from bench.ports import free_port
from fox_shard.client import connect
from fox_shard.web.metric_catalog import CATALOG

pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Debian's package prometheus is not installed",
)

CONF = ROOT / "conf"
ALERTS = CONF / "prometheus" / "alerts.yml"
BOARD = json.loads((CONF / "grafana" / "fox-shard.json").read_text())

QUERIES = [
    (panel["title"], target["expr"])
    for panel in BOARD["panels"]
    for target in panel.get("targets", [])
]

VARIABLES = {"$instance": ".*", "$realm": ".*", "$__rate_interval": "10s"}


class Prometheus:
    """Scrapes the broker as `conf/prometheus/prometheus.yml` says, but each second."""

    def __init__(self, folder, target):
        self.address = f"127.0.0.1:{free_port()}"
        text = (CONF / "prometheus" / "prometheus.yml").read_text()
        text, changes = re.subn(r"127\.0\.0\.1:8088", target, text)
        assert changes == 1
        text = text.replace("15s", "1s").replace("alerts.yml", str(ALERTS))
        (folder / "prometheus.yml").write_text(text)
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.address}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        await_true("Prometheus is ready", self._is_ready)

    def _is_ready(self):
        try:
            return httpx.get(f"http://{self.address}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path, **parameters):
        answer = httpx.get(f"http://{self.address}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression):
        """Return the values of an instant query, without those that are not numbers."""
        found = self.get("query", query=expression)["result"]
        numbers = [float(one["value"][1]) for one in found]
        return [number for number in numbers if not math.isnan(number)]

    def close(self):
        self._process.terminate()
        self._process.wait(END)
        self._log.close()


def load(cluster, stopping):
    """Publish, store and call, by WAMP, MQTT and HTTP, until `stopping` is set."""

    # Another shard is killed meanwhile.
    echo = cluster.on_shard(0, "com.example.echo")

    async def run():
        url = f"ws://127.0.0.1:{cluster.websocket}/ws"
        async with connect(url, "realm1") as first, connect(url, "realm1") as second:
            await first.register(echo, lambda value: value)
            await second.subscribe("com.example.", lambda event: None, match="prefix")
            while not stopping.is_set():
                for number, topic in enumerate(cluster.on_each_shard("com.example")):
                    await first.publish(topic, [number])
                    await first.publish(topic, [number], retain=True)
                await second.call(echo, [1])
                await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{cluster.web}/api/keys/none")

    device = MqttPeer(("127.0.0.1", cluster.mqtt), "prometheus")
    device.subscribe("com/example/#")
    try:
        asyncio.run(run())
    finally:
        device.close()


@pytest.fixture(scope="module")
def server():
    with WebCluster(FOX_METRICS_INTERVAL="0.2", shards=2) as made:
        yield made


@pytest.fixture(scope="module")
def prometheus(server, tmp_path_factory):
    stopping = threading.Event()
    loading = Thread(load, server, stopping)
    made = Prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{server.web}")
    yield made
    stopping.set()
    loading.done()
    made.close()


def read_metrics(server):
    return httpx.get(f"http://127.0.0.1:{server.web}/metrics", timeout=30).text


def test_prometheus_own_parser_and_linter_accept_the_metrics(server, prometheus):
    await_true("there are sessions", lambda: prometheus.values("fox_realm_sessions"))
    text = read_metrics(server)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(families) == {metric.name for metric in CATALOG}
    kinds = {name: family.type for name, family in families.items()}
    assert kinds == {metric.name: metric.kind for metric in CATALOG}
    assert [name for name, family in families.items() if not family.samples] == []
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_all_processes_are_up(server, prometheus):
    await_true(
        "all processes are up",
        lambda: prometheus.values("fox_process_up") == [1.0] * len(server.names),
    )
    found = prometheus.get("query", query="fox_process_up")["result"]
    assert {one["metric"]["process"] for one in found} == set(server.names)


@pytest.mark.parametrize(
    ("title", "expression"), QUERIES, ids=[f"{at}-{title}" for at, (title, _) in enumerate(QUERIES)]
)
def test_each_query_of_the_board_has_data(title, expression, prometheus):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    await_true(f"{title} has data: {expression}", lambda: prometheus.values(expression), 30)


def test_the_board_shows_all_metrics_but_what_others_add_up_to():
    shown = set(re.findall(r"fox_\w+", " ".join(expression for _, expression in QUERIES)))
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert {metric.full_name for metric in CATALOG} - shown == {
        "fox_realm_dropped_events_total",
        "fox_gateway_publishes_total",
        "fox_gateway_calls_total",
        "fox_build_info",
    }
    assert shown <= {metric.full_name for metric in CATALOG}


def test_the_alert_rules_are_evaluated_and_a_killed_process_raises_one(server, prometheus):
    def rules():
        (group,) = prometheus.get("rules")["groups"]
        return group["rules"]

    await_true("the rules were evaluated", lambda: all(r["health"] == "ok" for r in rules()))
    assert len(rules()) == len(re.findall(r"- alert:", ALERTS.read_text()))
    named = set(re.findall(r"fox_\w+", " ".join(rule["query"] for rule in rules())))
    for name in named:
        await_true(f"{name} is scraped", lambda name=name: prometheus.values(f"count({name})"))

    def down():
        alerts = prometheus.get("alerts")["alerts"]
        return {
            one["labels"]["process"]
            for one in alerts
            if one["labels"]["alertname"] == "FoxProcessDown"
        }

    assert down() == set()
    server.kill("shard-1")
    try:
        await_true("the alert is pending", lambda: down() == {"shard-1"})
    finally:
        server.start("shard-1")
    await_true("the alert is over", lambda: down() == set())


@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", ALERTS],
        ["check", "config", CONF / "prometheus" / "prometheus.yml"],
    ],
)
def test_promtool_accepts_the_files(command):
    subprocess.run(["promtool", *command], check=True)


def test_each_alert_fires_when_it_should(tmp_path):
    text = (ROOT / "tests" / "wire" / "alerts_test.yml").read_text()
    (tmp_path / "alerts_test.yml").write_text(text.replace("ALERT_RULES", str(ALERTS)))
    subprocess.run(["promtool", "test", "rules", tmp_path / "alerts_test.yml"], check=True)
    assert set(re.findall(r"- alert: (\w+)", ALERTS.read_text())) == set(
        re.findall(r'alertname="(\w+)"', text)
    )
