"""The cost of keys: acknowledged retained publishes, a start with many keys, memory per key.

Owns: these measurements of our broker with its store on disk. Never: other brokers, which do not
store keys, or store them differently.
"""

import select
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench import mqtt_load, sync
from bench.measure import cpu_seconds, memory_kib, percentile
from bench.servers import FoxShard

CLIENTS = 20
IN_FLIGHT = 64
KEYS_EACH = 1000
PAYLOAD = 64
"""Bytes of a key's value."""


class Writes(NamedTuple):
    """Acknowledged retained publishes per second, and the broker's CPU time for each in µs."""

    rate: float
    cpu: float


class Waits(NamedTuple):
    """Percentiles of the milliseconds from a publish to its acknowledgement, one at a time."""

    p50: float
    p99: float


class Start(NamedTuple):
    """Seconds until a broker with so many keys serves, and bytes of memory per key."""

    keys: int
    seconds: float
    bytes_each: float


Packet = Callable[[int, int], bytes]
"""Returns the PUBLISH with QoS 1 number n of a client, with a packet id."""


class Writer:
    """A client that keeps `window` publishes in flight."""

    def __init__(self, address: tuple[str, int], name: str, window: int, packet: Packet) -> None:
        self.sock = mqtt_load.connect(address, name)
        self._packet = packet
        self._next = 0
        self._window = window
        self._rest = b""
        self.acknowledged = 0

    def fill(self, count: int) -> None:
        """Send the next `count` publishes."""
        numbers = range(self._next, self._next + count)
        self._next += count
        self.sock.sendall(b"".join([self._packet(n, n % 60000 + 1) for n in numbers]))

    def begin(self) -> None:
        """Fill the window."""
        self.fill(self._window)

    def read(self) -> int:
        """Wait for bytes, and return the number of publishes that they acknowledge."""
        received = self.sock.recv(1 << 16)
        if not received:
            raise ConnectionError("the broker closed a connection")
        data = self._rest + received
        count = len(data) // 4
        self._rest = data[4 * count :]
        if data[: 4 * count : 4] != b"\x40" * count:
            raise ConnectionError(f"not PUBACKs alone: {data[:16]!r}")
        self.acknowledged += count
        return count


def _writer(address: tuple[str, int], number: int, window: int, keys: int) -> Writer:
    """Return a client that publishes to so many keys of its own in turn."""

    def packet(n: int, packet_id: int) -> bytes:
        return retained(f"bench/{number}/key{n % keys}", packet_id, b"x" * PAYLOAD)

    return Writer(address, f"bench-key-{number}", window, packet)


def retained(topic: str, packet_id: int, payload: bytes) -> bytes:
    """Return a PUBLISH with QoS 1 and RETAIN."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + packet_id.to_bytes(2, "big") + payload
    length = len(body)
    size = (length,) if length < 128 else (length & 127 | 128, length >> 7)
    return bytes((0x33, *size)) + body


def writes(server: FoxShard, seconds: float) -> Writes:
    """Measure CLIENTS clients that publish as fast as IN_FLIGHT publishes in flight each allow."""
    writers = [_writer(server.mqtt, n, IN_FLIGHT, KEYS_EACH) for n in range(CLIENTS)]
    return write(server, writers, seconds)


def write(server: FoxShard, writers: list[Writer], seconds: float) -> Writes:
    """Measure clients that publish as fast as their windows allow, after a second of that."""
    for writer in writers:
        writer.begin()
    _run(writers, 1.0)
    before, cpu = sum(w.acknowledged for w in writers), cpu_seconds(server.pids)
    began = time.perf_counter()
    _run(writers, seconds)
    took = time.perf_counter() - began
    count = sum(w.acknowledged for w in writers) - before
    used = cpu_seconds(server.pids) - cpu
    for writer in writers:
        writer.sock.close()
    return Writes(count / took, 1e6 * used / max(1, count))


def _run(writers: list[Writer], seconds: float) -> None:
    by_descriptor = {writer.sock.fileno(): writer for writer in writers}
    poll = select.epoll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for descriptor, _ in poll.poll(0.1):
            writer = by_descriptor[descriptor]
            writer.fill(writer.read())
    poll.close()


def waits(server: FoxShard, count: int = 500) -> Waits:
    """Measure `count` publishes, one at a time."""
    writer = _writer(server.mqtt, CLIENTS, 1, KEYS_EACH)
    took = []
    for _ in range(count):
        began = time.perf_counter()
        writer.fill(1)
        writer.read()
        took.append(1000 * (time.perf_counter() - began))
    writer.sock.close()
    took.sort()
    return Waits(percentile(took, 0.5), percentile(took, 0.99))


def start(server: FoxShard, keys: int) -> Start:
    """Publish so many keys, stop the broker, and measure its next start."""
    empty = memory_kib(server.pids)
    _publish_all(server.mqtt, keys)
    server.halt()
    began = time.perf_counter()
    server.begin()
    seconds = time.perf_counter() - began
    return Start(keys, seconds, 1024 * (memory_kib(server.pids) - empty) / keys)


def _publish_all(address: tuple[str, int], keys: int) -> None:
    """Publish the keys from one client, with many publishes in flight."""
    writer = _writer(address, CLIENTS + 1, 0, keys)
    left = keys
    writer.fill(min(left, 2000))
    left -= min(left, 2000)
    while writer.acknowledged < keys:
        more = min(left, writer.read())
        if more:
            writer.fill(more)
            left -= more


def report_syncs(server: FoxShard, seconds: float) -> Iterator[str]:
    """Yield lines that say how often the server waits for the disk. server: a traced one."""
    for clients, in_flight in ((1, 1), (1, IN_FLIGHT), (CLIENTS, IN_FLIGHT)):
        writers = [_writer(server.mqtt, n, in_flight, KEYS_EACH) for n in range(clients)]
        began = time.time()
        for writer in writers:
            writer.begin()
        _run(writers, seconds)
        count, syncs = sum(w.acknowledged for w in writers), server.syncs(began, time.time())
        for writer in writers:
            writer.sock.close()
        yield (
            f"{clients} clients, {in_flight} in flight each: {count:,} acknowledged, {syncs:,} "
            f"syncs, {count / max(1, syncs):.1f} acknowledged each"
        )


def report(server: FoxShard, seconds: float, keys: int) -> Iterator[str]:
    """Run all measurements, and yield the lines to print. keys: of `start`; 0: not measured."""
    one = waits(server)
    yield f"one at a time: p50 {one.p50:.2f} ms, p99 {one.p99:.2f} ms"
    many = writes(server, seconds)
    in_flight = f"{IN_FLIGHT} in flight of each of {CLIENTS} clients"
    yield f"{in_flight}: {many.rate:,.0f}/s, broker CPU {many.cpu:.1f} µs each"
    if keys:
        began = start(server, keys)
        yield (
            f"start with {began.keys:,} keys: {began.seconds:.1f} s until it serves, "
            f"{began.bytes_each:.0f} bytes of memory a key"
        )
    yield from sync.report(server, seconds, keys, f"bench.{CLIENTS + 1}.key")
