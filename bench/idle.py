"""The cost of a broker at rest: memory per idle connection, CPU while nothing happens.

Owns: these two measurements. Never: load.
"""

import resource
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from bench import mqtt_load, wamp_load
from bench.measure import cpu_seconds, memory_kib
from bench.servers import Server

_FIRST = 100  # connections opened before the measured ones, which cause one-time allocations
_SETTLE = 2.0  # seconds


class Memory(NamedTuple):
    """Growth of the proportional set size of all processes, in KiB per connection."""

    server: str
    protocol: str
    connections: int
    kib: float


def memory(server: Server, connections: int) -> list[Memory]:
    """Measure the memory of `connections` idle connections of each protocol of the server."""
    measured: list[Memory] = []
    # All connections stay open to the end: memory freed after one protocol would be used by the
    # next one, and so not be measured.
    held: list[socket.socket] = []
    for protocol, open_one in _openers(server).items():
        _open(held, open_one, _FIRST)
        before = memory_kib(server.pids)
        _open(held, open_one, connections)
        growth = memory_kib(server.pids) - before
        measured.append(Memory(server.name, protocol, connections, growth / connections))
    for sock in held:
        sock.close()
    return measured


def idle(server: Server, seconds: float, connections: int = 10) -> float:
    """Return the CPU use, in percent of one core, with idle connections of each protocol."""
    held: list[socket.socket] = []
    for open_one in _openers(server).values():
        _open(held, open_one, connections)
    before = cpu_seconds(server.pids)
    time.sleep(seconds)
    used = cpu_seconds(server.pids) - before
    for sock in held:
        sock.close()
    return 100 * used / seconds


def raise_descriptor_limit() -> None:
    """Raise the limit of open files, for this process and the brokers it starts, to the maximum."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _openers(server: Server) -> dict[str, Callable[[int], socket.socket]]:
    openers: dict[str, Callable[[int], socket.socket]] = {}
    if (mqtt := server.mqtt) is not None:
        openers["mqtt"] = lambda number: mqtt_load.connect(mqtt, f"bench-idle-{number}")
    if (wamp := server.wamp) is not None:
        openers["wamp"] = lambda _: wamp_load.Session(wamp, wamp_load.JSON).sock
    return openers


def _open(held: list[socket.socket], open_one: Callable[[int], socket.socket], count: int) -> None:
    for number in range(len(held), len(held) + count):
        held.append(open_one(number))
    time.sleep(_SETTLE)
