"""The loads: publishing, subscribing, calling.

Owns: which clients there are, and what each does. Never: how they are connected.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, NamedTuple, TypeVar

from fox_shard.bench.client import Client
from fox_shard.bench.driving import Pace, drive
from fox_shard.bench.latencies import Latencies
from fox_shard.bench.measured import Measured, Receiving, Sending, received_by
from fox_shard.bench.message import Stamp, arguments_of
from fox_shard.bench.wamp import WampClient

QUIET: Final = 2.0
"""Seconds without a message after which those that are missing are lost."""

LOOK: Final = 0.05
"""Seconds between two looks at what has come."""

NUMBER: Final = "%i"
"""What stands for a client's number in a topic."""

Connect = Callable[[], Awaitable[Client]]
AnyClient = TypeVar("AnyClient", bound=Client)

Counts = Mapping[str, Callable[[], int]]
"""What a load counts, by a word for it."""


class Publishing(NamedTuple):
    """`fox bench pub`."""

    pace: Pace
    topic: str
    qos: int
    size: int
    subscribers: int


class Subscribing(NamedTuple):
    """`fox bench sub`. seconds: None: until Ctrl-C."""

    clients: int
    pattern: str
    qos: int
    seconds: float | None


class Calling(NamedTuple):
    """`fox bench call`. procedure: "": one that the callees register for this load alone."""

    pace: Pace
    procedure: str
    size: int
    callees: int


class Watch(NamedTuple):
    """What a load is told, and tells. begins: called with what the load counts, once it begins."""

    run: str
    stop: asyncio.Event
    begins: Callable[[Counts], None]


async def publish(load: Publishing, connect: Connect, watch: Watch) -> Measured:
    """Publish; with subscribers, wait until they have got everything. Raises Failure."""
    sending, latencies = Sending(load.pace.rate), Latencies()
    receivers = [Receiving(watch.run, latencies) for _ in range(load.subscribers)]
    async with AsyncExitStack() as stack:
        for receiver in receivers:
            subscriber = await _connected(connect, stack)
            await subscriber.subscribe(pattern_of(load.topic), _taker(receiver), load.qos)
        clients = [await _connected(connect, stack) for _ in range(load.pace.clients)]
        topics = [load.topic.replace(NUMBER, str(number)) for number in range(len(clients))]
        counts = {"sent": lambda: sending.count, "received": lambda: _count(receivers)}
        watch.begins(counts)

        async def send(client: int, number: int) -> None:
            stamp = Stamp(watch.run, client, number, microseconds())
            args = arguments_of(stamp, load.size)
            await clients[client].publish(topics[client], args, load.qos)

        used = time.process_time()
        seconds = await drive(load.pace, send, sending, watch.stop)
        cores = share_of(time.process_time() - used, seconds)
        expected = sending.count - sending.failed
        await _until_received(receivers, expected)
    received = received_by(receivers, latencies, seconds, expected) if receivers else None
    sent = sending.result(seconds, timed=load.qos > 0)
    return Measured("pub", round(seconds, 3), load.pace.clients, cores, sent, received)


async def subscribe(load: Subscribing, connect: Connect, watch: Watch) -> Measured:
    """Subscribe, until the time is up or the watch stops. Raises Failure.

    The rate is that between the first message and the last one.
    """
    latencies = Latencies()
    receivers = [Receiving(None, latencies) for _ in range(load.clients)]
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def taker(receiver: Receiving) -> Callable[[Sequence[object]], None]:
        take = _taker(receiver)

        def note(args: Sequence[object]) -> None:
            take(args)
            times[1:] = [loop.time()]

        return note

    async with AsyncExitStack() as stack:
        for receiver in receivers:
            client = await _connected(connect, stack)
            await client.subscribe(load.pattern, taker(receiver), load.qos)
        watch.begins({"received": lambda: _count(receivers)})
        used, began = time.process_time(), loop.time()
        try:
            async with asyncio.timeout(load.seconds):
                await watch.stop.wait()
        except TimeoutError:
            pass
        cores = share_of(time.process_time() - used, loop.time() - began)
    seconds = max(times[-1] - times[0], 0.001) if times else 0.001
    received = received_by(receivers, latencies, seconds, None)
    return Measured("sub", round(seconds, 3), load.clients, cores, None, received)


async def call(
    load: Calling, connect: Callable[[], Awaitable[WampClient]], watch: Watch
) -> Measured:
    """Call a procedure, which callees of this load answer, if there are any. Raises Failure."""
    sending = Sending(load.pace.rate)
    procedure = load.procedure or f"fox-bench.{watch.run}.echo"
    async with AsyncExitStack() as stack:
        for _ in range(load.callees):
            callee = await _connected(connect, stack)
            await callee.register_echo(procedure)
        clients = [await _connected(connect, stack) for _ in range(load.pace.clients)]
        watch.begins({"answered": lambda: sending.answered})

        async def send(client: int, number: int) -> None:
            stamp = Stamp(watch.run, client, number, microseconds())
            await clients[client].call(procedure, arguments_of(stamp, load.size))

        used = time.process_time()
        seconds = await drive(load.pace, send, sending, watch.stop)
        cores = share_of(time.process_time() - used, seconds)
    return Measured("call", round(seconds, 3), load.pace.clients, cores, sending.result(seconds))


def pattern_of(topic: str) -> str:
    """Return the pattern of all topics that a load publishes to."""
    parts = topic.split(".")
    return ".".join("*" if NUMBER in part else part for part in parts)


def share_of(processor: float, seconds: float) -> float:
    """Return the share of a core. processor: the processor's seconds that were used."""
    return round(processor / max(seconds, 1e-3), 2)


def microseconds() -> int:
    """Return the time since 1970, by which other processes tell how long a message took."""
    return time.time_ns() // 1000


def _taker(receiver: Receiving) -> Callable[[Sequence[object]], None]:
    return lambda args: receiver.take(list(args), microseconds())


def _count(receivers: Sequence[Receiving]) -> int:
    return sum(one.count for one in receivers)


async def _connected(
    connect: Callable[[], Awaitable[AnyClient]], stack: AsyncExitStack
) -> AnyClient:
    client = await connect()
    stack.push_async_callback(client.close)
    return client


async def _until_received(receivers: Sequence[Receiving], expected: int) -> None:
    """Return when everything has come, or nothing has come for a while."""
    loop = asyncio.get_running_loop()
    before, since = -1, loop.time()
    while any(one.count < expected for one in receivers):
        count = _count(receivers)
        if count != before:
            before, since = count, loop.time()
        elif loop.time() - since >= QUIET:
            return
        await asyncio.sleep(LOOK)
