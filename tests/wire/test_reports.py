"""Metrics of the processes, reported to StatsD and in `$SYS` topics."""

import socket
from collections import Counter
from contextlib import closing

import pytest
from cluster import await_true
from mqtt_peers import MqttPeer
from raw_wamp import GOODBYE, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, RawWamp
from threads import Thread

from fox_shard import __version__

CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"
CONNACK = b"\x20\x02\x00\x00"
SUBSCRIBE_A = b"\x82\x06\x00\x01\x00\x01a\x00"
SUBACK = b"\x90\x03\x00\x01\x00"
PUBLISH_A = b"\x30\x04\x00\x01a!"
PINGREQ, PINGRESP, DISCONNECT = b"\xc0\x00", b"\xd0\x00", b"\xe0\x00"


def publish_qos1(number):
    return b"\x32\x07\x00\x01b" + number.to_bytes(2, "big") + b"!!"


def puback(number):
    return b"\x40\x02" + number.to_bytes(2, "big")


class Listener:
    """A stand-in for a StatsD daemon, which sums up counters and keeps the last value of gauges.

    It reads in a thread, all the time: what finds the socket's buffer full is lost.
    """

    def __init__(self):
        self._sock = socket.socket(type=socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self.counters, self.gauges = Counter(), {}
        self._thread = Thread(self._read)

    def _read(self):
        while report := self._sock.recv(65536).decode():
            for line in report.splitlines():
                name, _, rest = line.removeprefix("fox.").partition(":")
                value, _, kind = rest.partition("|")
                if kind == "c":
                    self.counters[name] += int(value)
                else:
                    self.gauges[name] = int(value)

    def close(self):
        """End, with the report of nobody."""
        host, _, port = self.address.partition(":")
        with closing(socket.socket(type=socket.SOCK_DGRAM)) as nobody:
            nobody.sendto(b"", (host, int(port)))
        self._thread.done()
        self._sock.close()

    def await_counters(self, expected):
        """Wait until the counters have reached these values, which they must not exceed."""

        def there():
            return all(self.counters[name] >= value for name, value in expected.items())

        try:
            await_true("it is counted", there)
        finally:
            assert {name: self.counters[name] for name in expected} == expected

    def await_gauges(self, expected):
        def there():
            return all(self.gauges.get(name) == value for name, value in expected.items())

        await_true(f"the gauges are {expected}", there)


@pytest.fixture
def listener():
    with closing(Listener()) as listener:
        yield listener


def read(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"closed after {data!r}"
        data += part
    return data


def test_messages_and_bytes_are_counted_by_realm_and_protocol(own_cluster, listener):
    cluster = own_cluster(
        FOX_STATSD_ADDRESS=listener.address, FOX_STATSD_INTERVAL="0.1", FOX_MQTT_SYS_INTERVAL="0"
    )
    five = b"".join(publish_qos1(number) for number in range(1, 6))
    sent = [CONNECT, SUBSCRIBE_A, PUBLISH_A * 3, five, PINGREQ, DISCONNECT]
    answers = [
        CONNACK,
        SUBACK,
        PUBLISH_A * 3,
        b"".join(puback(number) for number in range(1, 6)),
        PINGRESP,
        b"",
    ]
    with closing(socket.create_connection(("127.0.0.1", cluster.mqtt), 10)) as device:
        for data, answer in zip(sent, answers, strict=True):
            device.sendall(data)
            assert read(device, len(answer)) == answer
        assert device.recv(1) == b""
    client = RawWamp(cluster.rawsocket, "json")
    with closing(client.sock):
        client.do(SUBSCRIBE, {}, "com.example", answer=SUBSCRIBED)
        for _ in range(2):
            client.do(PUBLISH, {"acknowledge": True}, "com.example", answer=PUBLISHED)
        client.ask(GOODBYE, {}, "wamp.close.close_realm", answer=GOODBYE)
    listener.await_counters(
        {
            "realm1.mqtt.messages_in": 12,
            "realm1.mqtt.messages_out": 11,
            "realm1.mqtt.bytes_in": len(b"".join(sent)),
            "realm1.mqtt.bytes_out": len(b"".join(answers)),
            # These are HELLO, SUBSCRIBE, PUBLISH twice, GOODBYE, and an answer to each.
            "realm1.wamp.messages_in": 5,
            "realm1.wamp.messages_out": 5,
            "realm1.publishes": 10,
            "realm1.deliveries": 3,
            "realm1.calls": 0,
        }
    )
    assert listener.counters["realm1.wamp.bytes_in"] > 100
    assert listener.counters["realm1.wamp.bytes_out"] > 100
    cluster.check(())


def test_processes_report_their_sessions_subscriptions_keys_and_buffers(own_cluster, listener):
    cluster = own_cluster(
        FOX_STATSD_ADDRESS=listener.address,
        FOX_STATSD_INTERVAL="0.1",
        FOX_MQTT_SYS_INTERVAL="0",
    )
    device = MqttPeer(("127.0.0.1", cluster.mqtt), "keeper")
    number = cluster.gateway_at(device.place, "mqtt")
    here, there = f"gateway-{number}", f"gateway-{1 - number}"
    try:
        device.subscribe("a/#", "b")
        for number in range(20):
            device.publish(f"a/{number}", b"x", qos=1, retain=True)
        device.take(20)
        keys_of = Counter(f"shard-{cluster.shard_of(f'a.{number}')}" for number in range(20))
        assert set(keys_of) == set(cluster.shard_names)
        listener.await_gauges(
            {
                f"{here}.sessions": 1,
                f"{there}.sessions": 0,
                f"{here}.subscriptions": 2,
                f"{there}.subscriptions": 0,
                f"{here}.client_buffers": 0,
                f"{here}.link_buffers": 0,
                **{f"{shard}.keys": keys for shard, keys in keys_of.items()},
                **{f"{shard}.queue_depth": 0 for shard in cluster.shard_names},
            }
        )
        # A shard's counters come with its gauges.
        for shard in cluster.shard_names:
            assert listener.counters[f"{shard}.frames"] >= listener.counters[f"{shard}.batches"] > 0
        assert listener.counters[f"{here}.slow_consumers"] == 0
        assert listener.counters[f"{here}.dropped"] == 0
        # The topic is reserved: only the router publishes there.
        device.publish("$SYS/broker/version", b"x")
        listener.await_counters({f"{here}.dropped": 1})
        device.unsubscribe("b")
        listener.await_gauges({f"{here}.subscriptions": 1})
    finally:
        device.close()
    listener.await_gauges({f"{here}.sessions": 0, f"{here}.subscriptions": 0})
    cluster.check(())


class Watcher:
    """A subscriber to `$SYS/#`, with the latest value of each topic in `values`."""

    def __init__(self, cluster):
        self.peer = MqttPeer(("127.0.0.1", cluster.mqtt), "watcher")
        self.values, self.at_first = {}, {}
        self.peer.subscribe("$SYS/#")

    def await_value(self, topic, right):
        def look():
            while not self.peer.messages.empty():
                message = self.peer.messages.get()
                name = message.topic.removeprefix("$SYS/broker/")
                self.values[name] = bytes(message.payload).decode()
                self.at_first.setdefault(name, bool(message.retain))
            return topic in self.values and right(self.values[topic])

        await_true(f"$SYS/broker/{topic} is right", look)


@pytest.fixture
def broker(own_cluster):
    return own_cluster(FOX_MQTT_SYS_INTERVAL="1")


@pytest.fixture
def watcher(broker):
    watcher = Watcher(broker)
    yield watcher
    watcher.peer.close()


def test_sys_topics_report_the_metrics_of_the_broker(broker, watcher):
    watcher.await_value("version", lambda value: value == f"fox-shard version {__version__}")
    assert watcher.at_first["version"]
    watcher.await_value("uptime", lambda value: value.split()[1:] == ["seconds"])
    watcher.await_value("clients/connected", lambda value: value == "1")
    watcher.await_value("subscriptions/count", lambda value: value == "1")
    for number in range(30):
        watcher.peer.publish(f"news/{number}", b"x", retain=True)
    # All `$SYS` topics are retained as well, but do not count.
    watcher.await_value("retained messages/count", lambda value: value == "30")
    watcher.await_value("publish/messages/received", lambda value: value == "30")
    watcher.await_value("publish/messages/sent", lambda value: int(value) > 0)
    watcher.await_value("messages/received", lambda value: int(value) >= 32)
    watcher.await_value("messages/sent", lambda value: int(value) > 2)
    watcher.await_value("bytes/received", lambda value: int(value) > 300)
    broker.check(())


def test_sys_topics_are_published_again_after_their_shards_were_killed(broker, watcher):
    watcher.await_value("version", bool)
    broker.restart(*broker.shard_names)
    broker.await_ready()
    watcher.values.clear()
    watcher.await_value("version", lambda value: value == f"fox-shard version {__version__}")
    late = MqttPeer(("127.0.0.1", broker.mqtt), "late")
    try:
        late.subscribe("$SYS/broker/version")
        ((_, version, _, retained),) = late.take(1)
        assert (version, retained) == (f"fox-shard version {__version__}".encode(), True)
    finally:
        late.close()
    broker.check(())
