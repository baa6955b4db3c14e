"""Many MQTT clients that each send a message now and then.

Owns: clients with one message under way, their pace, their checks. Never: starting servers.

Nothing gathers here: each message is alone in its read, its turn and its write, which is what a
server of thousands of devices or browsers sees. The point-to-point and the fan-out case of the Open
MQTT Benchmark Suite's Basic Set are such loads.
"""

import itertools
import random
import select
import socket
import time
from typing import NamedTuple

from bench.loop import Closed
from bench.measure import Cost, cost, percentile, sample
from bench.mqtt_load import connect, subscribe
from bench.payload import Miscount
from bench.records import mqtt_header
from bench.servers import Server

_PUBLISH, _PUBACK = 0x30, 0x40
_PAYLOAD = 16  # bytes: the publisher's number and the message's, in digits
_DIGITS = _PAYLOAD // 2
_READ = 65536
_PATIENCE = 10.0  # seconds after the last message in which the missing ones must arrive


class Plan(NamedTuple):
    """The clients of a load, and its pace.

    publishers: clients that send, in turn, `rate` messages a second in all. subscribers: clients
    that each get what is sent: with as many subscribers as publishers, subscriber n gets what
    publisher n sends; with one publisher, all subscribers get everything. both: the subscribers are
    the publishers themselves, each of which gets what its neighbour sends. qos: 0 or 1.
    """

    publishers: int
    subscribers: int
    rate: float
    qos: int
    both: bool = False

    @property
    def fans_out(self) -> bool:
        """Whether each message has more than one subscriber."""
        return self.subscribers > self.publishers

    def topic_of(self, publisher: int) -> str:
        """Return the topic to which a publisher sends."""
        return f"bench/sparse/{publisher:05d}"

    def source_of(self, subscriber: int) -> int:
        """Return the publisher whose messages a subscriber gets."""
        return 0 if self.fans_out else (subscriber + self.both) % self.publishers


class _Client:
    """A connection, which checks what it receives and acknowledges what wants it."""

    def __init__(self, sock: socket.socket, load: "_Load") -> None:
        sock.settimeout(0)
        self.sock = sock
        self.source = -1
        self.received = 0
        self.acknowledged = 0
        self._load = load
        self._tail = b""

    def read(self) -> None:
        """Read once. Raises Closed, Miscount."""
        data = self.sock.recv(_READ)
        if not data:
            raise Closed("the broker closed a connection")
        data = self._tail + data
        at = 0
        while True:
            _, size = mqtt_header(data, at)
            if not size or at + size > len(data):
                break
            self._take(data[at : at + size])
            at += size
        self._tail = data[at:]

    def _take(self, packet: bytes) -> None:
        kind = packet[0]
        if kind == _PUBACK:
            self.acknowledged += 1
            return
        if kind & 0xF0 != _PUBLISH:
            raise Miscount(f"a client got packet {kind:#x}")
        self.received += 1
        expected = b"%0*d%0*d" % (_DIGITS, self.source, _DIGITS, self.received)
        if packet[-_PAYLOAD:] != expected:
            raise Miscount(f"expected {expected!r}, got {packet[-_PAYLOAD:]!r}")
        if kind & 0x06:
            self.sock.send(bytes((_PUBACK, 2)) + packet[-_PAYLOAD - 2 : -_PAYLOAD])
        self._load.arrived(self)


