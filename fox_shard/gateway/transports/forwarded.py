"""Who the client of an HTTP proxy is: the headers X-Forwarded-For and Forwarded (RFC 7239).

Owns: their texts. Never: whether the proxy is trusted, as a function says so of each.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final

MOST: Final = 32
"""Proxies that a request may have passed."""

LONGEST: Final = 4096
"""Characters of all headers of the kind."""

_FOR: Final = re.compile(r'[ \t]*for[ \t]*=[ \t]*("[^"\\]*"|[^";,\s]+)[ \t]*', re.IGNORECASE)
_V4_PORT: Final = re.compile(r"([0-9.]+):([0-9]{1,5})")
_V6_PORT: Final = re.compile(r"\[([^\]]*)\](?::([0-9]{1,5}))?")


class MalformedForwarded(ValueError):
    """A header that names no address; the message says which."""


def client_of(kind: str, values: Sequence[str], trusts: Callable[[str], bool]) -> tuple[str, int]:
    """Return the address of the client, "" if no proxy names any, and its port, 0 if none does.

    kind: `x-forwarded-for` or `forwarded`. values: of all headers of that name, in order. trusts:
    whether an address is that of a proxy whose word counts. The client is the last one that is
    not: what is before it, anybody may have written. Raises MalformedForwarded.
    """
    if not values:
        return "", 0
    if sum(map(len, values)) > LONGEST:
        raise MalformedForwarded(f"{kind} is longer than {LONGEST} characters")
    address, port = "", 0
    for count, element in enumerate(reversed(",".join(values).split(","))):
        if count == MOST:
            raise MalformedForwarded(f"{kind} names more than {MOST} proxies")
        address, port = _address(element.strip() if kind != "forwarded" else _named(element))
        if not trusts(address):
            break
    return address, port


def _named(element: str) -> str:
    """Return the value of `for` in one element of Forwarded."""
    found = list(_values(element))
    if len(found) != 1:
        raise MalformedForwarded("an element of forwarded does not name one client")
    return found[0].strip('"')


def _values(element: str) -> Iterator[str]:
    for pair in element.split(";"):
        if match := _FOR.fullmatch(pair):
            yield match[1]


def _address(text: str) -> tuple[str, int]:
    match = _V4_PORT.fullmatch(text) or _V6_PORT.fullmatch(text)
    try:
        address = ip_address(match[1] if match else text)
    except ValueError as error:
        raise MalformedForwarded("the proxy's header names a client without an address") from error
    port = int(match[2] or 0) if match else 0
    return str(getattr(address, "ipv4_mapped", None) or address), port if port < 1 << 16 else 0
