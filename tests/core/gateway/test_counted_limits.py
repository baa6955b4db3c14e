"""Whatever limit refuses a client is counted, under the name of its setting."""

from pathlib import Path

import mqtt_gateway
import pytest
from gateway_harness import GatewayHarness
from wamp_client import ALL, FakeGateway, joined

from fox_shard.config import Auth
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limited_lines import FIRST, MAX_REASON
from fox_shard.gateway.clients.limits import NAMES
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.transports.factories import makers

DEEP = 121


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ([16, 1, {"acknowledge": True}, "a." * 200 + "b"], "topic_components"),
        ([16, 1, {}, "a." * 200 + "b"], "topic_components"),
        ([32, 1, {}, "a" * 70_000], "topic_length"),
        ([48, 1, {}, "a" * 70_000], "topic_length"),
        ([48, 1, {}, "a.b", nested(DEEP)], "nesting"),
        ([16, 1, {"eligible": [1] * 1001}, "a.b"], "option_size"),
        ([32, 1, {"filter": {"a": "x" * 20_000}}, "a.b"], "option_size"),
        ([64, 1, {"reducer": True, "durable": "x" * 257}, "a.b"], "option_size"),
    ],
)
def test_a_refused_wamp_request_is_counted(message, limit, subprotocol):
    client = joined(subprotocol)
    client.send(message)
    assert client.gateway.limit_counts.totals() == {limit: 1}


@pytest.mark.parametrize(
    ("packet", "limit", "count"),
    [
        (mqtt.Publish("a/" * 200, b"", 0), "topic_components", 1),
        (mqtt.Publish("a" * 300, b"", 1, 1), "topic_length", 1),
        (mqtt.Subscribe(1, (("a" * 300, 0), ("b", 0), ("c" * 300, 0))), "topic_length", 2),
        (mqtt.Subscribe(1, (("a", 0),) * 1001), "max_filters", 1),
        (mqtt.Publish("a", b"x" * 5000, 0), "max_message_size", 1),
    ],
)
def test_a_refused_mqtt_packet_is_counted(packet, limit, count):
    size = 4096 if limit == "max_message_size" else 1 << 20
    topic_length = 256 if limit == "topic_length" else 65_535
    gateway = mqtt_gateway.FakeGateway(topic_length=topic_length, max_message_size=size)
    mqtt_gateway.connected(gateway).send(packet)
    assert gateway.limit_counts.totals() == {limit: count}


def test_an_mqtt_client_that_says_nothing_is_counted():
    client = mqtt_gateway.Client()
    client.gateway.advance(11.0)
    assert client.closed
    assert client.gateway.limit_counts.totals() == {"handshake_timeout": 1}


@pytest.mark.parametrize("kind", ["websocket", "rawsocket"])
def test_a_client_without_a_handshake_is_counted(kind):
    gateway = FakeGateway()
    receiver = makers(gateway, gateway)[kind](Connection([], "peer"))
    receiver.receive(b"\x7f" if kind == "rawsocket" else b"GET ", gateway.now)
    gateway.pass_time(11.0)
    assert gateway.limit_counts.totals() == {"handshake_timeout": 1}


def test_a_message_that_is_too_long_or_unfinished_is_counted():
    gateway = FakeGateway(max_message_size=1024)
    for data in (b"\0\0\4\1", b"\0\0\1\0"):
        rawsocket = makers(gateway, gateway)["rawsocket"](Connection([], "peer"))
        rawsocket.receive(b"\x7f\xf1\0\0" + data, gateway.now)
    gateway.pass_time(9.0)
    assert gateway.limit_counts.totals() == {"max_message_size": 1}
    gateway.pass_time(30.0)
    totals = gateway.limit_counts.totals()
    assert (totals["max_message_size"], totals["message_timeout"]) == (1, 1)


def test_the_health_and_the_report_name_the_limits():
    harness = GatewayHarness(shards=1, max_subscriptions=1)
    gateway = harness.gateway
    assert "refused" not in gateway.health()
    gateway.limit_counts.add("max_filters", 3)
    assert gateway.health()["refused"] == {"max_filters": 3}


def test_a_flood_of_refused_clients_leaves_few_lines():
    harness = GatewayHarness(shards=1)
    gateway = harness.gateway
    for number in range(FIRST + 100):
        connection = Connection([], f"10.0.0.1:{number}")
        connection.refused = "no such realm" * 100
        gateway.client_refused(connection)
    lines = [fields for name, fields in gateway.notices if name == "client_refused"]
    assert len(lines) == FIRST
    gateway.tick(harness.now + 1.0)
    lines = [fields for name, fields in gateway.notices if name == "client_refused"]
    assert len(lines) == FIRST + 1
    assert lines[-1]["suppressed"] == 99
    assert len(lines[-1]["reason"]) == MAX_REASON


def test_the_names_are_those_of_settings_and_are_documented():
    settings = {*Settings.__struct_fields__, *Auth.__struct_fields__, "max_filters"}
    assert set(NAMES) - settings == {
        "nesting",
        "option_size",
        "not_authorized",
        "invalid_key_users",
        "authorization_failed",
        "realm_max_subscriptions",
    }
    documented = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in documented] == []
