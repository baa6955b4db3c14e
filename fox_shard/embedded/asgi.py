"""WAMP at a path of an ASGI application: the web server's WebSockets become the router's clients.

Owns: the messages of ASGI (https://asgi.readthedocs.io, version 3), and who may open a WebSocket.
Never: WebSockets themselves, which the web server speaks; what WAMP's messages mean.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol, final

from fox_shard.config import Address, Listener
from fox_shard.embedded.handing_over import NotHandedOver, UserOf, ask
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.gateway.clients.access import Access, is_loopback
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.web_user import WebUser
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.transports.bearer import SeveralAuthorizations, bearer_of
from fox_shard.gateway.transports.origins import is_allowed
from fox_shard.gateway.transports.rawsocket import SERIALIZERS

_log = logging.getLogger("fox")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TEXT: Final = "wamp.2.json"
"""The subprotocol whose messages are text; those of all others are binary."""

NORMAL: Final = 1000
WRONG_TYPE: Final = 1003
POLICY: Final = 1008
TOO_LONG: Final = 1009
INTERNAL: Final = 1011
TRY_LATER: Final = 1013
"""Codes with which a WebSocket is closed (RFC 6455 7.4.1, and IANA's list)."""

_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE


class Clients(Protocol):
    """The router, as the application sees it."""

    @property
    def gateway(self) -> Gateway | None:
        """The gateway; None: the router does not run."""

    @property
    def absence(self) -> str:
        """Why there is no gateway, in a sentence for the log."""

    @property
    def user_of(self) -> UserOf | None:
        """Tells who the web application has authenticated; None: nobody does."""

    def connect(self, client: Client) -> LocalConnection:
        """Connect a client to the gateway."""


class _Refused(Exception):
    """The client is not let in: a status of HTTP, the code of the close, and a sentence."""

    def __init__(self, status: HTTPStatus, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence


@final
class WampApplication:
    """An ASGI application for the scope `websocket`, to be mounted at a path of your choice."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._absence_noted = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it, or the router, has closed the WebSocket."""
        if scope["type"] == "http":
            await _answer(send)
            return
        if scope["type"] != "websocket":
            raise NotImplementedError(f"There is only WAMP here, nothing for {scope['type']}.")
        await receive()  # websocket.connect
        try:
            conversation = await self._begin(scope, send)
        except _Refused as refused:
            await _refuse(scope, send, refused)
            return
        try:
            await send({"type": "websocket.accept", "subprotocol": conversation.subprotocol})
        except BaseException:
            conversation.cut_off()
            raise
        await conversation.run(receive)

    def _linked_gateway(self) -> Gateway:
        gateway, absence = self._clients.gateway, self._clients.absence
        if gateway is None:
            if absence != self._absence_noted:
                self._absence_noted = absence
                _log.error("client_refused", extra={"fox": {"reason": absence}})
            raise _Refused(_UNAVAILABLE, TRY_LATER, "The router does not run.")
        if not gateway.linked:
            sentence = "The router does not reach the whole server at the moment."
            raise _Refused(_UNAVAILABLE, TRY_LATER, sentence)
        return gateway

    async def _begin(self, scope: Scope, send: Send) -> "_Conversation":
        gateway = self._linked_gateway()
        host, port = scope.get("client") or ("unix", 0)
        peer = f"{host}:{port}"
        headers = _headers(scope)
        try:
            subprotocol = _subprotocol(scope)
            _check_origin(scope, headers, gateway)
            bearer = _bearer(headers)
            why = gateway.admission.admit(host, gateway.settings, asyncio.get_running_loop().time())
            if why:
                gateway.limit_counts.add(why)
                raise _Refused(_UNAVAILABLE, TRY_LATER, "There are too many connections.")
        except _Refused as refused:
            _log_refused(gateway, peer, refused)
            raise
        try:
            user = await self._user(scope, gateway)
            # The router may have stopped meanwhile.
            if self._linked_gateway() is not gateway:
                raise _Refused(_UNAVAILABLE, TRY_LATER, "The router does not run.")
        except BaseException:
            gateway.admission.leave(host)
            raise
        conversation = _Conversation(subprotocol, send, lambda: gateway.admission.leave(host))
        conversation.connection = self._clients.connect(
            Client(
                peer,
                Access(listener=_listener(scope), web_user=user),
                subprotocol,
                conversation.add,
                conversation.end,
                lambda: conversation.waiting,
            )
        )
        conversation.connection.set_bearer(bearer)
        return conversation

    async def _user(self, scope: Scope, gateway: Gateway) -> WebUser | None:
        user_of = self._clients.user_of
        if user_of is None:
            return None
        try:
            return await ask(user_of, scope, gateway.settings.handshake_timeout)
        except NotHandedOver as error:
            raise _Refused(HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL, str(error)) from error


def _subprotocol(scope: Scope) -> str:
    for name in scope.get("subprotocols", ()):
        if name in SERIALIZERS.values():
            return str(name)
    names = ", ".join(SERIALIZERS.values())
    sentence = f"Ask for one of the subprotocols {names}."
    raise _Refused(HTTPStatus.BAD_REQUEST, POLICY, sentence)


def _check_origin(scope: Scope, headers: Mapping[str, list[str]], gateway: Gateway) -> None:
    """Refuse the page of a foreign origin."""
    server = scope.get("server") or ("", 0)
    is_local = is_loopback(str(server[0]))
    hosts, allowed = headers.get("host", [""]), gateway.settings.allowed_origins
    for origin in headers.get("origin", []):
        if not is_allowed(origin, hosts[0], allowed, is_local=is_local):
            sentence = f"Pages of {origin[:60]} may not connect: see gateway.allowed_origins."
            raise _Refused(HTTPStatus.FORBIDDEN, POLICY, sentence)


def _bearer(headers: Mapping[str, list[str]]) -> str:
    try:
        return bearer_of(headers.get("authorization", []))
    except SeveralAuthorizations as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, POLICY, f"{error}.") from error


def _listener(scope: Scope) -> Listener:
    """Return what stands for the web server."""
    host, port = scope.get("server") or ("", 0)
    return Listener(protocol="websocket", address=Address(str(host), int(port or 0)))


def _log_refused(gateway: Gateway, peer: str, refused: _Refused) -> None:
    connection = Connection([], peer)
    status = refused.status
    connection.refused = f"{status} {status.phrase}: {refused.sentence}"
    gateway.client_refused(connection)


async def _refuse(scope: Scope, send: Send, refused: _Refused) -> None:
    """Say why, in HTTP if the web server can do that before it opens the WebSocket."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        close = {"type": "websocket.close", "code": refused.code, "reason": refused.sentence}
        await send(close)
        return
    start = {"type": "websocket.http.response.start", "status": int(refused.status)}
    await send({**start, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    body = f"{refused.sentence}\n".encode()
    await send({"type": "websocket.http.response.body", "body": body})


@final
class _Conversation:
    """One client's WebSocket. waiting: bytes of messages that the web server has not taken yet."""

    connection: LocalConnection

    def __init__(self, subprotocol: str, send: Send, left: Callable[[], None]) -> None:
        """left: called once, when the client is gone."""
        self.subprotocol = subprotocol
        self.waiting = 0
        self._send = send
        self._left = left
        # None: there are no further messages.
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def add(self, message: bytes) -> None:
        """Let a message of the router wait for the web server."""
        self.waiting += len(message)
        self._queue.put_nowait(message)

    def end(self) -> None:
        """Close the WebSocket when all is sent."""
        self._queue.put_nowait(None)

    def cut_off(self) -> None:
        """End before the first message."""
        self.connection.close()
        self._left()

    async def run(self, receive: Receive) -> None:
        """Pass messages on in both directions, until the WebSocket is closed."""
        reading = asyncio.create_task(self._read(receive))
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            code = reading.result() if reading.done() else NORMAL
            self.connection.close()
            # What the router has said last is still sent, unless the client is gone.
            if code:
                await writing
                await self._send({"type": "websocket.close", "code": code})
        except OSError:
            pass  # So says the web server if the client is gone while something is sent.
        finally:
            reading.cancel()
            writing.cancel()
            self.connection.close()
            self._left()

    async def _read(self, receive: Receive) -> int:
        """Read until the end; return the code with which to close, 0: the client has closed."""
        while True:
            await self.connection.writable()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return 0
            text, data = message.get("text"), message.get("bytes")
            if (text is None) is (self.subprotocol == TEXT):
                return WRONG_TYPE
            try:
                self.connection.send(text.encode() if text is not None else data or b"")
            except ValueError:
                return TOO_LONG

    async def _write(self) -> None:
        while (message := await self._queue.get()) is not None:
            is_text = self.subprotocol == TEXT
            content = {"text": message.decode()} if is_text else {"bytes": message}
            await self._send({"type": "websocket.send", **content})
            self.waiting -= len(message)


def _headers(scope: Scope) -> dict[str, list[str]]:
    """Return the values of each header, by its name in lower case."""
    headers: dict[str, list[str]] = {}
    for name, value in scope.get("headers", ()):
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


async def _answer(send: Send) -> None:
    """Answer a request in plain HTTP."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"upgrade", b"websocket")]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": b"Here is WAMP over WebSocket.\n"})
