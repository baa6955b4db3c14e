"""The head of an HTTP request, made readable for the websockets library.

Owns: what HTTP allows, but the library refuses: HEAD, HTTP/1.0, an empty body, empty headers.
Never: answers.
"""

import re
from typing import NamedTuple, final

_EMPTY = re.compile(
    rb"\r\n(?:content-length[ \t]*:[ \t]*0+|sec-websocket-extensions[ \t]*:)[ \t]*(?=\r\n)",
    re.IGNORECASE,
)
"""A header that says that there is no body, or no extension."""


@final
class Head(NamedTuple):
    """The head of a request. head: of the same request as GET of HTTP/1.1.

    path: without the query. bodyless: the answer has no body (HEAD). upgradable: it may ask for a
    WebSocket (RFC 6455 4.1).
    """

    head: bytes
    path: str
    bodyless: bool
    upgradable: bool


def read_head(head: bytes) -> Head:
    """Read a request that begins with `GET ` or `HEAD ` and ends with an empty line."""
    line, _, headers = head.partition(b"\r\n")
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    old = version == b"HTTP/1.0"
    if old:
        rest = target + b" HTTP/1.1"
    path = rest.partition(b" ")[0].partition(b"?")[0].decode("ascii", "replace")
    headers = _EMPTY.sub(b"", b"\r\n" + headers)
    bodyless = method == b"HEAD"
    return Head(b"GET " + rest + headers, path, bodyless, not (old or bodyless))
