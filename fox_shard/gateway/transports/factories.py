"""What is spoken on which listener.

Owns: how transports and protocols are put together; the only place that knows both protocols.
Never: sockets.
"""

from collections.abc import Callable, Mapping

from fox_shard.gateway.clients.connection import Connection, Receiver
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.mqtt.session import MqttSession
from fox_shard.gateway.transports.rawsocket import RawSocket
from fox_shard.gateway.transports.websocket import Frame, WebSocket
from fox_shard.gateway.wamp.serializers import SERIALIZERS
from fox_shard.gateway.wamp.states import Conversation

Maker = Callable[[Connection], Receiver]


def makers(gateway: Gateway) -> Mapping[str, Maker]:
    """For each listener, what makes the first receiver of a new connection."""

    def wamp(
        connection: Connection,
        serializer: str,
        frame: Frame,
        hangup: Callable[[], None],
        flavour: str,
    ) -> Conversation:
        return Conversation(
            gateway, connection, SERIALIZERS[serializer], frame, hangup, "websocket", flavour
        )

    def mqtt(connection: Connection, frame: Frame, hangup: Callable[[], None]) -> MqttSession:
        return MqttSession(gateway, connection, frame, hangup)

    return {
        "websocket": lambda connection: WebSocket(gateway, connection, wamp, mqtt),
        "rawsocket": lambda connection: RawSocket(gateway, connection),
        "mqtt": lambda connection: MqttSession(gateway, connection, None),
    }
