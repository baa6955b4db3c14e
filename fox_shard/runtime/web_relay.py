"""WebSockets at the HTTP server's own port: each is carried to a gateway and back.

Owns: the messages' way in both directions. Never: which pages may connect (see `web.origins`); what
the messages mean.

So the dashboard, and every other page, needs one address for HTTP and WAMP. What the client does
not take is not read from the gateway, which treats it as a slow client then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, final

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from fox_shard.client.failures import CannotConnect

Dial = Callable[[str, int, list[str], dict[str, str]], Awaitable[ClientConnection]]
"""Connects to a gateway for a client's address and port, with these subprotocols and headers.

Raises CannotConnect.
"""

POLICY: Final = 1008
TRY_LATER: Final = 1013
"""Codes with which a WebSocket is closed (RFC 6455 7.4.1, and IANA's list)."""

PREFIX: Final = "wamp.2."


@final
class WebSocketRelay:
    """An ASGI application for the scope `websocket`."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._open = 0

    @property
    def open(self) -> int:
        """How many WebSockets there are."""
        return self._open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it, or the gateway, has closed the WebSocket."""
        await receive()  # websocket.connect
        offered = [one for one in scope.get("subprotocols", ()) if one.startswith(PREFIX)]
        if not offered:
            await _close(send, POLICY, "Ask for a subprotocol of WAMP, such as wamp.2.json.")
            return
        host, port = scope.get("client") or ("", 0)
        authorization = Headers(scope=scope).get("authorization")
        shown = {} if authorization is None else {"Authorization": authorization}
        try:
            gateway = await self._dial(host, port or 0, offered, shown)
        except CannotConnect:
            await _close(send, TRY_LATER, "No gateway answers.")
            return
        self._open += 1
        try:
            await send({"type": "websocket.accept", "subprotocol": gateway.subprotocol})
            await _carry(gateway, receive, send)
        except OSError:
            pass  # So says the server if the client is gone while something is sent.
        finally:
            self._open -= 1
            await gateway.close()


async def _carry(gateway: ClientConnection, receive: Receive, send: Send) -> None:
    """Carry messages until one side has closed, and let the other one know."""
    up = asyncio.create_task(_up(gateway, receive))
    down = asyncio.create_task(_down(gateway, send))
    tasks = (up, down)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if down.done() and not down.cancelled():
            down.result()
            code = gateway.close_code
            # 1005 and 1006 say that there was no code, and may not be sent.
            sendable = TRY_LATER if code in (None, 1005, 1006) else code
            await _close(send, sendable, gateway.close_reason or "")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _up(gateway: ClientConnection, receive: Receive) -> None:
    with suppress(ConnectionClosed):
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await gateway.send(message["bytes"] if text is None else text)


async def _down(gateway: ClientConnection, send: Send) -> None:
    with suppress(ConnectionClosed):
        async for message in gateway:
            content: dict[str, Any] = (
                {"text": message} if isinstance(message, str) else {"bytes": message}
            )
            await send({"type": "websocket.send", **content})


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})
