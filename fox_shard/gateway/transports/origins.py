"""Which web pages may open a WebSocket (RFC 6455 10.2).

Owns: the rule. Never: sockets, HTTP.

Every page on the web can reach the servers at 127.0.0.1 of whoever looks at it, and its browser
sends the page's origin. Other clients send none, and are not limited by this rule.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from fox_shard.gateway.clients.access import is_loopback


def is_allowed(origin: str, host: str, allowed: Collection[str], *, is_local: bool) -> bool:
    """Whether a page of this origin may connect.

    origin, host: the headers. allowed: what `gateway.allowed_origins` adds. is_local: whether only
    this machine reaches the listener, and no proxy has said that the client is elsewhere.

    A listener that only this machine reaches is for pages of this machine, at whatever port. The
    header Host does not count there: a name on the web may point to 127.0.0.1. Any other listener
    is for pages of the host and port that the client has connected to.
    """
    if "*" in allowed or origin in allowed:
        return True
    _, scheme_ends, authority = origin.partition("://")
    if not scheme_ends:
        return False
    if is_local:
        return is_loopback(hostname(authority))
    return authority.lower() == host.lower()


def is_local_server(scope: Mapping[str, Any]) -> bool:
    """Whether a client of a web server has come to an address that only this machine reaches.

    scope: of ASGI. The address of the client does not matter, although a proxy may have said it:
    many web servers believe what any program of this machine says of it, also a browser.
    """
    host, _ = scope.get("server") or ("", 0)
    return is_loopback(str(host))


def hostname(authority: str) -> str:
    """Return the host of `host:port`, and an IPv6 address without its brackets; "": it is none."""
    found = _AUTHORITY.fullmatch(authority)
    return (found[1] or found[2]) if found is not None else ""


_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@,/\s]+))(?::[0-9]*)?")
