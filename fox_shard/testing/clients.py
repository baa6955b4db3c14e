"""Scripted clients of the simulator.

Owns: just enough of MQTT and WAMP to talk to a gateway in real bytes, as a real client does.
Never: decisions; a test or scenario says what the clients do.
"""

from collections.abc import Callable
from typing import Any, final

from msgspec import json

from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import decode, encode
from fox_shard.gateway.mqtt.framing import Splitter
from fox_shard.gateway.transports.rawsocket import PING, PONG
from fox_shard.testing.wires import Wire
from fox_shard.testing.world import World


@final
class MqttClient:
    """A client with MQTT 3.1.1 over TCP.

    acknowledged: packet ids of completed publishes. subscribed: return codes by packet id.
    closed_at: when the gateway closed the connection or died. acknowledges: messages at QoS 1 are
    acknowledged at once; set this to False to have them wait for `acknowledge`.
    """

    def __init__(
        self,
        world: World,
        gateway: int,
        client_id: str = "",
        on_packet: Callable[[mqtt.Packet], None] | None = None,
        **connect: Any,  # noqa: ANN401 - fields of Connect
    ) -> None:
        """Connect. on_packet: called with each packet that arrives, before it is answered."""
        self._on_packet = on_packet
        self._splitter = Splitter()
        self.wire: Wire = world.connect(gateway, "mqtt", self._received, self._closed)
        self._packet_id = 0
        self.connected = False
        self.closed = False
        self.closed_at = 0.0
        self._world = world
        self.messages: list[mqtt.Publish] = []
        self.acknowledges = True
        self._unacknowledged: list[int] = []
        self.acknowledged: list[int] = []
        self.subscribed: dict[int, tuple[int, ...]] = {}
        self._unreleased: set[int] = set()
        self.send(mqtt.Connect(client_id=client_id, **connect))

    def send(self, packet: mqtt.Packet) -> None:
        """Send a packet."""
        self.wire.send(encode(packet))

    def _next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id

    def subscribe(self, *filters: str, qos: int = 0) -> int:
        """Subscribe, and return the packet id; see `subscribed`."""
        packet_id = self._next_id()
        self.send(mqtt.Subscribe(packet_id, tuple((one, qos) for one in filters)))
        return packet_id

    def publish(self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False) -> int:
        """Publish, and return the packet id (0 with QoS 0); see `acknowledged`."""
        packet_id = self._next_id() if qos else 0
        self.send(mqtt.Publish(topic, payload, qos, packet_id, retain))
        return packet_id

    def unsubscribe(self, *filters: str) -> int:
        """Unsubscribe, and return the packet id."""
        packet_id = self._next_id()
        self.send(mqtt.Unsubscribe(packet_id, filters))
        return packet_id

    def disconnect(self) -> None:
        """Send DISCONNECT, upon which the gateway closes the connection."""
        self.send(mqtt.Disconnect())

    def drop(self) -> None:
        """Close the connection without a goodbye."""
        self.wire.close()

    @property
    def payloads(self) -> list[bytes]:
        """The payloads of all messages so far."""
        return [message.payload for message in self.messages]

    def _closed(self) -> None:
        self.closed = True
        self.closed_at = self._world.now

    def _received(self, data: bytes) -> None:
        for header, body in self._splitter.feed(data):
            packet = decode(header, body, mqtt.LEVEL_311)
            if self._on_packet is not None:
                self._on_packet(packet)
            self._take(packet)

    def _take(self, packet: mqtt.Packet) -> None:
        match packet:
            case mqtt.Connack(code):
                self.connected = code == mqtt.ACCEPTED
            case mqtt.Suback(packet_id, codes):
                self.subscribed[packet_id] = codes
            case mqtt.Puback(packet_id) | mqtt.Pubcomp(packet_id):
                self.acknowledged.append(packet_id)
            case mqtt.Pubrec(packet_id):
                self.send(mqtt.Pubrel(packet_id))
            case mqtt.Pubrel(packet_id):
                self._unreleased.discard(packet_id)
                self.send(mqtt.Pubcomp(packet_id))
            case mqtt.Publish():
                self._take_publish(packet)

    def _take_publish(self, packet: mqtt.Publish) -> None:
        if packet.qos == 2:
            self.send(mqtt.Pubrec(packet.packet_id))
            if packet.packet_id in self._unreleased:
                return
            self._unreleased.add(packet.packet_id)
        self.messages.append(packet)
        if packet.qos == 1:
            self._unacknowledged.append(packet.packet_id)
            if self.acknowledges:
                self.acknowledge()

    def acknowledge(self) -> None:
        """Acknowledge the messages at QoS 1 that wait for that."""
        waiting, self._unacknowledged = self._unacknowledged, []
        for packet_id in waiting:
            self.send(mqtt.Puback(packet_id))


