"""What some clients that send as much as they can cost all others.

Owns: attackers of several kinds, bystanders that send at a steady pace, and how long these wait.
Never: starting servers.

The attackers are processes of their own, send without waiting for answers, and read what they are
answered. A bystander's message is due at a time that does not depend on the answer before it, so a
broker that stands still is not asked less often meanwhile.
"""

import contextlib
import itertools
import multiprocessing
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple

import msgspec

from bench.keys import retained
from bench.measure import cpu_seconds, percentile
from bench.mqtt_load import connect, subscribe
from bench.records import mqtt_header
from bench.servers import FoxShard
from fox_shard.backplane.placement import Placement

ATTACKERS = 4
PACE = 20.0
"""Messages of each bystander in a second."""

WARM = 2.0
"""Seconds of the flood before the bystanders begin."""

PATIENCE = 30.0
"""Seconds after the last message in which the missing answers must come."""

KEYS = 500
"""Keys, or other names, of each attacker."""

_READ = 1 << 18
_HELLO, _PUBLISH, _PUBLISHED, _SUBSCRIBE, _UNSUBSCRIBE = 1, 16, 17, 32, 34
_CALL, _RESULT, _REGISTER, _INVOCATION, _YIELD = 48, 50, 64, 68, 70
_ROLES: dict[str, dict[str, Any]] = {"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}}
_TEXT = "x" * 64


class Waits(NamedTuple):
    """How long a bystander's messages waited for their answers, in ms, and how many there were.

    cpu50, cpu99: percentiles of the milliseconds of CPU that the broker used meanwhile. They depend
    less on what else the machine does.
    """

    count: int
    p50: float
    p99: float
    longest: float
    cpu50: float
    cpu99: float


def names_at(shard: int, shards: int, prefix: str) -> Iterator[str]:
    """Yield topics, in WAMP's form, that belong to that shard."""
    placement = Placement(shards)
    for number in itertools.count():
        name = f"{prefix}.{number:06d}"
        if placement.shard_of("realm1", name) == shard:
            yield name


class Wamp:
    """A joined session on a blocking RawSocket with JSON."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(b"\x7f\xf1\0\0")
        self.sock.recv(4, socket.MSG_WAITALL)
        self.ask(_HELLO, "realm1", {"roles": _ROLES})

    def ask(self, *message: object) -> list[Any]:
        """Send a message and return its answer. Raises ConnectionError for an error."""
        self.sock.sendall(frame(*message))
        size = int.from_bytes(self.sock.recv(4, socket.MSG_WAITALL), "big")
        answer: list[Any] = msgspec.json.decode(self.sock.recv(size, socket.MSG_WAITALL))
        if answer[0] in (3, 8):
            raise ConnectionError(f"answered {answer}")
        return answer


def frame(*message: object) -> bytes:
    """Return the bytes of a WAMP message on a RawSocket."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(4, "big") + body


# Attackers


def _attack(
    sock: socket.socket, chunks: Iterator[bytes], stop: Event, answered: "Synchronized[int]"
) -> None:
    """Send chunk after chunk and read all answers, until told to stop. answered: their bytes."""
    sock.settimeout(0)
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLOUT)
    rest = memoryview(next(chunks))
    while not stop.is_set():
        for _, event in poll.poll(100):
            if event & select.POLLIN:
                data = sock.recv(_READ)
                answered.value += len(data)
                if not data:
                    return
            if event & select.POLLOUT:
                rest = rest[sock.send(rest) :] or memoryview(next(chunks))


def mqtt_publishes(server: FoxShard, number: int, shards: int) -> tuple[socket.socket, Any]:
    """Publish keys at QoS 1."""
    names = list(itertools.islice(names_at(0, shards, f"flood.{number}"), KEYS))
    topics = [name.replace(".", "/") for name in names]
    sock = connect(server.mqtt, f"flood-{number}")
    ring = [retained(topics[n % KEYS], n % 60000 + 1, _TEXT.encode()) for n in range(60000)]
    return sock, itertools.cycle([b"".join(ring[n : n + 1000]) for n in range(0, 60000, 1000)])


def _wamp_requests(build: Callable[[int], tuple[object, ...]]) -> Iterator[bytes]:
    for first in itertools.count(1, 500):
        yield b"".join(frame(*build(n)) for n in range(first, first + 500))


