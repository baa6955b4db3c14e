"""The opening handshake of a WebSocket (RFC 6455 4.2), and the answers to plain HTTP requests.

Owns: paths, subprotocols, the answers in HTTP. Never: sockets, frames (see `websocket_stream`), or
what the subprotocols mean: functions that are passed in make their sessions.
"""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import final

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from fox_shard.gateway.clients.access import is_loopback
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.host import Host
from fox_shard.gateway.transports.batches import SUFFIX, BatchReceiver, framing
from fox_shard.gateway.transports.bearer import SeveralAuthorizations, bearer_of
from fox_shard.gateway.transports.forwarded import MalformedForwarded, client_of
from fox_shard.gateway.transports.http_head import read_head
from fox_shard.gateway.transports.origins import is_allowed
from fox_shard.gateway.transports.receivers import (
    BEFORE_MQTT_SESSION,
    BEFORE_SESSION,
    Frame,
    MessageReceiver,
    MqttMaker,
    WampMaker,
)
from fox_shard.gateway.transports.websocket_stream import (
    BINARY,
    TEXT,
    MessageStream,
    binary_frame,
    deflated_frame,
    text_frame,
)

__all__ = ["WebSocket", "binary_frame", "text_frame"]

WAMP_PATHS = ("/ws", "/wamp", "/wss", "/")
MQTT_PATH = "/mqtt"
HEALTH_PATH = "/healthz"

WAMP_SUBPROTOCOLS = {
    Subprotocol("wamp.2.json"): TEXT,
    Subprotocol("wamp.2.msgpack"): BINARY,
    Subprotocol("wamp.2.cbor"): BINARY,
    Subprotocol("wamp.2.json.batched"): TEXT,
    Subprotocol("wamp.2.msgpack.batched"): BINARY,
    Subprotocol("wamp.2.cbor.batched"): BINARY,
}
"""Subprotocol → type of its messages (WAMP #websocket-transport)."""

MQTT_SUBPROTOCOLS = (Subprotocol("mqtt"), Subprotocol("mqttv3.1"))
"""The subprotocol of [MQTT-6.0.0-4], and the earlier one of MQTT 3.1."""

REQUEST_LIMIT = 1 << 16
"""Bytes of an HTTP request's head, and of all that a client sends before it is answered."""

LINK_CHECK = 0.1
"""Seconds between two checks whether the gateway is linked, while a client waits for that."""

_END = b"\r\n\r\n"


# Neither side keeps a compression context, so a message that goes to many clients is compressed
# once, and an idle client costs no memory for a window.
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True, client_no_context_takeover=True
)


