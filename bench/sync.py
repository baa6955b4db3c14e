"""The cost of keys for synchronization: conditions, handing over a lock, views of many keys.

Owns: these measurements. Never: plain retained publishes (see `keys`).
"""

import select
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bench.measure import cpu_seconds
from bench.records import cut, websocket_header
from bench.servers import FoxShard
from bench.wamp_load import JSON, Session, frame

_PUBLISH, _PUBLISHED, _SUBSCRIBE, _SUBSCRIBED, _EVENT = 16, 17, 32, 33, 36
_UNSUBSCRIBED = 35

CLIENTS = 20
IN_FLIGHT = 64
WAITERS = 10_000
WAITING_SESSIONS = 100

VIEW = 1000
"""Approximate number of keys in a view, among all keys."""


class Rate(NamedTuple):
    """Operations per second, and the broker's CPU time for each in µs."""

    rate: float
    cpu: float


class View(NamedTuple):
    """Milliseconds until the first and the last of so many keys have arrived."""

    keys: int
    first: float
    last: float


class _Client:
    """A WAMP session with JSON over WebSocket, on a blocking socket."""

    def __init__(self, server: FoxShard) -> None:
        self._session = Session(server.wamp, JSON)
        self.sock = self._session.sock
        self._rest = b""
        self._request = 0

    def publish(self, topic: str, args: list[Any], **options: Any) -> None:  # noqa: ANN401
        """Send a PUBLISH with `acknowledge`."""
        self._request += 1
        message = [_PUBLISH, self._request, {"acknowledge": True, **options}, topic, args]
        self.sock.sendall(frame(JSON, message))

    def subscribe(self, topic: str, **options: Any) -> None:  # noqa: ANN401
        """Send a SUBSCRIBE."""
        self._request += 1
        self.sock.sendall(frame(JSON, [_SUBSCRIBE, self._request, options, topic]))

    def read(self) -> list[list[Any]]:
        """Wait for bytes, and return the messages that are complete now."""
        received = self.sock.recv(1 << 18)
        if not received:
            raise ConnectionError("the broker closed a connection")
        data = self._rest + received
        runs, end = cut(data, websocket_header)
        self._rest = data[end:]
        messages = []
        for at, size, count in runs:
            for place in range(at, at + size * count, size):
                header = websocket_header(data, place)[0]
                messages.append(JSON.decode(data[place + header : place + size]))
        return messages

    def close(self) -> None:
        """Close the connection without GOODBYE."""
        self.sock.close()


def _drive(
    clients: list[_Client], published: Callable[[int, list[Any]], None], more: Callable[[], bool]
) -> None:
    """Read all clients while `more()` is true. published: called with a client's number and a
    PUBLISHED; any other message raises ConnectionError.
    """
    by_descriptor = {client.sock.fileno(): number for number, client in enumerate(clients)}
    with select.epoll() as poll:
        for descriptor in by_descriptor:
            poll.register(descriptor, select.EPOLLIN)
        while more():
            for descriptor, _ in poll.poll(0.1):
                number = by_descriptor[descriptor]
                for message in clients[number].read():
                    if message[0] != _PUBLISHED:
                        raise ConnectionError(f"answered {message}")
                    published(number, message)


class _Measured:
    """A measurement that begins when it is made. done: the operations so far."""

    def __init__(self, server: FoxShard) -> None:
        self.done = 0
        self._server = server
        self._cpu = cpu_seconds(server.pids)
        self.began = time.perf_counter()

    def rate(self) -> Rate:
        """Return the rate and cost until now."""
        took = time.perf_counter() - self.began
        used = cpu_seconds(self._server.pids) - self._cpu
        return Rate(self.done / took, 1e6 * used / max(1, self.done))


def conditional(server: FoxShard, seconds: float) -> Rate:
    """Measure conditional publishes: create a key if it is absent, erase it if it is unchanged."""
    clients = [_Client(server) for _ in range(CLIENTS)]
    sent = [0] * CLIENTS
    measured = _Measured(server)

    def go(number: int) -> None:
        key, erases = divmod(sent[number], 2)
        sent[number] += 1
        topic = f"bench.when.{number}.{key % IN_FLIGHT}"
        if erases:
            clients[number].publish(topic, [], retain=True, when={"key": key})
        else:
            clients[number].publish(topic, [{"key": key}], retain=True, when_id=0)

    def published(number: int, _: list[Any]) -> None:
        measured.done += 1
        go(number)

    for number in range(CLIENTS):
        for _ in range(IN_FLIGHT):
            go(number)
    _drive(clients, published, lambda: time.perf_counter() < measured.began + seconds)
    rate = measured.rate()
    for client in clients:
        client.close()
    return rate


def turns(server: FoxShard, waiters: int) -> Rate:
    """Measure how fast a lock is handed from waiter to waiter until all have had it."""
    clients = [_Client(server) for _ in range(WAITING_SESSIONS)]
    holder = _Client(server)
    topic = f"bench.lock{waiters}"
    holder.publish(topic, ["held"], retain=True)
    (held,) = holder.read()
    each = waiters // WAITING_SESSIONS
    for client in clients:
        for _ in range(each):
            client.publish(topic, [1], retain=True, when=None, watch=True)
        # All waiters of this client have arrived when this publish is answered.
        client.publish("bench.marker", [1], retain=True)
        client.read()
    measured = _Measured(server)

    def published(number: int, message: list[Any]) -> None:
        if message[1] <= each:
            measured.done += 1
            clients[number].publish(topic, [], retain=True, when_id=message[2])

    holder.publish(topic, [], retain=True, when_id=held[2])
    _drive(clients, published, lambda: measured.done < waiters)
    rate = measured.rate()
    for client in (*clients, holder):
        client.close()
    return rate


def view(server: FoxShard, pattern: str) -> View:
    """Measure how fast a new subscriber is shown the keys whose topics begin with `pattern`."""
    client = _Client(server)
    began = time.perf_counter()
    client.subscribe(pattern, match="prefix", get_retained=True, snapshot=True)
    first = last = 0.0
    count = 0
    over = False
    while not over:
        for message in client.read():
            if message[0] == _EVENT:
                last = time.perf_counter() - began
                first = first or last
                count += 1
            over |= message[0] == _UNSUBSCRIBED
    client.close()
    return View(count, 1000 * first, 1000 * last)


def report(server: FoxShard, seconds: float, keys: int, stem: str) -> Iterator[str]:
    """Run all measurements, and yield the lines to print.

    keys: number of keys that exist. stem: beginning of all their topics; the rest is a number.
    """
    many = conditional(server, seconds)
    yield f"conditional publishes: {many.rate:,.0f}/s, broker CPU {many.cpu:.1f} µs each"
    for waiters in (WAITERS // 10, WAITERS):
        lock = turns(server, waiters)
        yield (
            f"a lock that {waiters:,} wait for: {lock.rate:,.0f} turns/s, "
            f"broker CPU {lock.cpu:.0f} µs each"
        )
    if keys > VIEW:
        # About VIEW of the numbers begin with these digits.
        prefix = f"{stem}{keys // VIEW // 2 + VIEW // 10}"
        shown = sorted((view(server, prefix) for _ in range(5)), key=lambda one: one.last)[2]
        yield (
            f"a view of {shown.keys:,} of {keys:,} keys: the first after {shown.first:.1f} ms, "
            f"all after {shown.last:.1f} ms"
        )
