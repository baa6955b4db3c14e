"""Greedy clients: each takes as much of the broker as it can get, and plays by no rules.

Owns: what they ask for, their connections. Never: the checks: what they do to other clients shows
there (see `door` for sessions that end).

Their topics begin with `greedy`, so that nobody else is told of them. They share the event loop of
the other clients, so what they send is made beforehand, and sending waits for the socket.
"""

import asyncio
import zlib
from asyncio import StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from random import Random
from typing import Final

import msgspec

from chaos.broker import Broker
from chaos.peers import CALL, PUBLISH, REGISTER, SUBSCRIBE, WAMP_HELLO

MIB: Final = 1 << 20

CHUNK: Final = 64 * 1024
"""Bytes that are given to a socket at a time."""

STAY: Final = 2.0
"""Seconds for which a client keeps its connections after it has sent everything, on average."""

PATIENCE: Final = 20.0
"""Seconds after which a client gives up sending: the broker does not read it, or is down."""

AGAIN: Final = 0.2
"""Seconds between two clients."""

UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: wamp.2.json\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
ROLES: Final = {"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}}


def _framed(*message: object) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


_HELLO: Final = b"\x7f\xf2\0\0" + _framed(WAMP_HELLO, "realm1", {"roles": ROLES})


def _mqtt(first: int, body: bytes) -> bytes:
    length, digits = len(body), bytearray()
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return bytes((first, *digits, length)) + body


_CONNECT: Final = _mqtt(0x10, b"\0\4MQTT\4\2\0\0\0\0")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


@cache
def _many_filters() -> tuple[bytes, ...]:
    """SUBSCRIBE to 12,000 filters of wildcards, and UNSUBSCRIBE from them."""
    packets = [_CONNECT]
    for qos, first in ((b"\1", 0x82), (b"", 0xA2)):
        for packet in range(12):
            filters = (f"greedy/+/{packet}/+/{n}/+/#" for n in range(1000))
            body = b"".join(_text(one) + qos for one in filters)
            packets.append(_mqtt(first, (packet + 1).to_bytes(2, "big") + body))
    return tuple(packets)


@cache
def _bombs() -> tuple[bytes, ...]:
    """Frames of a few kilobytes that inflate to a JSON message of 15 MiB each."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    call = b'[48,1,{},"greedy.nowhere",["' + b"x" * (15 * MIB) + b'"]]'
    data = (squeeze.compress(call) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]
    hello = b'[1,"realm1",{"roles":{"caller":{}}}]'
    greeting = b"\x81" + bytes((0x80 | len(hello),)) + bytes(4) + hello
    bomb = b"\xc1\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data
    assert len(data) < 1 << 16
    return (UPGRADE, greeting, *[bomb] * 20)


@cache
def _endless() -> tuple[bytes, ...]:
    """A message of 16 MiB of which the last byte never comes."""
    size = 16 * MIB - 1
    return (_HELLO, size.to_bytes(4, "big") + b"\x94\x10\1\x80", *[bytes(CHUNK)] * 250)


@cache
def _conditions() -> tuple[bytes, ...]:
    """2,000 publishes that wait for as many conditions at a key, then a document of 200 kB."""
    waiting = [
        _framed(PUBLISH, n, {"retain": True, "watch": True, "when": {"n": n}}, "greedy.key", [n])
        for n in range(2, 2002)
    ]
    document = {"n": 0, **{f"member {n}": n for n in range(15_000)}}
    change = _framed(PUBLISH, 3000, {"retain": True}, "greedy.key", [document])
    return (_HELLO, b"".join(waiting), change, change)


@cache
def _calls() -> tuple[bytes, ...]:
    """A callee that never answers, and its own 5,000 calls, whose invocations nobody reads."""
    body = "x" * 4096
    calls = [_framed(CALL, n, {}, "greedy.slow", [body]) for n in range(2, 5002)]
    register = _framed(REGISTER, 1, {"concurrency": 100}, "greedy.slow")
    return (_HELLO, register, *(b"".join(calls[n : n + 500]) for n in range(0, 5000, 500)))


@cache
def _unread() -> tuple[bytes, ...]:
    """A subscriber of everything that reads nothing, of its own events of 1 MiB either."""
    everything = _framed(SUBSCRIBE, 1, {"match": "wildcard", "get_retained": True}, "...")
    own = _framed(SUBSCRIBE, 2, {"match": "prefix"}, "greedy.")
    options = {"exclude_me": False}
    event = _framed(PUBLISH, 3, options, "greedy.mib", ["x" * MIB])
    return (_HELLO, everything, own, *[event] * 60)


@cache
def _large() -> tuple[bytes, ...]:
    """Keys of 4 MiB, again and again."""
    return (_HELLO, *(_framed(PUBLISH, 1, {"retain": 5}, "greedy.large", ["x" * 4 * MIB]),) * 10)


KINDS: Final[dict[str, tuple[str, Callable[[], tuple[bytes, ...]]]]] = {
    "filters": ("mqtt", _many_filters),
    "bombs": ("websocket", _bombs),
    "endless messages": ("rawsocket", _endless),
    "conditions": ("rawsocket", _conditions),
    "unanswered calls": ("rawsocket", _calls),
    "unread events": ("rawsocket", _unread),
    "large keys": ("rawsocket", _large),
}
"""Listener and chunks of each kind but the crowd, which opens connections and says nothing."""

CROWD: Final = 300


class Greedy:
    """A sequence of greedy clients, one at a time. done: how many of each kind have sent all."""

    def __init__(self, broker: Broker, rng: Random) -> None:
        self._broker = broker
        self._rng = rng
        self._stopping = False
        self.done: Counter[str] = Counter()

    async def run(self) -> None:
        """Be one greedy client after the other; end after `stop`, with the client at that time."""
        while not self._stopping:
            kind = self._rng.choice((*KINDS, "crowd"))
            try:
                async with asyncio.timeout(PATIENCE):
                    await (self._crowd() if kind == "crowd" else self._be(*KINDS[kind]))
                self.done[kind] += 1
            except OSError:  # includes TimeoutError: the broker is down, or had enough of this one
                self.done[f"{kind}, cut off"] += 1
            await asyncio.sleep(AGAIN)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True

    async def _be(self, listener: str, chunks: Callable[[], tuple[bytes, ...]]) -> None:
        async with self._connected(listener) as writer:
            for chunk in chunks():
                for at in range(0, len(chunk), CHUNK):
                    writer.write(chunk[at : at + CHUNK])
                    await writer.drain()
            await self._linger()

    async def _crowd(self) -> None:
        ports = list(self._broker.ports.values())
        writers: list[StreamWriter] = []
        try:
            for _ in range(CROWD):
                port = self._rng.choice(ports)
                writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
            await self._linger()
        finally:
            for writer in writers:
                writer.transport.abort()

    async def _linger(self) -> None:
        if not self._stopping:
            await asyncio.sleep(self._rng.expovariate(1 / STAY))

    @asynccontextmanager
    async def _connected(self, listener: str) -> AsyncIterator[StreamWriter]:
        """Connect, and read nothing of what comes."""
        port = self._broker.ports[listener]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()
        try:
            yield writer
        finally:
            writer.transport.abort()
