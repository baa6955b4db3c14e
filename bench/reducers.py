"""`python -m bench.reducers`: the cost of events that are folded into keys, stored on disk.

Owns: these measurements of our broker. Never: other brokers, which have no reducers.
"""

import select
import socket
import sys
import time
from collections import deque
from typing import Any

from msgspec import msgpack

from bench.measure import Sample, cost, sample
from bench.servers import FoxShard

TOPICS = 1000
IN_FLIGHT = 512
CONCURRENCY = 256
SECONDS = 5.0
WARMING_UP = 1.0
PATIENCE = 20.0
"""Seconds until the keys must be complete."""

HELLO, WELCOME, EVENT, PUBLISH, PUBLISHED = 1, 2, 36, 16, 17
SUBSCRIBE, REGISTER, REGISTERED, INVOCATION, YIELD, UNSUBSCRIBED = 32, 64, 65, 68, 70, 35
REALM = '[[realm]]\nname = "realm1"\n'
SUM = REALM + '[[realm.reducer]]\npattern = "fold.#"\nfunction = "sum"\n'
KINDS = {"built-in": SUM, "destination": SUM + 'destination = "total"\n', "client": REALM}
"""Configurations, by the kinds of reducers."""


class Client:
    """A WAMP session in MessagePack over RawSocket, which never blocks once it has joined."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.out = bytearray(b"\x7f\xf2\x00\x00")
        self._data = b""
        self._request = 0
        self._greeted = False
        roles: dict[str, Any] = {"publisher": {}, "subscriber": {}, "callee": {}}
        self.send([HELLO, "realm1", {"roles": roles}])
        self.await_(WELCOME)
        self.sock.settimeout(0.0)

    def send(self, message: list[Any]) -> None:
        """Queue a message."""
        data = msgpack.encode(message)
        self.out += len(data).to_bytes(4, "big") + data

    def request(self, kind: int, *rest: object) -> None:
        """Queue a request with a new id."""
        self._request += 1
        self.send([kind, self._request, *rest])

    def flush(self) -> None:
        """Write what the socket takes."""
        if self.out:
            try:
                del self.out[: self.sock.send(self.out)]
            except BlockingIOError:
                return

    def read(self) -> list[list[Any]]:
        """Return the messages that have arrived."""
        try:
            received = self.sock.recv(1 << 20)
        except BlockingIOError:
            return []
        if not received:
            raise ConnectionError("the broker closed a connection")
        data, start, messages = self._data + received, 0, []
        if not self._greeted:
            self._greeted, start = True, 4
        while len(data) >= start + 4:
            end = start + 4 + int.from_bytes(data[start + 1 : start + 4], "big")
            if end > len(data):
                break
            messages.append(msgpack.decode(data[start + 4 : end]))
            start = end
        self._data = data[start:]
        return messages

    def await_(self, kind: int) -> list[Any]:
        """Wait for a message of that kind, and return it."""
        found: deque[list[Any]] = deque()
        while not found:
            self.flush()
            select.select([self.sock], [self.sock] if self.out else [], [], PATIENCE)
            found.extend(message for message in self.read() if message[0] == kind)
        return found[0]


class Fold:
    """A publisher of numbers and, for a client's reducer, its instance."""

    def __init__(self, broker: FoxShard, *, registers: bool) -> None:
        self._publisher = Client(broker.rawsocket)
        self._instance: Client | None = None
        self.published = self.acknowledged = self.reduced = self.total = 0
        if registers:
            self._instance = Client(broker.rawsocket)
            options = {"reducer": True, "concurrency": CONCURRENCY}
            self._instance.request(REGISTER, options, "fold.#")
            self._instance.await_(REGISTERED)

    @property
    def done(self) -> int:
        """The number of events that are acknowledged and, if a client reduces, reduced."""
        return self.acknowledged if self._instance is None else min(self.acknowledged, self.reduced)

    def turn(self, *, publish: bool) -> None:
        """Publish as much as may be in flight, and handle what comes."""
        while publish and self.published - self.done < IN_FLIGHT:
            number = self.published % 7
            topic = f"fold.{self.published % TOPICS}"
            self._publisher.request(PUBLISH, {"acknowledge": True}, topic, [number])
            self.published += 1
            self.total += number
        clients = [self._publisher, *([self._instance] if self._instance else [])]
        for client in clients:
            client.flush()
        writing = [client.sock for client in clients if client.out]
        select.select([client.sock for client in clients], writing, [], 0.1)
        self.acknowledged += len(self._publisher.read())
        if self._instance is not None:
            self._reduce(self._instance)

    def _reduce(self, instance: Client) -> None:
        for message in instance.read():
            if message[0] == INVOCATION:
                _, request, _, details, (number, *_) = message
                instance.send([YIELD, request, {}, [(details["retained"] or 0) + number]])
                self.reduced += 1


def keys(broker: FoxShard) -> int:
    """Return the sum of all reduced keys."""
    reader = Client(broker.rawsocket)
    total = 0
    for topic in ("fold.#", "total"):
        reader.request(SUBSCRIBE, {"get_retained": True, "snapshot": True}, topic)
        over = False
        while not over:
            reader.flush()
            select.select([reader.sock], [], [], PATIENCE)
            for message in reader.read():
                over |= message[0] == UNSUBSCRIBED
                total += message[4][0] if message[0] == EVENT else 0
    return total


def measure(kind: str) -> None:
    """Measure one kind of reducer, and print a line. Raises AssertionError if a key is wrong."""
    broker = FoxShard(2, 2, configuration=KINDS[kind])
    try:
        fold = Fold(broker, registers=kind == "client")
        before: Sample | None = None
        began = time.monotonic()
        while (now := time.monotonic()) < began + WARMING_UP + SECONDS:
            if before is None and now > began + WARMING_UP:
                before = sample(broker.pids, fold.done)
            fold.turn(publish=True)
        assert before is not None
        result = cost(before, sample(broker.pids, fold.done))
        print(
            f"{kind:<12} {result.rate:8.0f} events/s  {result.broker:6.1f} CPU µs"
            f"  {result.generator:5.1f} gen µs"
        )
        end = time.monotonic() + PATIENCE
        while fold.done < fold.published:
            assert time.monotonic() < end, f"{fold.published - fold.done} events are missing"
            fold.turn(publish=False)
        while (found := keys(broker)) != fold.total:
            assert time.monotonic() < end, f"the keys add up to {found}, not {fold.total}"
            fold.turn(publish=False)
    finally:
        broker.stop()


def main() -> int:
    """Measure all kinds. Returns the exit code."""
    for kind in KINDS:
        measure(kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
