"""A web server for ASGI applications that knows WebSockets only.

Owns: what the messages of ASGI become. Never: applications.
"""

from contextlib import asynccontextmanager

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


@asynccontextmanager
async def serving(application, *, host="127.0.0.1"):
    """Serve the application at a free port, which is yielded."""

    def choose(_connection, names):
        return names[0] if names else None

    async def handle(connection):
        await _Socket(connection).serve(application)

    async with serve(
        handle, host, 0, select_subprotocol=choose, max_size=None, compression=None
    ) as server:
        yield server.sockets[0].getsockname()[1]


class _Socket:
    """One WebSocket. It is open before the application accepts it, unlike in real servers."""

    def __init__(self, connection):
        self._connection = connection
        self._connected = False

    async def serve(self, application):
        request = self._connection.request
        names = request.headers.get("Sec-WebSocket-Protocol", "").split(", ")
        scope = {
            "type": "websocket",
            "path": request.path,
            "headers": [
                (name.lower().encode(), value.encode())
                for name, value in request.headers.raw_items()
            ],
            "subprotocols": [name for name in names if name],
            "client": self._connection.remote_address[:2],
            "server": self._connection.local_address[:2],
        }
        await application(scope, self._receive, self._send)

    async def _receive(self):
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        try:
            message = await self._connection.recv()
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            return {"type": "websocket.disconnect", "code": code}
        kind = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", kind: message}

    async def _send(self, message):
        try:
            match message["type"]:
                case "websocket.accept":
                    assert message["subprotocol"] == self._connection.subprotocol
                case "websocket.send":
                    text = message.get("text")
                    await self._connection.send(message["bytes"] if text is None else text)
                case "websocket.close":
                    await self._connection.close(message["code"], message.get("reason", ""))
        except ConnectionClosed as closed:
            raise OSError("the client is gone") from closed
