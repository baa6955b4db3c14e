"""A real StatsD daemon (npm `statsd`) receives the metrics."""

import json
import re
import socket
import subprocess
from contextlib import closing, contextmanager

import node
import pytest
from cluster import END, await_true
from mqtt_peers import MqttPeer
from raw_wamp import (
    CALL,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    YIELD,
    at_gateway,
)

from bench.ports import free_port


class StatsD:
    """A StatsD daemon, which is queried over its management port."""

    def __init__(self, folder):
        self.port, self.management = free_port(), free_port()
        conf = folder / "statsd.js"
        settings = {
            "port": self.port,
            "address": "127.0.0.1",
            "mgmt_port": self.management,
            "mgmt_address": "127.0.0.1",
            "backends": ["./backends/console"],
            "flushInterval": 3_600_000,  # a flush would reset the counters
            "title": False,
        }
        conf.write_text(json.dumps(settings))
        program = node.modules() / "statsd" / "stats.js"
        self.process = subprocess.Popen(
            ["node", str(program), str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        await_true("statsd listens", lambda: self.ask("health").startswith("health: up"))

    def ask(self, command):
        """Return the daemon's answer to a command, "" if there is none."""
        try:
            with closing(socket.create_connection(("127.0.0.1", self.management), 5)) as sock:
                sock.sendall(f"{command}\n".encode())
                answer = ""
                while not answer.endswith("END\n\n") and not answer.startswith("health"):
                    part = sock.recv(65536).decode()
                    if not part:
                        break
                    answer += part
                return answer
        except OSError:
            return ""

    def values(self, command):
        """Return {name: number} of an answer, which is written like a JavaScript object."""
        pairs = re.findall(r"'?([\w.-]+)'?: (-?\d+)", self.ask(command))
        return {name: int(value) for name, value in pairs}

    def close(self):
        self.process.terminate()
        self.process.wait(END)
        self.process.stderr.close()


@contextmanager
def clients(*all_of_them):
    try:
        yield
    finally:
        for client in all_of_them:
            client.close()


@pytest.fixture
def statsd(tmp_path):
    daemon = StatsD(tmp_path)
    yield daemon
    daemon.close()


def test_statsd_counts_publishes_deliveries_calls_and_sessions(statsd, own_cluster):
    cluster = own_cluster(
        FOX_STATSD_ADDRESS=f"127.0.0.1:{statsd.port}",
        FOX_STATSD_INTERVAL="0.1",
        FOX_STATSD_PREFIX="testing",
    )
    first, second = at_gateway(cluster, 0), at_gateway(cluster, 1)
    device = MqttPeer(("127.0.0.1", cluster.mqtt), "statsd")
    with clients(first, second, device):
        device.subscribe("metrics/topic")
        second.do(SUBSCRIBE, {}, "metrics.topic", answer=SUBSCRIBED)
        for _ in range(10):
            first.do(PUBLISH, {"acknowledge": True}, "metrics.topic", answer=PUBLISHED)
            second.receive()
        device.take(10)
        second.do(REGISTER, {}, "metrics.procedure", answer=REGISTERED)
        for request in range(100, 105):
            first.send(CALL, request, {}, "metrics.procedure")
            invocation = second.receive()
            assert invocation[0] == INVOCATION
            second.send(YIELD, invocation[1], {})
            assert first.receive()[0] == RESULT

        def counted():
            counters = statsd.values("counters")
            return (
                counters.get("testing.realm1.publishes", 0) >= 10
                and counters.get("testing.realm1.calls", 0) >= 5
                # The gateways report at different times.
                and counters.get("testing.realm1.deliveries", 0) >= 20
                and counters
            )

        counters = await_true("everything is counted", counted)
        assert counters["testing.realm1.publishes"] == 10
        assert counters["testing.realm1.deliveries"] == 20
        assert counters["testing.realm1.calls"] == 5
        assert "statsd.bad_lines_seen" not in counters or not counters["statsd.bad_lines_seen"]

        def gauged():
            gauges = statsd.values("gauges")
            names = ("realm1.sessions", "realm1.wamp.sessions", "realm1.mqtt.sessions")
            seen = [gauges.get(f"testing.{name}") for name in names]
            by_gateway = [
                gauges.get(f"testing.{name}.sessions", 0) for name in cluster.gateway_names
            ]
            return seen == [3, 2, 1] and sum(by_gateway) == 3

        # The coordinator and the gateways report at different times.
        await_true("three sessions are gauged", gauged)
    await_true(
        "no session is left",
        lambda: statsd.values("gauges").get("testing.realm1.sessions") == 0,
    )
    cluster.check(())


def test_the_broker_goes_on_without_a_statsd_daemon(own_cluster):
    cluster = own_cluster(FOX_STATSD_ADDRESS=f"127.0.0.1:{free_port()}", FOX_STATSD_INTERVAL="0.1")
    await_true("it is logged", lambda: "does not receive the metrics" in cluster.log())
    with clients(client := at_gateway(cluster, 0)):
        client.do(PUBLISH, {"acknowledge": True}, "metrics.topic", answer=PUBLISHED)
    cluster.check(())
