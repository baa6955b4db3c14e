"""The address of a server on this machine, from its configuration.

Owns: the URL. Never: connections.
"""

from typing import Final

from fox_shard.config import Address, Config

UNIX: Final = "unix:"
"""What the URL of a UNIX socket begins with."""

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where to reach a server that listens at all addresses."""


def url_of(config: Config) -> str | None:
    """Return the URL of a WebSocket listener that any program of this machine can use, if any.

    That of gateway.websocket, or else the first [[listener]] without TLS, whose certificate may be
    for another name, and without a proxy. Of a UNIX socket, that of the first gateway.
    """
    if config.gateway.websocket is not None:
        return _url(config.gateway.websocket)
    for listener in config.listeners:
        if listener.protocol == "websocket" and not (listener.encrypts or listener.proxy_protocol):
            address = listener.address
            return _url(address) if isinstance(address, Address) else str(address.of_gateway(0))
    return None


def _url(address: Address) -> str:
    return f"ws://{Address(_ANY.get(address.host, address.host), address.port)}/ws"
