"""WAMP and MQTT at paths of an ASGI application: its web server's WebSockets become clients.

Owns: the messages of ASGI (https://asgi.readthedocs.io, version 3), and which WebSockets open.
Never: WebSockets themselves, which the web server speaks; what the messages of WAMP and MQTT mean.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, final

from fox_shard.embedded.entrance import (
    Clients,
    Closed,
    access_of,
    let_in,
    open_gateway,
    peer_of,
)
from fox_shard.embedded.handing_over import NotHandedOver, ask
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.web_user import WebUser
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.transports.batches import SUFFIX
from fox_shard.gateway.transports.bearer import SeveralAuthorizations, bearer_of
from fox_shard.gateway.transports.origins import is_allowed, is_local_server
from fox_shard.gateway.transports.rawsocket import SERIALIZERS
from fox_shard.gateway.transports.websocket import MQTT_SUBPROTOCOLS

_log = logging.getLogger("fox")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TEXT: Final = ("wamp.2.json", f"wamp.2.json{SUFFIX}")
"""The subprotocols whose messages are text; those of all others are binary."""

NORMAL: Final = 1000
WRONG_TYPE: Final = 1003
POLICY: Final = 1008
TOO_LONG: Final = 1009
INTERNAL: Final = 1011
TRY_LATER: Final = 1013
"""Codes with which a WebSocket is closed (RFC 6455 7.4.1, and IANA's list)."""

LONGEST_REASON: Final = 123
"""Bytes of the reason of a close frame."""

FAREWELL: Final = 5.0
"""Seconds in which a client has to take what the router has said last."""

DENIAL: Final = "websocket.http.response"
"""The extension of ASGI by which a request for a WebSocket is answered in HTTP."""


class Speech(NamedTuple):
    """What is spoken at a path. name: for people. subprotocols: of WebSockets that speak it."""

    name: str
    subprotocols: tuple[str, ...]


_PLAIN: Final = tuple(SERIALIZERS.values())

WAMP: Final = Speech("WAMP", (*_PLAIN, *(f"{name}{SUFFIX}" for name in _PLAIN)))
MQTT: Final = Speech("MQTT", tuple(map(str, MQTT_SUBPROTOCOLS)))


class _Refused(Exception):
    """The client gets no WebSocket.

    status, sentence: of the answer in HTTP. code: of the close, where the web server answers by
    itself.
    """

    def __init__(self, status: int, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence


@final
class WebSocketApplication:
    """An ASGI application for the scope `websocket`, to be mounted at a path of your choice."""

    def __init__(self, clients: Clients, speech: Speech) -> None:
        self._clients = clients
        self._speech = speech
        self._absence_noted = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it, or the router, has closed the WebSocket."""
        name = self._speech.name
        if scope["type"] == "http":
            sentence = f"Here is {name} over WebSocket."
            await _answer(send, "http.response", 426, sentence, (b"upgrade", b"websocket"))
            return
        if scope["type"] != "websocket":
            raise NotImplementedError(f"There is only {name} here, nothing for {scope['type']}.")
        await receive()  # websocket.connect
        try:
            conversation = await self._begin(scope, send)
        except _Refused as refused:
            self._log_refused(peer_of(scope), refused)
            await _refuse(scope, send, refused)
            return
        try:
            await send({"type": "websocket.accept", "subprotocol": conversation.subprotocol})
        except BaseException:
            conversation.cut_off()
            raise
        await conversation.run(receive)

    async def _begin(self, scope: Scope, send: Send) -> "_Conversation":
        peer = peer_of(scope)
        try:
            gateway = open_gateway(self._clients)
            subprotocol, bearer = self._chosen(scope), _bearer(scope)
            _check_origin(scope, gateway.settings.allowed_origins)
            left = let_in(gateway, peer.rpartition(":")[0])
        except Closed as closed:
            raise _Refused(503, TRY_LATER, str(closed)) from closed
        try:
            user = await self._user(scope, gateway)
        except BaseException:
            left()
            raise
        conversation = _Conversation(subprotocol, send, left)
        conversation.connection = self._clients.connect(
            Client(
                peer,
                access_of(scope, user),
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
            user = await ask(user_of, scope, gateway.settings.handshake_timeout)
            # The router may have stopped meanwhile, and started again.
            if open_gateway(self._clients) is not gateway:
                raise Closed("The router has been started again.")
        except NotHandedOver as error:
            raise _Refused(500, INTERNAL, str(error)) from error
        except Closed as closed:
            raise _Refused(503, TRY_LATER, str(closed)) from closed
        return user

    def _log_refused(self, peer: str, refused: _Refused) -> None:
        """Let the log say why; that the router does not run, only once."""
        gateway, absence = self._clients.gateway, self._clients.absence
        if gateway is not None:
            connection = Connection([], peer)
            status = HTTPStatus(refused.status)
            connection.refused = f"{status} {status.phrase}: {refused.sentence}"
            gateway.client_refused(connection)
        elif absence != self._absence_noted:
            self._absence_noted = absence
            _log.error("client_refused", extra={"fox": {"reason": absence}})

    def _chosen(self, scope: Scope) -> str:
        """Return the client's most preferred subprotocol, without batches if it offers that, too.

        As at the gateway's own listeners: see `gateway.transports.websocket`.
        """
        spoken, offered = self._speech.subprotocols, scope.get("subprotocols", ())
        for name in offered:
            if name in spoken:
                plain = str(name).removesuffix(SUFFIX)
                return plain if plain in offered else str(name)
        plain_ones = ", ".join(name for name in spoken if not name.endswith(SUFFIX))
        raise _Refused(400, POLICY, f"Ask for one of the subprotocols {plain_ones}.")


def _bearer(scope: Scope) -> str:
    try:
        return bearer_of(_headers(scope, b"authorization"))
    except SeveralAuthorizations as error:
        raise _Refused(400, POLICY, f"{error}.") from error


def _check_origin(scope: Scope, allowed: tuple[str, ...]) -> None:
    host = (_headers(scope, b"host") or [""])[0]
    for origin in _headers(scope, b"origin"):
        if not is_allowed(origin, host, allowed, is_local=is_local_server(scope)):
            sentence = f"Pages of {origin[:60]} may not connect: see gateway.allowed_origins."
            raise _Refused(403, POLICY, sentence)


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
        self._ended = asyncio.Event()

    def add(self, message: bytes) -> None:
        """Let a message of the router wait for the web server."""
        if not self._ended.is_set():
            self.waiting += len(message)
            self._queue.put_nowait(message)

    def end(self) -> None:
        """Close the WebSocket when all is sent."""
        self._queue.put_nowait(None)
        self._ended.set()

    def cut_off(self) -> None:
        """End before the first message."""
        self.connection.close()
        self._left()

    async def run(self, receive: Receive) -> None:
        """Pass messages on in both directions, until the WebSocket is closed."""
        reading = asyncio.create_task(self._read(receive))
        writing = asyncio.create_task(self._write())
        ending = asyncio.create_task(self._ended.wait())
        tasks = (reading, writing, ending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            code = reading.result() if reading.done() else NORMAL
            self.connection.close()
            # What the router has said last is still sent, unless the client does not take it.
            if code:
                async with asyncio.timeout(FAREWELL):
                    await writing
                    await self._send({"type": "websocket.close", "code": code})
        except OSError:
            pass  # So says the web server if the client is gone while something is sent.
        finally:
            for task in tasks:
                task.cancel()
            self.connection.close()
            self._forget()
            self._left()

    def _forget(self) -> None:
        """Forget what nobody takes: the session's last timer keeps the rest for a while."""
        self._queue = asyncio.Queue()
        self.waiting = 0

    async def _read(self, receive: Receive) -> int:
        """Read until the end; return the code with which to close, 0: the client has closed."""
        while True:
            await self.connection.writable()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return 0
            text, data = message.get("text"), message.get("bytes")
            if (text is None) is (self.subprotocol in TEXT):
                return WRONG_TYPE
            try:
                self.connection.send(text.encode() if text is not None else data or b"")
            except ValueError:
                return TOO_LONG

    async def _write(self) -> None:
        while (message := await self._queue.get()) is not None:
            is_text = self.subprotocol in TEXT
            content = {"text": message.decode()} if is_text else {"bytes": message}
            await self._send({"type": "websocket.send", **content})
            self.waiting -= len(message)


def _headers(scope: Scope, wanted: bytes) -> list[str]:
    """Return the values of a header, whose name is in lower case."""
    headers = scope.get("headers", ())
    return [value.decode("latin-1") for name, value in headers if name.lower() == wanted]


async def _refuse(scope: Scope, send: Send, refused: _Refused) -> None:
    if DENIAL in (scope.get("extensions") or {}):
        await _answer(send, DENIAL, refused.status, refused.sentence)
    else:
        close = {"code": refused.code, "reason": as_reason(refused.sentence)}
        await send({"type": "websocket.close", **close})


def as_reason(sentence: str) -> str:
    """Return as much of a sentence as a close frame has room for (RFC 6455 5.5)."""
    return sentence.encode()[:LONGEST_REASON].decode(errors="ignore")


async def _answer(
    send: Send, kind: str, status: int, sentence: str, *more: tuple[bytes, bytes]
) -> None:
    """Answer in HTTP. kind: the beginning of the messages' types."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *more]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": sentence.encode() + b"\n"})
