"""The generator's loop: all connections of a run in one thread, on one epoll.

Owns: sockets, bytes that are still to be written. Never: protocols.
"""

import select
import socket
from collections.abc import Callable

_READ = 65536


class Closed(Exception):
    """The broker closed a connection."""


class Loop:
    """An event loop that calls each connection when its socket can be read or written."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}

    def add(self, sock: socket.socket) -> "Connection":
        """Add a connected socket whose handshake is done, and return its connection."""
        connection = Connection(sock, self._epoll)
        self._connections[sock.fileno()] = connection
        return connection

    def turn(self, timeout: float) -> int:
        """Wait up to `timeout` seconds, and return the number of connections that were called."""
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
    """A non-blocking socket.

    on_bytes: called with the bytes that have arrived; returns how many of them it has handled. The
    others are passed again, together with those that arrive later.
    """

    def __init__(self, sock: socket.socket, epoll: select.epoll) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.on_bytes: Callable[[bytes], int] = len
        self._tail = b""
        self._unsent = b""
        self._epoll = epoll
        epoll.register(sock.fileno(), select.EPOLLIN)

    def read(self) -> None:
        """Read once, and pass the bytes to `on_bytes`. Raises Closed."""
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
        """Write with one system call; bytes that the kernel does not take wait for EPOLLOUT."""
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
        """Write the bytes that the kernel has not taken before."""
        self._unsent = self._unsent[self.sock.send(self._unsent) :]
        if not self._unsent:
            self._epoll.modify(self.sock.fileno(), select.EPOLLIN)
