"""How clients of an application's web server get to the gateway in the same process.

Owns: whether one is let in, and what the gateway knows of its way. Never: ASGI; what a message
means.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from fox_shard.config import Address, Listener
from fox_shard.embedded.handing_over import UserOf
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.embedded.parts import Observe
from fox_shard.gateway.clients.access import UNIX, Access
from fox_shard.gateway.clients.web_user import WebUser
from fox_shard.gateway.core import Gateway

PAUSED: Final = "The router does not reach the whole server at the moment."


class Clients(Protocol):
    """The router, as its entrance sees it."""

    @property
    def gateway(self) -> Gateway | None:
        """The gateway; None: the router does not run."""

    @property
    def absence(self) -> str:
        """A sentence that says why the router does not run; "": it does."""

    @property
    def user_of(self) -> UserOf | None:
        """Tells who the web application has authenticated; None: nobody does."""

    @property
    def health_answers(self) -> Mapping[str, Callable[[], Mapping[str, object]]]:
        """The answers about all that is in this process, by name; {}: the router does not run."""

    @property
    def observe(self) -> Observe | None:
        """See `Parts`; to be asked while the router runs or starts."""

    def connect(self, client: Client) -> LocalConnection:
        """Connect a client to the gateway."""


class Closed(Exception):
    """Nobody is let in at the moment; the message is a sentence."""


def open_gateway(clients: Clients) -> Gateway:
    """Return the gateway, which is linked to the whole server. Raises Closed."""
    gateway = clients.gateway
    if gateway is None:
        raise Closed(clients.absence)
    if not gateway.linked:
        raise Closed(PAUSED)
    return gateway


def let_in(gateway: Gateway, host: str) -> Callable[[], None]:
    """Count a client from that host, and return what counts it out again. Raises Closed."""
    why = gateway.admission.admit(host, gateway.settings, asyncio.get_running_loop().time())
    if why:
        gateway.limit_counts.add(why)
        raise Closed("There are too many connections.")
    return lambda: gateway.admission.leave(host)


def access_of(scope: Mapping[str, Any], user: WebUser | None) -> Access:
    """Return the way of a client of the web server, of which its scope (ASGI) tells the address.

    user: whom the web application has authenticated; None: nobody.
    """
    host, port = scope.get("server") or ("", 0)
    listener = Listener(protocol="websocket", address=Address(str(host), port or 0))
    return Access(listener=listener, web_user=user)


def peer_of(scope: Mapping[str, Any]) -> str:
    """Return the address of the client, "host:port"."""
    host, port = scope.get("client") or (UNIX, 0)
    return f"{host or UNIX}:{port}"
