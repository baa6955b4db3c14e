"""Programs with the client for asyncio, in the simulated world, with their connections' faults.

Owns: connecting the real client to simulated gateways, breaking and killing. Never: what programs
do (see the scenarios).

A program is a process of its own: its client runs in a `VirtualLoop`, as it is, over a transport
that carries WAMP in MessagePack over RawSocket.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from random import Random
from typing import Any, Final, final

from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.failures import CannotConnect, ConnectionLost
from fox_shard.client.realm import Realm
from fox_shard.client.transport import Transport
from fox_shard.gateway.transports.rawsocket import MAGIC, PING, PONG, SERIALIZERS, frame
from fox_shard.testing.virtual_loop import VirtualLoop
from fox_shard.testing.world import World

# What clients log is not shown, unless somebody wants it.
logging.getLogger("fox.client").addHandler(logging.NullHandler())

HEAD: Final = 4
"""Bytes before a message, and of the gateway's answer to the handshake."""

MSGPACK: Final = next(number for number, name in SERIALIZERS.items() if name == "wamp.2.msgpack")

BUFFER: Final = 1 << 20
"""Bytes that may wait for a program's readers."""

PATIENCE: Final = 4.0
"""Seconds of silence after which a program's connection counts as lost."""

CHECKS: Final = 4
"""How often in this time the client looks whether the gateway is silent."""


@final
class Line:
    """A `Transport` to a gateway, which gives up a silent gateway as the WebSocket does."""

    longest: float = 16 << 20

    def __init__(self, world: World, gateway: int, loop: VirtualLoop) -> None:
        self._loop = loop
        self._messages: deque[bytes] = deque()
        self._buffer = b""
        self._greeted = False
        self._why = ""
        self._arrived = asyncio.Event()
        self._heard = loop.time()
        self.wire = world.connect(gateway, "rawsocket", self._received, self.closed)
        self.wire.send(bytes((MAGIC, 0xF0 | MSGPACK, 0, 0)))
        self._timer = loop.call_later(PATIENCE / CHECKS, self._look)

    async def send(self, data: bytes) -> None:
        """Send a message."""
        self._check()
        self.wire.send(frame(data))

    async def receive(self) -> bytes:
        """Wait for the next message and return it."""
        while not self._messages:
            self._check()
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.popleft()

    async def close(self) -> None:
        """Close the connection."""
        self._lose("The program has closed the connection.")
        self.wire.close()

    def _check(self) -> None:
        if self._why:
            raise ConnectionLost(self._why)

    def _lose(self, why: str) -> None:
        self._why = self._why or why
        self._timer.cancel()
        self._arrived.set()

    def _look(self) -> None:
        silence = self._loop.time() - self._heard
        if silence >= PATIENCE:
            self._lose("The gateway does not answer any more.")
            self.wire.close()
            return
        self._timer = self._loop.call_later(PATIENCE / CHECKS, self._look)
        if silence >= PATIENCE / CHECKS:
            self.wire.send(bytes((PING, 0, 0, 0)))

    # What the world calls: in the process, only in its own time.

    def closed(self) -> None:
        """Let the program notice that the gateway has closed the connection, or died."""
        self._loop.call_soon(self._lose, "The gateway has closed the connection.")

    def _received(self, data: bytes) -> None:
        self._loop.call_soon(self._take, data)

    def _take(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._buffer += data
        if not self._greeted and len(self._buffer) >= HEAD:
            self._greeted = True
            self._buffer = self._buffer[HEAD:]
        while self._greeted and len(self._buffer) >= HEAD:
            end = HEAD + int.from_bytes(self._buffer[1:HEAD], "big")
            if len(self._buffer) < end:
                break
            kind, message = self._buffer[0], self._buffer[HEAD:end]
            self._buffer = self._buffer[end:]
            if kind == PING:
                self.wire.send(bytes((PONG,)) + len(message).to_bytes(3, "big") + message)
            elif kind != PONG:
                self._messages.append(message)
                self._arrived.set()


@final
class Program:
    """A process with a client. running: those of its tasks that have not ended."""

    def __init__(self, world: World, name: str, realm: str = "realm1") -> None:
        self.world = world
        self.name = name
        self.rng = Random(f"{name} {world.seed}")
        self.loop = VirtualLoop(world.timing, self._failed)  # type: ignore[abstract]
        self.running: set[asyncio.Task[None]] = set()
        self._line: Line | None = None
        # From when until when the process has stood still.
        self._pauses: list[tuple[float, float]] = []
        core = ClientCore(realm, None, self.rng.random)
        self.engine = Engine(core, self._dial, Backoff(self.rng.random), BUFFER)
        self.realm = Realm(self.engine)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let the program do something beside everything else that it does."""
        task = self.loop.begin(coroutine)
        self.running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not self.loop.is_closed() and not task.cancelled() and task.exception() is not None:
            self._failed(f"{task.exception()!r}")

    def _failed(self, what: str) -> None:
        self.world.check(False, f"{self.name} has failed: {what}")  # noqa: FBT003 - it always raises

    async def _dial(self) -> Transport:
        await asyncio.sleep(self.world.timing.delay())
        number = self.rng.randrange(self.world.gateways)
        if self.world.gateway_name(number) not in self.world.nodes:
            raise CannotConnect("The gateway does not run.")
        self._line = Line(self.world, number, self.loop)
        return self._line

    # Faults

    def drop(self) -> None:
        """Let the connection break, as both ends notice."""
        line = self._line
        if line is not None:
            self.world.note(f"{self.name} is disconnected")
            line.wire.close()
            line.closed()

    def isolate(self, seconds: float) -> None:
        """Let the connection carry nothing any more. seconds: after which the gateway notices."""
        line = self._line
        if line is not None:
            self.world.note(f"{self.name} is cut off")
            line.wire.cut()
            self.world.at(self.world.now + seconds, line.wire.close)

    def pause(self, seconds: float) -> None:
        """Let the process stand still."""
        self.world.note(f"{self.name} is paused for {seconds:.1f} s")
        self._pauses.append((self.world.now, self.world.now + seconds))
        self.loop.pause(seconds)

    def paused_between(self, since: float, until: float) -> float:
        """Return for how many seconds of that time the process has stood still, at most."""
        return sum(max(0.0, min(until, end) - max(since, begin)) for begin, end in self._pauses)

    def end(self) -> None:
        """End the process, as SIGKILL does; its connection is closed."""
        if self._line is not None:
            self._line.wire.close()
        self.loop.die()
