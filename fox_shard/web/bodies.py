"""The bodies of all requests that are under way, in bounded memory.

Owns: how many bytes they have, of each address. Never: reading them.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, final

from starlette.requests import Request
from starlette.responses import Response

from fox_shard.web.problems import AGAIN, Problem

SHARE: Final = 4
"""The part of the memory that the bodies of one address may have: a quarter."""

Endpoint = Callable[[Request], Awaitable[Response]]


@final
class Bodies:
    """The memory. most: bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._addresses: Counter[str] = Counter()
        self._held = 0

    def take(self, address: str, size: int) -> None:
        """Count bytes that have arrived. Raises Problem if there is no room for them."""
        if self._held + size > self._most:
            raise Problem(503, "Too many bodies are being received.", headers=_CLOSE)
        if self._addresses[address] + size > max(self._most // SHARE, 1):
            raise Problem(429, "Too many bodies of your address are under way.", headers=_CLOSE)
        self._addresses[address] += size
        self._held += size

    def give_back(self, address: str, size: int) -> None:
        """Count bytes that nobody needs any more."""
        self._held -= size
        self._addresses[address] -= size
        if not self._addresses[address]:
            del self._addresses[address]


_CLOSE: Final = {**AGAIN, "connection": "close"}


def releasing(bodies: Bodies, endpoint: Endpoint) -> Endpoint:
    """Return the endpoint, after which what its request's body took is given back."""

    @wraps(endpoint)
    async def carry_out(request: Request) -> Response:
        request.state.body_bytes = 0
        try:
            return await endpoint(request)
        finally:
            if request.state.body_bytes:
                bodies.give_back(address_of(request), request.state.body_bytes)

    return carry_out


def address_of(request: Request) -> str:
    """Return the client's address."""
    return request.client.host if request.client else ""
