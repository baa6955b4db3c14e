"""The address of a server on this machine, from its configuration.

Owns: the URL. Never: connections.
"""

from typing import Final

from fox_shard.config import Address

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where to reach a server that listens at all addresses."""


def url_of(address: Address) -> str:
    """Return the URL of the WebSocket listener with that address."""
    return f"ws://{Address(_ANY.get(address.host, address.host), address.port)}/ws"
