"""The protocols of each listener.

Owns: how transports and protocols are combined; no other module knows all of them. Never: sockets.
"""

from collections.abc import Callable, Hashable, Mapping

from fox_shard.gateway.clients.connection import Connection, Receiver
from fox_shard.gateway.clients.host import Host
from fox_shard.gateway.mqtt.reader import Reader
from fox_shard.gateway.mqtt.session import MqttSession
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.transports.rawsocket import RawSocket
from fox_shard.gateway.transports.receivers import Frame, WampMaker
from fox_shard.gateway.transports.websocket import WebSocket
from fox_shard.gateway.wamp.event_encoder import NO_LIMIT
from fox_shard.gateway.wamp.serializers import SERIALIZERS
from fox_shard.gateway.wamp.states import WampConversation

Maker = Callable[[Connection], Receiver]


def makers(host: Host, router: Router) -> Mapping[str, Maker]:
    """Return, for each listener, the function that makes the first receiver of a connection.

    "local": of connections without a socket, whose messages are framed as in RawSocket: those of an
    application, and of its web server, which has the WebSockets. "local batched": the same, of
    batches.
    host, router: the same gateway, as transports and as sessions see it.
    """

    def wamp(transport: str) -> WampMaker:
        def make(
            connection: Connection,
            serializer: str,
            frame: Frame,
            hangup: Callable[[], None],
            encoder: Hashable,
            *,
            limit: int | None = None,
        ) -> WampConversation:
            return WampConversation(
                router,
                connection,
                SERIALIZERS[serializer],
                frame,
                hangup,
                transport,
                encoder,
                limit=NO_LIMIT if limit is None else limit,
            )

        return make

    def mqtt(connection: Connection, frame: Frame, hangup: Callable[[], None]) -> Reader:
        return Reader(MqttSession(router, connection, frame, hangup))

    by_websocket, by_rawsocket, by_nothing = wamp("websocket"), wamp("rawsocket"), wamp("local")

    def local(connection: Connection) -> RawSocket:
        access = connection.access
        is_own = access is not None and access.application
        return RawSocket(host, connection, by_nothing if is_own else by_websocket)

    def local_batched(connection: Connection) -> RawSocket:
        return RawSocket(host, connection, by_websocket, batched=True)

    return {
        "websocket": lambda connection: WebSocket(host, connection, by_websocket, mqtt),
        "rawsocket": lambda connection: RawSocket(host, connection, by_rawsocket),
        "local": local,
        "local batched": local_batched,
        "mqtt": lambda connection: Reader(MqttSession(router, connection)),
    }
