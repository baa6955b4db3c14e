"""Events as MQTT PUBLISH packets, encoded once for all sessions with the same framing.

Owns: the encoding of events and the caches that make it cheap. Never: sessions.
"""

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Final, TypeAlias, final

from fox_shard.backplane.frames import Event, Publish, SelectedEvent
from fox_shard.documents import payloads
from fox_shard.errors import InvalidPayload
from fox_shard.gateway.mqtt.codec import encode_length, encode_string
from fox_shard.gateway.mqtt.packets import MAX_REMAINING_LENGTH, PUBLISH, RETAIN_FLAG
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.topics.topic import to_mqtt

Framing: TypeAlias = Callable[[bytes], bytes] | None
"""A function that wraps bytes in a WebSocket message; None: they are sent as they are (TCP)."""

QOS0: Final = PUBLISH << 4
packed: Final = Struct(">H").pack
"""Encode a packet identifier in two bytes."""
_TOPICS_LIMIT = 20_000
# Remaining length → the first two bytes of a short PUBLISH at QoS 0.
_SHORT = tuple(bytes((QOS0, length)) for length in range(0x80))


@cache
def event_encoder_of(framing: Framing) -> "MqttEventEncoder":
    """Return the encoder that all sessions with this framing share."""
    return MqttEventEncoder(framing)


@final
class MqttEventEncoder:
    """Encodes events as PUBLISH packets of MQTT 3.1 and 3.1.1, with one framing."""

    __slots__ = ("_event", "_header", "_parts", "_topics", "framing")

    per_subscription: bool = False

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        # Canonical topic -> MQTT topic with its length before it. At most _TOPICS_LIMIT.
        self._topics: dict[str, bytes] = {}
        # The last arguments and result of `parts`, which all sessions of a fan-out call alike.
        self._event: Event | None = None
        self._header = 0
        self._parts = (b"", b"")

    def event(self, event: Event, subscription: Subscription | None) -> bytes:
        """Encode the PUBLISH at QoS 0, framed; return b"" if MQTT cannot express the event."""
        publish = event.publish
        topic = self._topics.get(publish.topic) or self._encode_topic(publish.topic)
        payload = publish.args if publish.encoding == payloads.RAW else _payload_of(publish)
        if payload is None:
            return b""
        length = len(topic) + len(payload)
        if length < 0x80:
            packet = _SHORT[length] + topic + payload
        elif length <= MAX_REMAINING_LENGTH:
            packet = b"%c%b%b%b" % (QOS0, encode_length(length), topic, payload)
        else:
            return b""
        framing = self.framing
        return packet if framing is None else framing(packet)

    def events(self, events: list[Event], subscription: Subscription | None) -> list[bytes]:
        """Encode events of one topic as `event` does, leaving out what MQTT cannot express."""
        topic = self._encode_topic(events[0].publish.topic)
        framing = self.framing
        chunks = []
        for event in events:
            publish = event.publish
            payload = publish.args
            length = len(topic) + len(payload)
            if length < 0x80 and publish.encoding == payloads.RAW and framing is None:
                chunks.append(_SHORT[length] + topic + payload)
            elif chunk := self.event(event, None):
                chunks.append(chunk)
        return chunks

    def selected(self, selected: SelectedEvent, subscription: Subscription, removed: str) -> bytes:
        """Return nothing. This is never called: MQTT subscriptions have no selector."""
        return b""

    def packets(self, events: list[Event], header: int, packet_id: int) -> list[bytes]:
        """Encode the PUBLISHes at QoS 1 or 2, framed, for events of one topic.

        header: their first byte. packet_id: the first event's, from which the others count up.
        Events that MQTT cannot express are left out and use no identifier.
        """
        framing = self.framing
        packets = []
        head, size = b"", -1
        for event in events:
            publish = event.publish
            payload = publish.args
            if publish.encoding != payloads.RAW or len(payload) != size:
                head, payload = self._encode(publish, header, 2)
                if not head:
                    size = -1
                    continue
                size = len(payload) if publish.encoding == payloads.RAW else -1
            packet = head + packed(packet_id) + payload
            packets.append(packet if framing is None else framing(packet))
            packet_id += 1
        return packets

    def retained(self, event: Event, subscription: Subscription | None = None) -> bytes:
        """Encode the PUBLISH at QoS 0, framed, that shows a retained key [MQTT-3.3.1-8].

        Returns b"" if MQTT cannot express the event.
        """
        head, payload = self._encode(event.publish, QOS0 | RETAIN_FLAG, 0)
        if not head:
            return b""
        packet = head + payload
        return packet if self.framing is None else self.framing(packet)

    def parts(self, event: Event, header: int) -> tuple[bytes, bytes]:
        """Encode the PUBLISH at QoS 1 or 2, unframed, as the bytes around its packet identifier.

        header: the first byte. Returns (b"", b"") if MQTT cannot express the event.
        """
        if event is self._event and header == self._header:
            return self._parts
        self._event, self._header = event, header
        publish = event.publish
        topic = self._topics.get(publish.topic)
        payload = publish.args
        if topic is None or publish.encoding != payloads.RAW or len(topic) + len(payload) > 0x7D:
            parts = self._parts = self._encode(publish, header, 2)
            return parts
        # The frequent case of `_encode`, without the call.
        parts = self._parts = b"%c%c%b" % (header, len(topic) + len(payload) + 2, topic), payload
        return parts

    def _encode(self, publish: Publish, header: int, between: int) -> tuple[bytes, bytes]:
        """Return the bytes before and behind the packet identifier, which has `between` bytes."""
        topic = self._topics.get(publish.topic) or self._encode_topic(publish.topic)
        payload = publish.args if publish.encoding == payloads.RAW else _payload_of(publish)
        if payload is None or len(topic) + between + len(payload) > MAX_REMAINING_LENGTH:
            return b"", b""
        length = len(topic) + between + len(payload)
        if length < 0x80:
            return b"%c%c%b" % (header, length, topic), payload
        return b"%c%b%b" % (header, encode_length(length), topic), payload

    def _encode_topic(self, topic: str) -> bytes:
        encoded = self._topics.get(topic)
        if encoded is None:
            if len(self._topics) >= _TOPICS_LIMIT:
                self._topics.clear()
            encoded = self._topics[topic] = encode_string(to_mqtt(topic))
        return encoded


def _payload_of(publish: Publish) -> bytes | None:
    """Return the payload for MQTT clients; None if a WAMP client's arguments are unreadable."""
    if publish.encoding == payloads.RAW:
        return publish.args
    try:
        return payloads.to_mqtt(publish.encoding, publish.args, publish.kwargs)
    except InvalidPayload:
        return None
