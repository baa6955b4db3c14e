"""The generator's loop: all connections of a run in one thread, on one epoll.

Owns: sockets, what is still to be written. Never: protocols.
"""

import select
import socket
from collections.abc import Callable

_READ = 65536


class Closed(Exception):
    """The broker closed a connection."""


class Loop:
    """Calls each connection that can be read or written."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}

    def add(self, sock: socket.socket) -> "Connection":
        """Take over a connected socket whose handshake is done."""
        connection = Connection(sock, self._epoll)
        self._connections[sock.fileno()] = connection
        return connection

    def turn(self, timeout: float) -> int:
        """Wait up to `timeout` seconds; returns how many connections had something to do."""
        connections = self._connections
        ready = self._epoll.poll(timeout)
        for descriptor, events in ready:
            connection = connections[descriptor]
            if events & select.EPOLLOUT:
                connection.flush()
            if events & ~select.EPOLLOUT:
                connection.read()
        return len(ready)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.sock.close()
        self._epoll.close()


class Connection:
    """One socket, not blocking. `on_bytes` gets what came and returns how much of it it took."""

    def __init__(self, sock: socket.socket, epoll: select.epoll) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.on_bytes: Callable[[bytes], int] = len
        self._tail = b""
        self._unsent = b""
        self._epoll = epoll
        epoll.register(sock.fileno(), select.EPOLLIN)

    def read(self) -> None:
        """Read once and hand on."""
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        if not data:
            raise Closed("the broker closed a connection")
        if self._tail:
            data = self._tail + data
        taken = self.on_bytes(data)
        self._tail = data[taken:] if taken < len(data) else b""

    def send(self, parts: list[bytes | memoryview]) -> None:
        """Write with one system call; what the kernel does not take waits for EPOLLOUT."""
        if self._unsent:
            self._unsent += b"".join(parts)
            return
        try:
            sent = self.sock.send(parts[0]) if len(parts) == 1 else self.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        if sent != sum(map(len, parts)):
            self._unsent = b"".join(parts)[sent:]
            self._epoll.modify(self.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def flush(self) -> None:
        """Go on with what was not taken before."""
        self._unsent = self._unsent[self.sock.send(self._unsent) :]
        if not self._unsent:
            self._epoll.modify(self.sock.fileno(), select.EPOLLIN)
