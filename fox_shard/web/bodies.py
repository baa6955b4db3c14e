"""The bodies of all requests and answers that are under way, in bounded memory.

Owns: how many bytes they have, of each address; sending long answers. Never: reading bodies.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fox_shard.web.problems import AGAIN, Problem

SHARE: Final = 4
"""The part of the memory that the bodies of one address may have: a quarter."""

PIECE: Final = 1 << 16
"""Bytes of an answer that are sent at once. An answer that is not longer is not counted."""

Endpoint = Callable[[Request], Awaitable[Response]]


@final
class Bodies:
    """The memory. most: bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._addresses: Counter[str] = Counter()
        self._held = 0

    def take(self, address: str, size: int) -> None:
        """Count bytes. Raises Problem if there is no room for them.

        An address may have one answer that is longer than its part.
        """
        if self._held + size > self._most:
            raise Problem(503, "Too many bodies are under way.", headers=_CLOSE)
        held = self._addresses.get(address, 0)
        if held and held + size > self._most // SHARE:
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


@final
class LongAnswer(Response):
    """An answer of which no more is given to the web server than the client has room for."""

    def __init__(self, answer: Response, patience: float, sent: Callable[[], None]) -> None:
        """patience: seconds for each piece. sent: called at the end, however it comes."""
        self._answer = answer
        self._patience = patience
        self._sent = sent
        self.status_code = answer.status_code
        self.raw_headers = answer.raw_headers
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Where the client reads too slowly, the web server closes the connection."""
        head = {"status": self.status_code, "headers": self.raw_headers}
        body = memoryview(self._answer.body)
        try:
            async with asyncio.timeout(self._patience):
                await send({"type": "http.response.start", **head})
            for at in range(0, len(body), PIECE):
                piece = bytes(body[at : at + PIECE])
                more = {"more_body": at + PIECE < len(body)}
                async with asyncio.timeout(self._patience):
                    await send({"type": "http.response.body", "body": piece, **more})
        except TimeoutError:
            pass  # The connection cannot be used any more.
        finally:
            self._sent()


def releasing(bodies: Bodies, patience: float, endpoint: Endpoint) -> Endpoint:
    """Return the endpoint, after which what its request's body took is given back.

    patience: seconds in which a client has to take a piece of a long answer.
    """

    @wraps(endpoint)
    async def carry_out(request: Request) -> Response:
        request.state.body_bytes = 0
        address = address_of(request)
        try:
            answer = await endpoint(request)
        finally:
            if request.state.body_bytes:
                bodies.give_back(address, request.state.body_bytes)
        # The body of a stream is not there yet.
        size = len(getattr(answer, "body", b""))
        if size <= PIECE:
            return answer
        bodies.take(address, size)
        return LongAnswer(answer, patience, lambda: bodies.give_back(address, size))

    return carry_out


def address_of(request: Request) -> str:
    """Return the client's address."""
    return request.client.host if request.client else ""