def wamp_publishes(server: FoxShard, number: int, shards: int) -> tuple[socket.socket, Any]:
    """Publish keys with acknowledgement."""
    names = list(itertools.islice(names_at(0, shards, f"flood.{number}"), KEYS))
    options = {"acknowledge": True, "retain": True}
    return Wamp(server.rawsocket).sock, _wamp_requests(
        lambda n: (_PUBLISH, n, options, names[n % KEYS], [_TEXT])
    )


def plain_publishes(server: FoxShard, number: int, shards: int) -> tuple[socket.socket, Any]:
    """Publish at QoS 0 what nobody keeps."""
    topic = next(names_at(0, shards, f"flood.{number}")).replace(".", "/").encode()
    body = len(topic).to_bytes(2, "big") + topic + _TEXT.encode()
    chunk = (bytes((0x30, len(body))) + body) * 1000
    return connect(server.mqtt, f"flood-{number}"), itertools.repeat(chunk)


def calls(server: FoxShard, number: int, shards: int) -> tuple[socket.socket, Any]:
    """Call a procedure that answers nothing, which the first attacker has registered."""
    session = Wamp(server.rawsocket)
    procedure = next(names_at(0, shards, f"flood.slow.{number}"))
    session.ask(_REGISTER, 1, {"invoke": "single"}, procedure)
    return session.sock, _wamp_requests(lambda n: (_CALL, n + 1, {}, procedure, [_TEXT]))


def subscriptions(server: FoxShard, number: int, shards: int) -> tuple[socket.socket, Any]:
    """Subscribe to topics and unsubscribe from topics that are not subscribed."""
    names = list(itertools.islice(names_at(0, shards, f"flood.{number}"), KEYS))
    sock = connect(server.mqtt, f"flood-{number}")

    def pair(n: int) -> bytes:
        topic = names[n % KEYS].replace(".", "/").encode()
        body = b"\0\1" + len(topic).to_bytes(2, "big") + topic
        end = bytes((0xA2, len(body))) + body
        return bytes((0x82, len(body) + 1)) + body + b"\0" + end

    return sock, itertools.cycle([b"".join(pair(n) for n in range(KEYS))])


