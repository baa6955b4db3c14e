"""Listening sockets, which all gateways share.

Owns: their addresses and options, and why one cannot be opened. Never: clients.
"""

import errno
import socket

from fox_shard.config import Address
from fox_shard.errors import StartError
from fox_shard.gateway.sockets.ports import AddressTaken, Claims

# A client whose machine has vanished is found after 40 seconds, whatever its protocol: by the
# kernel's probes, after 20 + 4 * 5 seconds, or, if something was sent to it meanwhile, by
# TCP_USER_TIMEOUT (milliseconds), which without probes covers only what was sent.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 40_000),
)


class ListenError(StartError):
    """A listener cannot be opened. The message is one sentence for people."""


def listening_sockets(
    address: Address, claims: Claims | None = None, setting: str = ""
) -> list[socket.socket]:
    """Return one socket for each IP address of the host, which may be a name with several.

    Other gateways bind the same addresses, and the kernel spreads new clients over them
    (SO_REUSEPORT). Accepted sockets inherit the options that are set here (tcp(7)). claims: this
    gateway's. setting: the name of the setting with the address. Raises ListenError.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, place in dict.fromkeys(found):
            if claims is not None and address.port:
                claims.add(str(place[0]), address.port)
            bound = socket.socket(family, kind, protocol)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for option in _KEEPALIVE:
                bound.setsockopt(*option)
            bound.bind(place)
    except (OSError, AddressTaken) as error:
        for bound in sockets:
            bound.close()
        raise refusal_of(address, error, setting) from error
    return sockets


def refusal_of(address: Address, error: OSError | AddressTaken, setting: str = "") -> ListenError:
    """Return the sentence that says why the address cannot be listened at.

    setting: the name of the setting by which it can be changed.
    """
    elsewhere = "set another port"
    if setting:
        elsewhere += f" with {setting} or FOX_{setting.replace('.', '_').upper()}"
    if isinstance(error, AddressTaken):
        return ListenError(
            f"Cannot listen at {address}: another fox-shard, whose run directory is {error.owner}, "
            f"listens there; stop it, or {elsewhere}."
        )
    if error.errno == errno.EADDRINUSE and setting:
        return ListenError(
            f"Cannot listen at {address}: another program listens there; stop it, or {elsewhere}."
        )
    return ListenError(f"Cannot listen at {address}: {error.strerror or error}.")
