"""Where a listener or a server is: a host and a port, or a path of this machine.

Owns: both forms, and reading them. Never: sockets.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Self

from msgspec import Struct

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

GATEWAY: Final = "{gateway}"
"""Stands for the gateway's number in the path of a UNIX socket, of which each has its own."""

PATH_LENGTH: Final = 107
"""Bytes of the longest path of a UNIX socket (unix(7))."""


class Address(Struct, frozen=True, tag=True):
    """A host name or IP address (IPv6 without brackets) and a port from 1 to 65535.

    Port 0: of a listener in one process only, any that is free.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, lowest: int = 1) -> Self:
        """Parse "host:port" or "[ipv6]:port". Raises ValueError if the text is neither.

        lowest: the lowest port that may be.
        """
        host, colon, port = text.rpartition(":")
        is_number = bool(colon) and re.fullmatch(r"[0-9]{1,5}", port) is not None
        if not is_number or not lowest <= int(port) <= 65535:
            raise ValueError(f"{text!r} has no port from 1 to 65535")
        if host.startswith("[") and host.endswith("]"):
            try:
                return cls(str(IPv6Address(host[1:-1])), int(port))
            except AddressValueError as error:
                raise ValueError(f"{host!r} is not an IPv6 address") from error
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is not a host")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixPath(Struct, frozen=True, tag=True):
    """The absolute path of a UNIX socket, in which GATEWAY stands for the gateway's number."""

    path: str

    def of_gateway(self, number: int | str) -> Self:
        """Return the path at which gateway `number` listens."""
        return type(self)(self.path.replace(GATEWAY, str(number)))

    def __str__(self) -> str:
        return f"unix:{self.path}"