def locks(server: FoxShard, number: int, shards: int) -> tuple[socket.socket, Any]:
    """Take locks, give them back, and wait for one that another attacker has."""
    names = list(itertools.islice(names_at(0, shards, "flood.lock"), KEYS))
    take = {"acknowledge": True, "retain": True, "weak": True, "when": None}

    def build(n: int) -> tuple[object, ...]:
        name = names[n // 2 % KEYS]
        if n % 2:
            return (_PUBLISH, n, {"acknowledge": True, "retain": True}, name)
        return (_PUBLISH, n, take, name, [number])

    return Wamp(server.rawsocket).sock, _wamp_requests(build)


def questions(server: FoxShard, number: int, shards: int) -> tuple[socket.socket, Any]:
    """Ask for all keys."""
    query = ["fox.keys.list", ["flood"], {"match": "prefix"}]
    del number, shards
    return Wamp(server.rawsocket).sock, _wamp_requests(lambda n: (_CALL, n, {}, *query))


KINDS: dict[str, Callable[[FoxShard, int, int], tuple[socket.socket, Any]]] = {
    "mqtt-keys": mqtt_publishes,
    "wamp-keys": wamp_publishes,
    "plain": plain_publishes,
    "calls": calls,
    "subscriptions": subscriptions,
    "locks": locks,
    "questions": questions,
}


@contextlib.contextmanager
def flooded(
    server: FoxShard, kind: str, shards: int, attackers: int
) -> Iterator[Callable[[], int]]:
    """Let so many attackers of that kind send as much as they can, meanwhile.

    Yield what returns how many bytes they have been answered.
    """
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    answered = [context.Value("q") for _ in range(attackers)]
    processes = []
    for number in range(attackers):
        sock, chunks = KINDS[kind](server, number, shards)
        processes.append(
            context.Process(
                target=_attack, args=(sock, chunks, stop, answered[number]), daemon=True
            )
        )
        processes[-1].start()
        sock.close()
    try:
        yield lambda: sum(one.value for one in answered)
    finally:
        stop.set()
        for process in processes:
            process.join(PATIENCE)


# Bystanders


class Bystander:
    """A client whose messages are due at a steady pace.

    send(n): sends message n. count(data): how many answers are in these bytes; partial ones are
    kept by the bystander.
    """

    def __init__(
        self,
        name: str,
        answered: socket.socket,
        send: Callable[[int], None],
        cut: Callable[[bytes], tuple[int, int]],
    ) -> None:
        """answered: the socket at which answers come. cut: returns (answers, bytes read)."""
        self.name = name
        self.sock = answered
        self._waits: list[float] = []
        self._cpu: list[float] = []
        self._send, self._cut = send, cut
        # When each message that is not answered was due, and the CPU that the broker had used then.
        self._due: deque[tuple[float, float]] = deque()
        self._data = b""
        self._number = 0

    @property
    def waiting(self) -> int:
        """How many messages have not been answered."""
        return len(self._due)

    def send(self, due: float, cpu: float) -> None:
        """Send the next message, which was due at that time. cpu: used by the broker so far."""
        self._number += 1
        self._due.append((due, cpu))
        self._send(self._number)

    def read(self, cpu: float) -> None:
        """Read once, and note how long what is answered has waited."""
        data = self.sock.recv(_READ)
        if not data:
            raise ConnectionError(f"the broker closed the connection of {self.name}")
        self._data += data
        answers, read = self._cut(self._data)
        self._data = self._data[read:]
        now = time.perf_counter()
        for due, used in [self._due.popleft() for _ in range(answers)]:
            self._waits.append(1e3 * (now - due))
            self._cpu.append(1e3 * (cpu - used))

    def result(self) -> Waits:
        """Return how long all messages waited."""
        waits, cpu = sorted(self._waits), sorted(self._cpu)
        return Waits(
            len(waits),
            percentile(waits, 0.5),
            percentile(waits, 0.99),
            waits[-1],
            percentile(cpu, 0.5),
            percentile(cpu, 0.99),
        )


def _mqtt_answers(kind: int) -> Callable[[bytes], tuple[int, int]]:
    def cut(data: bytes) -> tuple[int, int]:
        at = count = 0
        while len(data) - at >= 2:
            _, size = mqtt_header(data, at)
            if not size or at + size > len(data):
                break
            count += data[at] & 0xF0 == kind
            at += size
        return count, at

    return cut


def _wamp_answers(kind: int) -> Callable[[bytes], tuple[int, int]]:
    def cut(data: bytes) -> tuple[int, int]:
        at = count = 0
        while len(data) - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > len(data):
                break
            message = msgspec.json.decode(data[at + 4 : end])
            if message[0] != kind:
                raise ConnectionError(f"answered {message}")
            count += 1
            at = end
        return count, at

    return cut


def _mqtt_publisher(server: FoxShard, name: str, topic: str, first: int) -> Bystander:
    sock = connect(server.mqtt, f"bystander-{name}")
    path = topic.replace(".", "/")

    def send(n: int) -> None:
        packet = retained(path, n % 60000 + 1, _TEXT.encode())
        sock.sendall(bytes((first,)) + packet[1:])

    return Bystander(name, sock, send, _mqtt_answers(0x40))


def _plain(server: FoxShard, topic: str) -> Bystander:
    """Return a publisher at QoS 0 that is its own subscriber."""
    sock = connect(server.mqtt, "bystander-plain")
    path = topic.replace(".", "/")
    subscribe(sock, path, 0)
    name = path.encode()
    body = len(name).to_bytes(2, "big") + name + _TEXT.encode()
    packet = bytes((0x30, len(body))) + body
    return Bystander("plain (QoS 0)", sock, lambda _n: sock.sendall(packet), _mqtt_answers(0x30))


def _wamp_publisher(server: FoxShard, topic: str) -> Bystander:
    session = Wamp(server.rawsocket)
    options = {"acknowledge": True, "retain": True}

    def send(n: int) -> None:
        session.sock.sendall(frame(_PUBLISH, n, options, topic, [_TEXT]))

    return Bystander("key (WAMP)", session.sock, send, _wamp_answers(_PUBLISHED))


class _Callee:
    """A callee that answers each call, for the bystander that calls."""

    def __init__(self, server: FoxShard, procedure: str) -> None:
        session = Wamp(server.rawsocket)
        self.sock = session.sock
        session.ask(_REGISTER, 1, {}, procedure)
        self._data = b""

    def read(self, _cpu: float) -> None:
        """Read once, and answer the calls."""
        self._data += self.sock.recv(_READ)
        while len(self._data) >= 4:
            end = 4 + int.from_bytes(self._data[:4], "big")
            if end > len(self._data):
                break
            message = msgspec.json.decode(self._data[4:end])
            self._data = self._data[end:]
            if message[0] == _INVOCATION:
                self.sock.sendall(frame(_YIELD, message[1], {}, [1]))


def _caller(server: FoxShard, procedure: str) -> Bystander:
    session = Wamp(server.rawsocket)

    def send(n: int) -> None:
        session.sock.sendall(frame(_CALL, n, {}, procedure, [_TEXT]))

    return Bystander("call", session.sock, send, _wamp_answers(_RESULT))


def bystanders(server: FoxShard, shards: int, seconds: float) -> list[Bystander]:
    """Let bystanders of all kinds go on for so long; return them."""
    topics = names_at(0, shards, "bystander")
    procedure = next(topics)
    callee = _Callee(server, procedure)
    all_of_them = [
        _mqtt_publisher(server, "key (QoS 1, retain)", next(topics), 0x33),
        _wamp_publisher(server, next(topics)),
        _mqtt_publisher(server, "QoS 1", next(topics), 0x32),
        _plain(server, next(topics)),
        _caller(server, procedure),
    ]
    poll = select.poll()
    readers: dict[int, Bystander | _Callee] = {}
    for one in (callee, *all_of_them):
        readers[one.sock.fileno()] = one
        poll.register(one.sock, select.POLLIN)
    began = time.perf_counter()
    step = 1 / PACE / len(all_of_them)
    due = deque(
        (began + step * n, all_of_them[n % len(all_of_them)]) for n in range(round(seconds / step))
    )
    try:
        while due or any(one.waiting for one in all_of_them):
            now = time.perf_counter()
            if now > began + seconds + PATIENCE:
                missing = {one.name: one.waiting for one in all_of_them if one.waiting}
                raise ConnectionError(f"after {PATIENCE:g} s these are not answered: {missing}")
            while due and due[0][0] <= now:
                at, one = due.popleft()
                one.send(at, cpu_seconds(server.pids))
            wait = max(0.0, due[0][0] - now) if due else 1.0
            for descriptor, _ in poll.poll(1e3 * wait):
                readers[descriptor].read(cpu_seconds(server.pids))
    finally:
        for reader in readers.values():
            reader.sock.close()
    return all_of_them


def report(
    server: FoxShard, kinds: list[str], shards: int, seconds: float, attackers: int = ATTACKERS
) -> Iterator[str]:
    """Yield lines: how long bystanders wait at rest, and during each kind of flood."""
    for kind in ["", *kinds]:
        with contextlib.ExitStack() as stack:
            answered: Callable[[], int] = int
            if kind:
                answered = stack.enter_context(flooded(server, kind, shards, attackers))
                time.sleep(WARM)
            before = answered()
            cpu = [cpu_seconds([pid]) for pid in server.pids]
            began = time.perf_counter()
            waited = bystanders(server, shards, seconds)
            took = time.perf_counter() - began
            rate = (answered() - before) / took
            used = [
                f"{what} {100 * (cpu_seconds([pid]) - then) / took:.0f} %"
                for pid, then, what in zip(server.pids, cpu, server.kinds, strict=True)
            ]
        yield f"{kind or 'no flood'}: {', '.join(used)}; attackers are answered {rate:,.0f} bytes/s"
        for one in waited:
            waits = one.result()
            yield (
                f"  {one.name:<22}{waits.count:>6}  p50 {waits.p50:>8.1f}  p99 {waits.p99:>8.1f}"
                f"  max {waits.longest:>8.1f} ms"
                f"; CPU p50 {waits.cpu50:>6.1f}  p99 {waits.cpu99:>6.1f} ms"
            )
