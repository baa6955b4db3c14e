"""StatsD: sends the coordinator's metrics over UDP.

Owns: the socket, the daemon's address, the names StatsD can read. Never: sums (see `metrics`).
Failures of the daemon, the network or the name service are logged and never reach the caller.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Collection, Iterable
from typing import final

from statsd import StatsClient

from fox_shard.config import Address
from fox_shard.coordinator.metrics import Value

MTU_PAYLOAD = 1432
"""Bytes in a datagram: an Ethernet frame less IPv6, UDP and perhaps tunnel headers."""

RESOLVE_AGAIN = 60.0
"""Seconds after which the host name is looked up again, because the daemon may have moved."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_A_REALM = re.compile(r"[^A-Za-z0-9_-]")

_log = logging.getLogger(__name__)


@final
class Names:
    """The names of metrics in the form that StatsD and Graphite accept.

    Characters other than letters, digits, `_`, `-` and dots become `_`. So do dots within a realm's
    name, because dots separate levels: `com.example.publishes` of the realm `com.example` becomes
    `com_example.publishes`, beside `realm1.publishes`.
    """

    def __init__(self, realms: Collection[str]) -> None:
        # Longest first, because one realm's name may begin another's: `com.example`, then `com`.
        self._realms = sorted(realms, key=lambda realm: (-len(realm), realm))

    def clean(self, name: str) -> str:
        """Return the name to send."""
        for realm in self._realms:
            if name.startswith(f"{realm}."):
                rest = name[len(realm) :]
                return _NOT_IN_A_REALM.sub("_", realm) + _NOT_IN_A_NAME.sub("_", rest)
        return _NOT_IN_A_NAME.sub("_", name)


@final
class _Client(StatsClient):  # type: ignore[misc]  # the library has no types
    """The library's client, which also reports failures.

    The socket is connected, because only then does the kernel report ICMP errors. The host must be
    a numeric address, because the library would block the event loop to resolve a name.
    """

    def __init__(self, family: int, host: str, port: int, prefix: str) -> None:
        ipv6 = family == socket.AF_INET6
        super().__init__(host, port, prefix or None, MTU_PAYLOAD, ipv6)
        self.error: OSError | None = None
        self._sock.settimeout(0)  # never block the event loop
        try:
            self._sock.connect(self._addr)
        except OSError:
            self.close()
            raise

    def forget_error(self) -> None:
        """Begin again: `error` is from now on that of what is sent."""
        self.error = None

    def _send(self, data: str) -> None:
        """Send one datagram; called by the library.

        A connected socket reports the ICMP error of an earlier datagram instead of sending this
        one, so a second attempt follows.
        """
        for _ in range(2):
            try:
                self._sock.send(data.encode("ascii"))
                return
            except ConnectionRefusedError as error:
                self.error = error
            except OSError as error:
                self.error = error
                return


@final
class Sender:
    """Sends metrics to the StatsD daemon at `address`. prefix: begins all names."""

    def __init__(self, address: Address, prefix: str, realms: Collection[str]) -> None:
        self._address = address
        self._prefix = prefix.strip(".")
        self._names = Names(realms)
        self._client: _Client | None = None
        self._resolved = 0.0
        self._failing = False

    async def send(self, values: Iterable[Value]) -> None:
        """Send the values of one interval in as few datagrams as possible.

        Values that cannot be sent are lost; the log says when that begins and ends.
        """
        try:
            client = await self._connected()
            client.forget_error()
            self._send_all(client, values)
        except (OSError, UnicodeError) as error:  # UnicodeError: the host is not a legal name
            self._failed(error)
            return
        if client.error is None:
            self._works()
        else:
            self._failed(client.error)

    def close(self) -> None:
        """Close the socket, if there is one; a later `send` opens a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _connected(self) -> _Client:
        """Return the client for the daemon's current address. Raises OSError, UnicodeError."""
        loop = asyncio.get_running_loop()
        if self._client is not None and loop.time() < self._resolved + RESOLVE_AGAIN:
            return self._client
        self._resolved = loop.time()
        try:
            family, host = await self._resolve(loop)
        except OSError:
            # The name service may fail while the daemon still works.
            if self._client is not None:
                return self._client
            raise
        client = _Client(family, host, self._address.port, self._prefix)
        self.close()
        self._client = client
        return client

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> tuple[int, str]:
        """Return (family, numeric address), preferring IPv4, where most daemons listen."""
        host, port = self._address.host, self._address.port
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, _, _, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return family, str(where[0])

    def _send_all(self, client: _Client, values: Iterable[Value]) -> None:
        pipe = client.pipeline()
        for name, value, kind in values:
            name = self._names.clean(name)
            if kind == "c":
                pipe.incr(name, value)
            else:
                pipe.gauge(name, value)
        pipe.send()

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            _log.warning("StatsD at %s does not receive the metrics: %s", self._address, error)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            _log.info("StatsD at %s receives the metrics again", self._address)
