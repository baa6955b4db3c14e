"""How a client has reached the gateway.

Owns: what the client's listener, its TLS and a proxy in front say of it. Never: sockets, users.
"""

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from msgspec import Struct
from msgspec.structs import replace

from fox_shard.config import Address, Listener
from fox_shard.gateway.clients.web_user import WebUser

UNIX = "unix"
"""The address of all clients that come by a UNIX socket."""


class Access(Struct, frozen=True, kw_only=True, dict=True):
    """The way of one client, or, without what only its connection knows, of all of a listener.

    proxied: a proxy that is trusted has named the client's address. user: the name in its
    certificate, which was verified; None: it has shown none. channel_binding: `tls-unique` (RFC
    5929) of its connection; empty: there is none. application: it is the application in whose
    process the gateway runs. web_user: whom a web application has authenticated, which has handed
    the client over; None: nobody.
    """

    listener: Listener
    proxied: bool = False
    user: str | None = None
    channel_binding: bytes = b""
    application: bool = False
    web_user: WebUser | None = None

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine, which may be browsers, can come this way."""
        address = self.listener.address
        return isinstance(address, Address) and is_loopback(address.host) and not self.proxied

    def of_proxied(self) -> "Access":
        """Return the access of a client that a proxy has named."""
        return replace(self, proxied=True)

    @cached_property
    def _networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(network) for network in self.listener.trusted_proxies)

    def trusts(self, host: str) -> bool:
        """Whether the host is a proxy that may say for whom it speaks."""
        if host == UNIX:
            # Whoever may open the socket is trusted: its mode decides.
            return True
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def is_loopback(host: str) -> bool:
    """Whether the name or address always means this machine."""
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