@final
class WebSocket:
    """The receiver of a new connection until it is a WebSocket or has been answered in HTTP."""

    __slots__ = (
        "_bodyless",
        "_connection",
        "_deflate",
        "_done",
        "_head",
        "_host",
        "_mqtt",
        "_waiting",
        "_wamp",
    )

    def __init__(
        self,
        host: Host,
        connection: Connection,
        wamp: WampMaker,
        mqtt: MqttMaker,
        *,
        deflate: bool = True,
    ) -> None:
        """wamp, mqtt: make the session. deflate: whether permessage-deflate (RFC 7692) is on."""
        self._host = host
        self._connection = connection
        self._wamp = wamp
        self._mqtt = mqtt
        self._deflate = deflate
        self._head = bytearray()
        self._done = False
        # The request is HEAD, so that the answer has no body.
        self._bodyless = False
        # The request is valid, but the gateway is not linked.
        self._waiting = False
        host.timers.gathered(host.now + host.settings.handshake_timeout, self._give_up)

    def receive(self, data: bytes, now: float) -> None:
        """Handle received bytes: a part of the request's head, perhaps with frames behind it."""
        if self._done:
            return
        head = self._head
        head += data
        if not head.startswith((b"GET "[: len(head)], b"HEAD "[: len(head)])):
            self._refuse_method(bytes(head[:16]))
        elif len(head) > REQUEST_LIMIT:
            sentence = f"The request's head is longer than {REQUEST_LIMIT} bytes."
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, sentence)
        elif not self._waiting:
            end = head.find(_END, max(0, len(head) - len(data) - 3))
            if end >= 0:
                self._handle_head(bytes(head[: end + 4]), now)

    def connection_lost(self, now: float) -> None:
        """Give up the handshake, because the connection is gone."""
        self._done = True

    def _give_up(self, _now: float) -> None:
        if self._done:
            return
        if self._waiting:
            sentence = "The server is not ready at the moment; try again."
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, sentence, ("Retry-After", "1"))
        else:
            self._host.limit_counts.add("handshake_timeout")
            seconds = self._host.settings.handshake_timeout
            sentence = f"No complete request came within {seconds:g} seconds."
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, sentence)

    def _refuse_method(self, start: bytes) -> None:
        if start[:3].isalpha():
            sentence = "Only GET is served here: WebSocket upgrades, and " + HEALTH_PATH + "."
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, sentence, ("Allow", "GET, HEAD"))
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "This port speaks HTTP and WebSocket.")

    def _handle_head(self, received: bytes, now: float) -> None:
        head, path, self._bodyless, upgradable = read_head(received)
        protocol = ServerProtocol(
            extensions=[_DEFLATE] if self._deflate else None,
            select_subprotocol=lambda _protocol, names: _select(path, names),
        )
        protocol.receive_data(head)
        events = protocol.events_received()
        if not events:
            cause = protocol.handshake_exc and protocol.handshake_exc.__cause__
            # The log gets no part of the request, which may have secrets in its query and headers.
            self._connection.refused = "400 Bad Request: this is not a valid request"
            self._answer(HTTPStatus.BAD_REQUEST, f"This is not a valid request: {cause}.")
            return
        request = events[0]
        assert isinstance(request, Request)
        upgrades = upgradable and any(
            "websocket" in value.lower() for value in request.headers.get_all("Upgrade")
        )
        if self._identify(request) and self._note_bearer(request):
            self._handle_request(protocol, request, path, now, upgrades=upgrades)

    def _identify(self, request: Request) -> bool:
        """Note who the client is, if a trusted proxy says so; return whether it is let in."""
        connection = self._connection
        access, relocate = connection.access, connection.relocate
        if (
            access is None
            or relocate is None
            or not access.trusts(connection.peer.rpartition(":")[0])
        ):
            return True
        # Once: a request that waits for the shards is handled again.
        connection.relocate = None
        kind = access.listener.forwarded
        try:
            host, port = client_of(kind, request.headers.get_all(kind), access.trusts)
        except MalformedForwarded as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"{error}.")
            return False
        if not host:
            return True
        if not relocate(host, port):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections of yours.")
            return False
        connection.access = access.of_proxied()
        return True

    def _note_bearer(self, request: Request) -> bool:
        """Note the token that the client shows, if any; return whether the request is proper."""
        try:
            self._connection.bearer = bearer_of(request.headers.get_all("Authorization"))
        except SeveralAuthorizations as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"{error}.")
            return False
        return True

    def _handle_request(
        self,
        protocol: ServerProtocol,
        request: Request,
        path: str,
        now: float,
        *,
        upgrades: bool,
    ) -> None:
        if not upgrades and path == HEALTH_PATH:
            self._answer_health()
        elif not upgrades and path in (*WAMP_PATHS, MQTT_PATH):
            self._answer(HTTPStatus.UPGRADE_REQUIRED, _about(path), ("Upgrade", "websocket"))
        elif not upgrades or not _is_served(path, request):
            self._answer(
                HTTPStatus.NOT_FOUND,
                f"There is nothing at this path. WAMP is at {', '.join(WAMP_PATHS)}; "
                f"MQTT is at {MQTT_PATH}; the server's health is at {HEALTH_PATH}.",
            )
        elif not _is_ascii(request):
            self._refuse(HTTPStatus.BAD_REQUEST, "The headers of the handshake must be ASCII.")
        elif foreign := self._foreign_origin(request):
            self._refuse(
                HTTPStatus.FORBIDDEN,
                f"Pages of {foreign} may not connect: add it to gateway.allowed_origins.",
            )
        elif (response := protocol.accept(request)).status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._connection.refused = _rejection(response, protocol.handshake_exc)
            self._send(response)
            self._close()
        elif self._host.linked:
            self._send(response)
            self._open(protocol, now)
        else:
            # The client must not see only some of the keys, nor fail because a shard restarts.
            self._waiting = True
            self._host.timers.at(now + LINK_CHECK, self._retry)

    def _foreign_origin(self, request: Request) -> str:
        """Return the origin of the page that asks, if it may not connect, or else ""."""
        origins = request.headers.get_all("Origin")
        hosts = request.headers.get_all("Host")
        access, settings = self._connection.access, self._host.settings
        if access is None:
            address = settings.websocket
            is_local = address is not None and is_loopback(address.host)
        else:
            is_local = access.is_local
        allowed = settings.allowed_origins
        host = hosts[0] if hosts else ""
        # The library refuses a request with several origins.
        if len(origins) != 1 or is_allowed(origins[0], host, allowed, is_local=is_local):
            return ""
        return origins[0][:200].encode("ascii", "replace").decode() or "an empty origin"

    def _retry(self, now: float) -> None:
        if self._done:
            return
        if self._host.linked:
            self._waiting = False
            self._handle_head(bytes(self._head[: self._head.index(_END) + 4]), now)
        else:
            self._host.timers.at(now + LINK_CHECK, self._retry)

    def _open(self, protocol: ServerProtocol, now: float) -> None:
        """Hand the connection over to a stream and a session."""
        subprotocol = protocol.subprotocol
        assert subprotocol is not None
        extension = protocol.extensions[0] if protocol.extensions else None
        deflate = extension if isinstance(extension, PerMessageDeflate) else None
        first = WAMP_SUBPROTOCOLS.get(subprotocol, BINARY)
        frame: Frame = text_frame if first == TEXT else binary_frame
        coding = ""
        if deflate is not None:
            bits = deflate.local_max_window_bits
            frame, coding = deflated_frame(first, bits), f"/deflate-{bits}"
        connection = self._connection
        stream = MessageStream(
            self._host, connection, first, deflate, _longest_before_session(subprotocol)
        )
        connection.receiver = stream
        if subprotocol in WAMP_SUBPROTOCOLS:
            encoder = f"{subprotocol}/websocket{coding}"
            serializer = subprotocol.removesuffix(SUFFIX)
            batched, text = serializer != subprotocol, first == TEXT
            if batched:
                frame = framing(frame, text=text)
            wamp = self._wamp(connection, serializer, frame, stream.close, encoder)
            take = self._batches(wamp, text=text).batch if batched else wamp.message
            stream.begin(take, wamp.connection_lost)
        else:
            mqtt = self._mqtt(connection, frame, stream.close)
            stream.begin(mqtt.receive, mqtt.connection_lost)
        rest = bytes(self._head[self._head.index(_END) + 4 :])
        self._forget()
        if rest:
            stream.receive(rest, now)

    def _batches(self, session: MessageReceiver, *, text: bool) -> BatchReceiver:
        host = self._host
        longest, counts = host.settings.batch_messages, host.limit_counts
        return BatchReceiver(self._connection, session, longest, counts, text=text)

    def _answer_health(self) -> None:
        health = self._host.health()
        serves = health.get("status") in ("ok", "degraded")
        status = HTTPStatus.OK if serves else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, json.dumps(health), ("Content-Type", "application/json"))

    def _refuse(self, status: HTTPStatus, sentence: str, *headers: tuple[str, str]) -> None:
        """Answer in HTTP, close the connection, and let the log say why."""
        self._connection.refused = f"{status} {status.phrase}: {sentence}"
        self._answer(status, sentence, *headers)

    def _answer(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        """Answer in HTTP, and close the connection."""
        response = ServerProtocol().reject(status, text + "\n")
        for name, value in headers:
            response.headers.pop(name, None)
            response.headers[name] = value
        if self._bodyless:
            response.body = b""
        self._send(response)
        self._close()

    def _close(self) -> None:
        self._forget()
        self._connection.close()

    def _forget(self) -> None:
        """Mark the handshake as done, and drop the data: the timer still refers to this object."""
        self._done = True
        self._head = bytearray()

    def _send(self, response: Response) -> None:
        self._connection.write(response.serialize())


def _longest_before_session(subprotocol: Subprotocol) -> int:
    return BEFORE_SESSION if subprotocol in WAMP_SUBPROTOCOLS else BEFORE_MQTT_SESSION


def _rejection(response: Response, cause: Exception | None) -> str:
    """Return why the library rejects a request, without what the request says."""
    reason = f"{response.status_code} {response.reason_phrase}"
    if isinstance(cause, InvalidHeader):
        return f"{reason}: the header {cause.name} is missing or invalid"
    if isinstance(cause, NegotiationError):
        return f"{reason}: the client speaks no subprotocol that is spoken here"
    return reason


def _about(path: str) -> str:
    speaks = "MQTT" if path == MQTT_PATH else "WAMP"
    return (
        f"This is the address of a WebSocket that speaks {speaks}: connect with a WebSocket client "
        f"that offers one of the subprotocols {', '.join(_offered(path))}."
    )


def _offered(path: str) -> tuple[Subprotocol, ...]:
    """Return the subprotocols at a path. MQTT is at every path: many clients cannot set one."""
    if path in WAMP_PATHS:
        return (*WAMP_SUBPROTOCOLS, *MQTT_SUBPROTOCOLS)
    return MQTT_SUBPROTOCOLS


def _select(path: str, names: Sequence[Subprotocol]) -> Subprotocol:
    """Return the client's most preferred subprotocol that is offered (RFC 6455 4.1, 10.).

    One that is batched is chosen only if the client does not offer the same without batches:
    autobahn for Python offers all of them, but ends messages in JSON with another octet.
    Raises NegotiationError, which the library answers with 400.
    """
    offered = _offered(path)
    for name in names:
        plain = Subprotocol(name.removesuffix(SUFFIX))
        if name in offered:
            return plain if plain in names else name
    asked = f"no {' or '.join(names)} is spoken" if names else "the request names no subprotocol"
    raise NegotiationError(f"{asked}; at {path} there are {', '.join(offered)}")


def _is_ascii(request: Request) -> bool:
    """Whether the handshake's headers are ASCII; on others the library raises, or logs."""
    return all(
        value.isascii()
        for name, value in request.headers.raw_items()
        if name.lower().startswith(("sec-websocket-", "connection", "upgrade"))
    )


def _is_served(path: str, request: Request) -> bool:
    """Whether a WebSocket may be opened at the path; one that speaks MQTT may be at any path."""
    if path in WAMP_PATHS or path == MQTT_PATH:
        return True
    names = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    return any(name.strip() in MQTT_SUBPROTOCOLS for name in names)
