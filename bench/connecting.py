"""The price of a connection: clients that join at a steady pace, and many that come back at once.

Owns: opening connections, and what they cost. Never: protocols' bytes, starting servers.
"""

import select
import socket
import time
from collections.abc import Callable

from bench.measure import Cost, cost, cpu_seconds, percentile, sample
from bench.mqtt_load import connect_packet
from bench.servers import Server

RATE = 100.0  # connections per second of the steady pace
_AT_ONCE = 500  # connections of a storm that are being opened at a time
_REST = 0.05  # seconds of CPU in half a second: the broker is at rest
_ACCEPTED = b"\x20\2\0\0"

Opener = Callable[[int], socket.socket]
"""Opens connection `number`, and returns it when the broker has let the client in."""


def steady(server: Server, open_one: Opener, seconds: float, warm: float) -> Cost:
    """Open RATE connections a second, which stay; latency: from connecting until let in."""
    held: list[socket.socket] = []
    waits: list[float] = []

    def go_on(duration: float) -> None:
        began = time.perf_counter()
        for number in range(round(duration * RATE)):
            due = began + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            at = time.perf_counter()
            held.append(open_one(len(held)))
            waits.append(time.perf_counter() - at)
        time.sleep(max(0.0, began + duration - time.perf_counter()))

    try:
        go_on(warm)
        waits.clear()
        before = sample(server.pids, len(held))
        go_on(seconds)
        found = cost(before, sample(server.pids, len(held)))
    finally:
        for sock in held:
            sock.close()
    waits.sort()
    return found._replace(p50=1e3 * percentile(waits, 0.5), p99=1e3 * percentile(waits, 0.99))


def _await_rest(server: Server) -> None:
    """Return when the broker has nothing left to do that the connections have caused."""
    used = cpu_seconds(server.pids)
    while True:
        time.sleep(0.5)
        before, used = used, cpu_seconds(server.pids)
        if used - before < _REST:
            return


def storm(server: Server, count: int) -> tuple[float, float]:
    """Let `count` MQTT clients connect, as fast as the broker lets them.

    Returns (seconds until all are in, CPU µs of the broker for each). Raises ConnectionError if the
    broker refuses one.
    """
    assert server.mqtt is not None
    waiting: dict[int, tuple[socket.socket, bytes]] = {}
    held: list[socket.socket] = []
    poll = select.epoll()
    before = sample(server.pids, 0)
    opened = 0
    try:
        while len(held) < count:
            while opened < count and len(waiting) < _AT_ONCE:
                sock = socket.create_connection(server.mqtt, timeout=60)
                sock.sendall(connect_packet(f"storm-{opened}"))
                waiting[sock.fileno()] = (sock, b"")
                poll.register(sock, select.EPOLLIN)
                opened += 1
            for descriptor, _ in poll.poll(60):
                sock, data = waiting[descriptor]
                data += sock.recv(4 - len(data))
                waiting[descriptor] = (sock, data)
                if data == _ACCEPTED:
                    del waiting[descriptor]
                    poll.unregister(sock)
                    held.append(sock)
                elif not _ACCEPTED.startswith(data) or not data:
                    raise ConnectionError("CONNECT was refused")
        seconds = time.perf_counter() - before.clock
        _await_rest(server)
        return seconds, cost(before, sample(server.pids, count)).broker
    finally:
        poll.close()
        for sock in [*held, *(sock for sock, _ in waiting.values())]:
            sock.close()
