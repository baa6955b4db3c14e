"""A WebSocket to a router, for asyncio.

Owns: the socket, TLS, signs of life. Never: what messages mean.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Final, final

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from fox_shard.client.address import UNIX
from fox_shard.client.connection import AT_PATH, OPENING, refusal_of, unreachable, uri_of
from fox_shard.client.failures import CannotConnect, ConnectionLost
from fox_shard.client.tls import Tls, context_of
from fox_shard.client.transport import Dial, Transport

SUBPROTOCOL: Final = Subprotocol("wamp.2.msgpack")

READ_AHEAD: Final = 16
"""Messages that are read before anybody asks for them."""

CHECKS: Final = 4
"""How often in the time of patience is looked whether the router is silent."""

FAREWELL: Final = 2.0
"""Seconds for the router's answer to a close frame."""


@final
class WebSocket:
    """A `Transport`. A router that is silent while we wait for a message is pinged, then given up.

    While nobody waits for a message (see `Transport`), silence means nothing.
    """

    def __init__(self, url: str, connection: ClientConnection, patience: float) -> None:
        """patience: seconds of silence after which the connection counts as lost."""
        self._url = url
        self._connection = connection
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        # Since when a message has been waited for without any sign of life; None: nobody waits.
        self._waits_since: float | None = None
        self._silent = False
        self._check_later()

    @property
    def longest(self) -> float:
        """Say that nobody knows how long a message may be."""
        return inf

    async def send(self, data: bytes) -> None:
        """Send a message. Raises ConnectionLost."""
        try:
            with _aborting(self._connection):
                await self._connection.send(data)
        except ConnectionClosed as error:
            raise self._lost(error) from error

    async def receive(self) -> bytes:
        """Wait for the next message and return it. Raises ConnectionLost."""
        self._waits_since = self._loop.time()
        try:
            message = await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise self._lost(error) from error
        finally:
            self._waits_since = None
        return bytes(message)

    async def close(self) -> None:
        """Close the WebSocket."""
        self._timer.cancel()
        with suppress(ConnectionClosed), _aborting(self._connection):
            await self._connection.close()

    def _lost(self, error: ConnectionClosed) -> ConnectionLost:
        self._timer.cancel()
        if self._silent:
            return ConnectionLost(f"{self._url} does not answer any more.")
        why = (error.rcvd.reason if error.rcvd is not None else "") or "it was closed"
        return ConnectionLost(f"The connection to {self._url} is lost: {why}.")

    def _check_later(self) -> None:
        self._timer = self._loop.call_later(self._patience / CHECKS, self._check)

    def _check(self) -> None:
        self._check_later()
        since = self._waits_since
        if since is None:
            return
        silence = self._loop.time() - since
        if silence >= self._patience:
            self._silent = True
            self._timer.cancel()
            self._connection.transport.abort()
        elif silence >= self._patience / CHECKS:
            self._pinging = self._loop.create_task(self._ping())

    async def _ping(self) -> None:
        try:
            with _aborting(self._connection):
                await (await self._connection.ping())
        except ConnectionClosed:
            return  # Whoever waits for a message is told.
        if self._waits_since is not None:
            self._waits_since = self._loop.time()


@contextmanager
def _aborting(connection: ClientConnection) -> Iterator[None]:
    """Raise ConnectionClosed where the library aborts a transport that has ended already.

    If that had still to write when the router closed, `abort` of CPython's transport raises
    AttributeError afterwards.
    """
    try:
        yield
    except AttributeError:
        if connection.close_code is None or not connection.transport.is_closing():
            raise
        raise ConnectionClosed(connection.protocol.close_rcvd, None) from None


def dial_of(url: str, tls: Tls, patience: float) -> Dial:
    """Return what opens WebSockets to a URL. Raises Unreachable, if the files of `tls` are bad."""
    context = context_of(tls) if url.startswith("wss:") else None

    async def dial() -> Transport:
        uri_of(url)  # raises what the library would not
        try:
            connection = await _open(url, context)
        except InvalidHandshake as error:
            why = refusal_of(error)
            raise CannotConnect(f"There is no router at {url}: {why}.") from error
        except TimeoutError as error:
            raise CannotConnect(f"{url} does not answer.") from error
        except OSError as error:
            raise unreachable(url, error) from error
        except EOFError as error:
            why = refusal_of(None)
            raise CannotConnect(f"There is no router at {url}: {why}.") from error
        return WebSocket(url, connection, patience)

    return dial


async def _open(url: str, context: ssl.SSLContext | None) -> ClientConnection:
    if url.startswith(UNIX):
        return await unix_connect(
            url.removeprefix(UNIX),
            AT_PATH,
            subprotocols=[SUBPROTOCOL],
            compression=None,
            max_size=None,
            max_queue=READ_AHEAD,
            open_timeout=OPENING,
            close_timeout=FAREWELL,
            ping_interval=None,
        )
    return await connect(
        url,
        ssl=context,
        subprotocols=[SUBPROTOCOL],
        compression=None,
        max_size=None,
        max_queue=READ_AHEAD,
        open_timeout=OPENING,
        close_timeout=FAREWELL,
        ping_interval=None,
        proxy=None,
    )