@final
class WampClient:
    """A client with WAMP in JSON over RawSocket.

    inbox: all messages that have arrived, as lists. session: 0 until WELCOME. closed_at: when the
    gateway closed the connection or died.
    """

    def __init__(
        self,
        world: World,
        gateway: int,
        realm: str = "realm1",
        on_message: Callable[[list[Any]], None] | None = None,
    ) -> None:
        """Connect and send HELLO. on_message: called with each message that arrives."""
        self._on_message = on_message
        self._buffer = b""
        self._greeted = False
        self._request = 0
        self.session = 0
        self.inbox: list[list[Any]] = []
        self._leaving = False
        self.closed = False
        self.closed_at = 0.0
        self._world = world
        self.wire = world.connect(gateway, "rawsocket", self._received, self._closed)
        self.wire.send(b"\x7f\xf1\x00\x00")
        calls = {
            "progressive_call_results": True,
            "progressive_call_invocations": True,
            "call_canceling": True,
            "call_reroute": True,
        }
        roles: dict[str, Any] = {
            "publisher": {},
            "subscriber": {},
            "caller": {"features": calls},
            "callee": {"features": calls},
        }
        self.send([1, realm, {"roles": roles}])

    def send(self, message: list[Any]) -> None:
        """Send a message."""
        data = json.encode(message)
        self.wire.send(len(data).to_bytes(4, "big") + data)

    def request(self, code: int, *rest: Any) -> int:  # noqa: ANN401 - the fields of a message
        """Send a message with a new request id after its code, and return the request id."""
        self._request += 1
        self.send([code, self._request, *rest])
        return self._request

    def publish(self, topic: str, *args: Any, **options: Any) -> int:  # noqa: ANN401
        """Publish, and return the request id."""
        return self.request(16, options, topic, list(args))

    def subscribe(self, topic: str, **options: Any) -> int:  # noqa: ANN401
        """Subscribe, and return the request id."""
        return self.request(32, options, topic)

    def register(self, procedure: str, **options: Any) -> int:  # noqa: ANN401
        """Register, and return the request id."""
        return self.request(64, options, procedure)

    def call(self, procedure: str, *args: Any, **options: Any) -> int:  # noqa: ANN401
        """Call, and return the request id."""
        return self.request(48, options, procedure, list(args))

    def leave(self) -> None:
        """Send GOODBYE, upon which the gateway closes the connection."""
        self._leaving = True
        self.send([6, {}, "wamp.close.close_realm"])

    def drop(self) -> None:
        """Close the connection without a goodbye."""
        self.wire.close()

    def of(self, code: int) -> list[list[Any]]:
        """Return the messages with that code, in the order of arrival."""
        return [message for message in self.inbox if message[0] == code]

    def answer(self, code: int, request: int) -> list[Any] | None:
        """Return the answer to a request if it has that code (ERROR: 8), or None."""
        at = 2 if code == 8 else 1
        return next((message for message in self.of(code) if message[at] == request), None)

    @property
    def events(self) -> list[Any]:
        """The first arguments of all events so far."""
        return [message[4][0] for message in self.of(36)]

    def _closed(self) -> None:
        self.closed = True
        self.closed_at = self._world.now

    def _received(self, data: bytes) -> None:
        self._buffer += data
        if not self._greeted:
            self._greeted = True
            self._buffer = self._buffer[4:]
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[1:4], "big")
            if len(self._buffer) < end:
                return
            if self._buffer[0] == PING:
                self.wire.send(bytes((PONG, *self._buffer[1:end])))
                self._buffer = self._buffer[end:]
                continue
            message = json.decode(self._buffer[4:end])
            self._buffer = self._buffer[end:]
            if message[0] == 2:
                self.session = message[1]
            elif message[0] == 6 and not self._leaving:
                self.leave()
            self.inbox.append(message)
            if self._on_message is not None:
                self._on_message(message)
