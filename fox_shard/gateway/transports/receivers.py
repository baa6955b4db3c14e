"""What transports hand messages and bytes to.

Owns: the interfaces, so that a transport knows no protocol. Never: an implementation (see
`factories`).
"""

from collections.abc import Callable, Hashable
from typing import Protocol

from fox_shard.gateway.clients.connection import Connection, Receiver

Frame = Callable[[bytes], bytes]
"""Makes a message's payload the bytes that are sent."""


class MessageReceiver(Protocol):
    """What takes the messages of a WAMP client."""

    def message(self, data: bytes, now: float) -> None:
        """Take one message."""

    def lost(self, now: float) -> None:
        """No more will come."""

    def abort(self, uri: str, message: str) -> None:
        """The client has broken the rules of its transport."""


class WampMaker(Protocol):
    """Makes what takes the messages of a WAMP client."""

    def __call__(
        self,
        connection: Connection,
        serializer: str,
        frame: Frame,
        hangup: Callable[[], None],
        flavour: Hashable,
        *,
        limit: int | None = None,
    ) -> MessageReceiver:
        """serializer: the subprotocol's name. flavour: equal where serializer, frame, limit are.

        limit: bytes of the longest message that the client takes; None: any.
        """


class MqttMaker(Protocol):
    """Makes what takes the bytes of an MQTT client; packets need not end where messages do."""

    def __call__(
        self, connection: Connection, frame: Frame, hangup: Callable[[], None]
    ) -> Receiver: ...
