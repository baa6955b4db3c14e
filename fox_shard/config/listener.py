"""One [[listener]]: where clients come in, besides the three of [gateway].

Owns: the struct. Never: reading it (see `listeners`), sockets, the contents of certificates.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from fox_shard.config.address import Address, UnixPath

Protocol = Literal["websocket", "rawsocket", "mqtt"]

LOOPBACK = ("127.0.0.0/8", "::1/128")


class Listener(Struct, frozen=True, kw_only=True):
    """One [[listener]].

    certificate, key: PEM files, with which the listener speaks TLS; "": it does not. `load` makes
    paths absolute. client_certificate: whether clients show a certificate that `ca`, a PEM file
    with one or more authorities, has signed. certificate_user: which name in it is the user's.
    mode: permissions of a UNIX socket, in octal. proxy_protocol: each connection begins with a
    header of the PROXY protocol. forwarded: the HTTP header that says who the client is.
    trusted_proxies: networks from which both are believed.
    """

    protocol: Protocol
    address: Address | UnixPath
    certificate: str = ""
    key: str = ""
    client_certificate: Literal["off", "optional", "required"] = "off"
    ca: str = ""
    certificate_user: Literal["cn", "dns", "email", "uri"] = "cn"
    mode: Annotated[str, Meta(pattern=r"^0[0-7]{3}$")] = "0660"
    proxy_protocol: bool = False
    forwarded: Literal["off", "x-forwarded-for", "forwarded"] = "off"
    trusted_proxies: tuple[str, ...] = LOOPBACK

    @property
    def encrypts(self) -> bool:
        """Whether the listener speaks TLS."""
        return bool(self.certificate)

    @property
    def scheme(self) -> str:
        """The short name of what it speaks, as in URLs: mqtt or mqtts, ws or wss, rs or rss."""
        plain = {"websocket": "ws", "rawsocket": "rs", "mqtt": "mqtt"}[self.protocol]
        return f"{plain}s" if self.encrypts else plain
