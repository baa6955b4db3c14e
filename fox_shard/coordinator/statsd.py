"""StatsD: sends the coordinator's metrics over UDP.

Owns: the socket, the daemon's address, the lines that StatsD reads. Never: sums (see `metrics`).
Failures of the daemon, the network or the name service are logged and never reach the caller.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Iterable, Iterator
from typing import final

from fox_shard.config import Address
from fox_shard.coordinator.metrics import Value

MTU_PAYLOAD = 1432
"""Bytes in a datagram: an Ethernet frame less IPv6, UDP and perhaps tunnel headers."""

RESOLVE_AGAIN = 60.0
"""Seconds after which the host name is looked up again, because the daemon may have moved."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_AN_OWNER = re.compile(r"[^A-Za-z0-9_-]")

_log = logging.getLogger(__name__)


def clean(owner: str, name: str) -> str:
    """Return a metric's name in the form that StatsD and Graphite accept.

    Characters other than letters, digits, `_`, `-` and dots become `_`. So do dots within the name
    of its owner, because dots separate levels: `publishes` of the realm `com.example` becomes
    `com_example.publishes`.
    """
    return f"{_NOT_IN_AN_OWNER.sub('_', owner)}.{_NOT_IN_A_NAME.sub('_', name)}"


@final
class _Socket:
    """A UDP socket connected to the daemon: only then does the kernel report ICMP errors."""

    def __init__(self, family: int, host: str, port: int) -> None:
        """host: a numeric address, as a name would block the event loop. Raises OSError."""
        self.error: OSError | None = None
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.settimeout(0)  # never block the event loop
            self._socket.connect((host, port))
        except OSError:
            self.close()
            raise

    def forget_error(self) -> None:
        """Begin again: `error` is from now on that of what is sent."""
        self.error = None

    def send(self, datagram: bytes) -> None:
        """Send one datagram.

        A connected socket reports the ICMP error of an earlier datagram instead of sending this
        one, so a second attempt follows.
        """
        for _ in range(2):
            try:
                self._socket.send(datagram)
                return
            except ConnectionRefusedError as error:
                self.error = error
            except OSError as error:
                self.error = error
                return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def datagrams(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines in as few datagrams as possible, in order."""
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        if waiting and size + 1 + len(line) > MTU_PAYLOAD:
            yield b"\n".join(waiting)
            waiting, size = [], 0
        size += len(line) + (1 if waiting else 0)
        waiting.append(line)
    if waiting:
        yield b"\n".join(waiting)


@final
class Sender:
    """Sends metrics to the StatsD daemon at `address`. prefix: begins all names."""

    def __init__(self, address: Address, prefix: str) -> None:
        self._address = address
        self._prefix = f"{prefix.strip('.')}." if prefix.strip(".") else ""
        self._socket: _Socket | None = None
        self._resolved = 0.0
        self._failing = False

    async def send(self, values: Iterable[Value]) -> None:
        """Send the values of one interval in as few datagrams as possible.

        Values that cannot be sent are lost; the log says when that begins and ends.
        """
        try:
            daemon = await self._connected()
        except (OSError, UnicodeError) as error:  # UnicodeError: the host is not a legal name
            self._failed(error)
            return
        daemon.forget_error()
        for datagram in datagrams(self._line(*value) for value in values):
            daemon.send(datagram)
        if daemon.error is None:
            self._works()
        else:
            self._failed(daemon.error)

    def close(self) -> None:
        """Close the socket, if there is one; a later `send` opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _connected(self) -> _Socket:
        """Return a socket for the daemon's current address. Raises OSError, UnicodeError."""
        loop = asyncio.get_running_loop()
        if self._socket is not None and loop.time() < self._resolved + RESOLVE_AGAIN:
            return self._socket
        self._resolved = loop.time()
        try:
            family, host = await self._resolve(loop)
        except OSError:
            # The name service may fail while the daemon still works.
            if self._socket is not None:
                return self._socket
            raise
        daemon = _Socket(family, host, self._address.port)
        self.close()
        self._socket = daemon
        return daemon

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> tuple[int, str]:
        """Return (family, numeric address), preferring IPv4, where most daemons listen."""
        host, port = self._address.host, self._address.port
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, _, _, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return family, str(where[0])

    def _line(self, owner: str, name: str, value: int, kind: str) -> bytes:
        """Return what StatsD reads: `name:value|c`, or with `g`."""
        return f"{self._prefix}{clean(owner, name)}:{value}|{kind}".encode("ascii")

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            _log.warning("StatsD at %s does not receive the metrics: %s", self._address, error)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            _log.info("StatsD at %s receives the metrics again", self._address)
