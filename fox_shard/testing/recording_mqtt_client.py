"""An MQTT client with a ledger.

Owns: what it says in which packet, and its record. Never: what is right (see `checks`).
"""

from typing import final

from msgspec import json

from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.testing.clients import MqttClient
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.records import WILL, Sent, Window
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import to_mqtt, to_wamp


@final
class RecordingMqttClient(RecordingClient):
    """An MQTT client. Topics and patterns are given in the canonical notation."""

    def __init__(
        self,
        world: World,
        gateway: int,
        name: str,
        *,
        client_id: str = "",
        will: tuple[str, int] | None = None,
    ) -> None:
        """will: its topic and quality of service; its number is `WILL`."""
        super().__init__(world, gateway, name)
        self.will = will
        self.client_id = client_id
        self._since = world.now
        self._publishing: dict[int, Sent] = {}
        self._subscribing: dict[int, Window] = {}
        packet = will and mqtt.Will(to_mqtt(will[0]), json.encode([name, WILL]), will[1])
        self.client = MqttClient(world, gateway, client_id, self._packet, will=packet)

    @property
    def ready(self) -> bool:
        """See `RecordingClient`."""
        return self.client.connected

    @property
    def closed(self) -> bool:
        """See `RecordingClient`."""
        return self.client.closed

    @property
    def everything(self) -> list[Sent]:
        """See `RecordingClient`. A will is due unless the client said goodbye [MQTT-3.14.4-3].

        If the gateway was killed, its goodbye, or the will itself, may have been on the way.
        """
        if self.will is None or self.here:
            return self.sent
        topic, quality = self.will
        at = self.client.closed_at if self.left is None else self.left
        will = Sent(
            publisher=self.name,
            number=WILL,
            topic=topic,
            at=at,
            safe=True,
            quality=quality,
            retain=False,
            empty=False,
            exclude_me=False,
            answers=[at],
            refused="goodbye" if self.graceful else "killed" if self._gateway_was_killed else "",
        )
        return [*self.sent, will]

    @property
    def _gateway_was_killed(self) -> bool:
        times = self.world.killed.get(f"gateway-{self.gateway}", [])
        return any(time >= self._since for time in times)

    def publish(
        self, topic: str, quality: int = 0, *, retain: bool = False, empty: bool = False
    ) -> Sent:
        """Publish the next number, or nothing."""
        sent = self._publication(
            topic, quality, safe=quality > 0, retain=retain, empty=empty, exclude_me=False
        )
        payload = b"" if empty else json.encode([self.name, sent.number])
        packet_id = self.client.publish(to_mqtt(topic), payload, quality, retain=retain)
        if quality:
            self._publishing[packet_id] = sent
        return sent

    def subscribe(self, filter_: str, quality: int = 0) -> Window:
        """filter_: in MQTT notation."""
        pattern = Pattern.mqtt(filter_)
        window = Window(self.name, pattern, self.world.now, replay=True, grant=quality)
        self.windows.append(window)
        packet_id = self.client.subscribe(filter_, qos=quality)
        self._subscribing[packet_id] = window
        self.waiting[packet_id] = f"subscribe {filter_}"
        return window

    def unsubscribe(self, window: Window) -> None:
        """All windows of that pattern end."""
        for other in self.windows:
            if other.pattern == window.pattern and other.ended is None:
                other.ended = self.world.now
        packet_id = self.client.unsubscribe(_filter(window.pattern))
        self.waiting[packet_id] = f"unsubscribe {window.pattern.text}"
        self._subscribing[packet_id] = window

    def leave(self, *, graceful: bool) -> None:
        """End the session."""
        self.left, self.graceful = self.world.now, graceful
        self.waiting.clear()
        if graceful:
            self.client.disconnect()
        else:
            self.client.drop()

    def _packet(self, packet: mqtt.Packet) -> None:
        now = self.world.now
        match packet:
            case mqtt.Suback(packet_id):
                self._subscribing.pop(packet_id).confirmed = now
                self._answered(packet_id)
            case mqtt.Unsuback(packet_id):
                self._end(self._subscribing.pop(packet_id).pattern)
                self._answered(packet_id)
            case mqtt.Puback(packet_id) | mqtt.Pubcomp(packet_id):
                self._publishing[packet_id].answers.append(now)
            case mqtt.Publish(topic, payload, quality, _, retain):
                self._message(to_wamp(topic), payload, quality, retained=retain)

    def _end(self, pattern: Pattern) -> None:
        for window in self.windows:
            if window.pattern == pattern and window.ended is not None and window.over is None:
                window.over = self.world.now

    def _message(self, topic: str, payload: bytes, quality: int, *, retained: bool) -> None:
        if not any(w.over is None and w.pattern.matches(topic) for w in self.windows):
            self.complain(f"an event on {topic}, to which I am not subscribed")
        args = json.decode(payload) if payload else []
        self._event(None, topic, args, retained=retained, quality=quality)

    def _answered(self, packet_id: int) -> None:
        if self.waiting.pop(packet_id, None) is None and self.left is None:
            self.complain(f"an answer to {packet_id}, which does not wait for one")


def _filter(pattern: Pattern) -> str:
    if pattern.is_exact:
        return to_mqtt(pattern.topic)
    levels = ["+" if part is None else to_mqtt(part) for part in pattern.components]
    return "/".join([*levels, "#"] if pattern.rest else levels)
