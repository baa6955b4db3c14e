"""Receivers, to which transports hand messages and bytes.

Owns: the interfaces, so that a transport knows no protocol. Never: an implementation (see
`factories`).
"""

from collections.abc import Callable, Hashable
from typing import Final, Protocol

from fox_shard.gateway.clients.connection import Connection, Receiver

MESSAGE: Final = 10
"""Units that a message costs (see `Turns`)."""

BYTES_SHIFT: Final = 8
"""Bytes of a message cost a unit for each 2 to the power of this, after they are inflated."""

BEFORE_SESSION: Final = 1 << 17
"""Bytes of the longest message of a WAMP client that has no session yet. A token may have 64 Ki."""

BEFORE_MQTT_SESSION: Final = 0x60000
"""The same in the WebSocket messages of an MQTT client: five strings of 64 KiB fit."""

Frame = Callable[[bytes], bytes]
"""A function that turns a message's payload into the bytes to send."""


class MessageReceiver(Protocol):
    """The session of a WAMP client, as its transport sees it."""

    def message(self, data: bytes, now: float) -> None:
        """Handle one message."""

    def connection_lost(self, now: float) -> None:
        """End the session, because no more messages will come."""

    def abort(self, uri: str, message: str) -> None:
        """End the session, because the client has violated the rules of its transport."""


class WampMaker(Protocol):
    """A function that makes the session of a WAMP client."""

    def __call__(
        self,
        connection: Connection,
        serializer: str,
        frame: Frame,
        hangup: Callable[[], None],
        encoder: Hashable,
        *,
        limit: int | None = None,
    ) -> MessageReceiver:
        """Make a session. serializer: the subprotocol's name. hangup: ends the transport properly.

        encoder: a key, equal for sessions whose serializer, frame and limit do the same.
        limit: bytes of the longest message that the client takes; None: any.
        """


class MqttMaker(Protocol):
    """A function that makes the receiver of an MQTT client.

    The receiver gets the payloads of WebSocket messages, at whose ends packets need not end.
    """

    def __call__(
        self, connection: Connection, frame: Frame, hangup: Callable[[], None]
    ) -> Receiver: ...