class _Load:
    """All clients of a plan, on one epoll."""

    def __init__(self, plan: Plan, server: Server) -> None:
        self._plan = plan
        self._epoll = select.epoll()
        self._of_descriptor: dict[int, _Client] = {}
        self._heads = [self._head(number) for number in range(plan.publishers)]
        self._sent = [0] * plan.publishers
        self._sent_at: list[dict[int, float]] = [{} for _ in range(plan.publishers)]
        self.deliveries = 0
        self.waits: list[float] = []
        self._publishers = [self._connect(server, f"pub-{n}") for n in range(plan.publishers)]
        self._subscribers = (
            self._publishers
            if plan.both
            else [self._connect(server, f"sub-{n}") for n in range(plan.subscribers)]
        )
        for number, client in enumerate(self._subscribers):
            client.source = plan.source_of(number)
            client.sock.settimeout(10)
            subscribe(client.sock, plan.topic_of(client.source), plan.qos)
            client.sock.settimeout(0)

    def run(self, pids: list[int], warm: float, seconds: float) -> Cost:
        """Send at the plan's pace, and measure `seconds` after `warm` seconds. Raises Miscount."""
        # The order is not that of connecting, so that neighbours are not served in one turn.
        order = list(range(self._plan.publishers))
        random.Random(1).shuffle(order)
        turn = itertools.cycle(order)
        clock = time.perf_counter
        due = clock()
        due = self._send_until(due + warm, due, turn)
        before = sample(pids, self.deliveries)
        self.waits.clear()
        self._send_until(before.clock + seconds, due, turn)
        found = cost(before, sample(pids, self.deliveries))
        self._await_the_rest()
        waits = sorted(self.waits)
        return found._replace(p50=1e3 * percentile(waits, 0.5), p99=1e3 * percentile(waits, 0.99))

    def arrived(self, client: _Client) -> None:
        """Note a delivery."""
        self.deliveries += 1
        sent_at = self._sent_at[client.source].get(client.received)
        if sent_at is not None:
            self.waits.append(time.perf_counter() - sent_at)

    def close(self) -> None:
        """Close all connections."""
        for client in self._of_descriptor.values():
            client.sock.close()
        self._epoll.close()

    def _connect(self, server: Server, name: str) -> _Client:
        assert server.mqtt is not None
        client = _Client(connect(server.mqtt, f"bench-{name}"), self)
        self._epoll.register(client.sock.fileno(), select.EPOLLIN)
        self._of_descriptor[client.sock.fileno()] = client
        return client

    def _head(self, publisher: int) -> bytes:
        """Return what all PUBLISHes of a publisher begin with."""
        topic = self._plan.topic_of(publisher).encode()
        rest = 2 + len(topic) + 2 * self._plan.qos + _PAYLOAD
        return bytes((_PUBLISH | self._plan.qos << 1, rest)) + len(topic).to_bytes(2, "big") + topic

    def _send_until(self, end: float, due: float, turn: "itertools.cycle[int]") -> float:
        clock = time.perf_counter
        while (now := clock()) < end:
            while due <= now:
                self._send(next(turn), now)
                due += 1 / self._plan.rate
            self._turn(max(0.0, min(due, end) - clock()))
        return due

    def _send(self, publisher: int, now: float) -> None:
        self._sent[publisher] = number = self._sent[publisher] + 1
        packet_id = (number % 65535 + 1).to_bytes(2, "big") if self._plan.qos else b""
        payload = b"%0*d%0*d" % (_DIGITS, publisher, _DIGITS, number)
        times = self._sent_at[publisher]
        times.pop(number - 64, None)
        times[number] = now
        self._publishers[publisher].sock.send(self._heads[publisher] + packet_id + payload)

    def _turn(self, timeout: float) -> int:
        ready = self._epoll.poll(timeout)
        for descriptor, _ in ready:
            self._of_descriptor[descriptor].read()
        return len(ready)

    def _await_the_rest(self) -> None:
        end = time.perf_counter() + _PATIENCE
        while not self._complete():
            if time.perf_counter() > end:
                raise Miscount(f"{sum(self._sent)} sent, {self.deliveries} deliveries")
            self._turn(0.1)

    def _complete(self) -> bool:
        plan = self._plan
        due = sum(self._sent) * (plan.subscribers if plan.fans_out else 1)
        acknowledged = sum(client.acknowledged for client in self._publishers)
        return self.deliveries == due and (not plan.qos or acknowledged == sum(self._sent))


def run(plan: Plan, server: Server, warm: float, seconds: float) -> Cost:
    """Run a plan. CPU is per delivery. Raises Miscount, Closed, OSError."""
    load = _Load(plan, server)
    try:
        return load.run(server.pids, warm, seconds)
    finally:
        load.close()
