"""A recording MQTT client.

Owns: the packets for each request, the records. Never: the checks (see `checks`).
"""

from collections.abc import Sequence
from typing import final

from msgspec import json

from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.testing.clients import MqttClient
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.records import WILL, PublicationRecord, SubscriptionRecord
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import to_mqtt, to_wamp


@final
class RecordingMqttClient(RecordingClient):
    """A recording MQTT client. Topics are given in the canonical notation, filters in MQTT's."""

    def __init__(
        self,
        world: World,
        gateway: int,
        name: str,
        *,
        client_id: str = "",
        will: tuple[str, int] | None = None,
    ) -> None:
        """Connect. will: its topic and QoS; its number is `WILL`."""
        super().__init__(world, gateway, name)
        self.will = will
        self.client_id = client_id
        # When it connected.
        self.since = world.now
        self._publishing: dict[int, PublicationRecord] = {}
        # Those of SUBSCRIBE, or the one of UNSUBSCRIBE.
        self._subscribing: dict[int, list[SubscriptionRecord]] = {}
        packet = will and mqtt.Will(to_mqtt(will[0]), json.encode([name, WILL]), will[1])
        self.client = MqttClient(world, gateway, client_id, self._packet, will=packet)

    @property
    def ready(self) -> bool:
        """Whether CONNACK has come; see `RecordingClient`."""
        return self.client.connected

    @property
    def closed(self) -> bool:
        """Whether the gateway has closed the connection, or died."""
        return self.client.closed

    @property
    def published(self) -> list[PublicationRecord]:
        """All publications, including the will unless the client said goodbye [MQTT-3.14.4-3].

        If the client's gateway was killed or paused, the will may be published or not: DISCONNECT
        or the will may have been on its way. So may the will of a client that left before CONNACK
        came.
        """
        if self.will is None or self.connected:
            return self.sent
        topic, qos = self.will
        at = self.client.closed_at if self.left is None else self.left
        will = PublicationRecord(
            publisher=self.name,
            number=WILL,
            topic=topic,
            at=at,
            acknowledge=True,
            qos=qos,
            retain=False,
            empty=False,
            exclude_me=False,
            answers=[at],
            refused=self._why_no_will,
        )
        return [*self.sent, will]

    @property
    def _why_no_will(self) -> str:
        if self.graceful:
            return "goodbye"
        if self._gateway_was_killed:
            return "killed"
        return "" if self.ready else "not accepted"

    @property
    def _gateway_was_killed(self) -> bool:
        name, world = self.world.gateway_name(self.gateway), self.world
        times = [*world.killed.get(name, []), *world.pauses.get(name, [])]
        return any(time >= self.since for time in times)

    def publish(
        self, topic: str, qos: int = 0, *, retain: bool = False, empty: bool = False
    ) -> PublicationRecord:
        """Publish the next number, or, if `empty`, an empty payload."""
        sent = self._publication(
            topic, qos, acknowledge=qos > 0, retain=retain, empty=empty, exclude_me=False
        )
        payload = b"" if empty else json.encode([self.name, sent.number])
        packet_id = self.client.publish(to_mqtt(topic), payload, qos, retain=retain)
        if qos:
            self._publishing[packet_id] = sent
        return sent

    def subscribe(self, filter_: str, qos: int = 0) -> SubscriptionRecord:
        """Subscribe to a filter in MQTT notation."""
        return self.subscribe_all([filter_], qos)[0]

    def subscribe_all(self, filters: Sequence[str], qos: int) -> list[SubscriptionRecord]:
        """Subscribe to filters, all in one packet."""
        subscriptions = [
            SubscriptionRecord(
                self.name, Pattern.mqtt(one), self.world.now, replay=True, granted_qos=qos
            )
            for one in filters
        ]
        self.subscriptions += subscriptions
        packet_id = self.client.subscribe(*filters, qos=qos)
        self._subscribing[packet_id] = subscriptions
        self.waiting[packet_id] = f"subscribe {filters}"
        return subscriptions

    def unsubscribe(self, subscription: SubscriptionRecord) -> None:
        """End all subscriptions with that pattern."""
        for other in self.subscriptions:
            if other.pattern == subscription.pattern and other.ended is None:
                other.ended = self.world.now
        packet_id = self.client.unsubscribe(_filter(subscription.pattern))
        self.waiting[packet_id] = f"unsubscribe {subscription.pattern.text}"
        self._subscribing[packet_id] = [subscription]

    def leave(self, *, graceful: bool) -> None:
        """End the session; see `RecordingClient`."""
        self.left, self.graceful = self.world.now, graceful
        self.waiting.clear()
        if graceful:
            self.client.disconnect()
        else:
            self.client.drop()

    def _packet(self, packet: mqtt.Packet) -> None:
        now = self.world.now
        match packet:
            case mqtt.Suback(packet_id, codes):
                subscriptions = self._subscribing.pop(packet_id)
                for subscription, code in zip(subscriptions, codes, strict=True):
                    if code == mqtt.FAILURE:
                        subscription.refused = "failure"
                    else:
                        subscription.confirmed = now
                self._answered(packet_id)
            case mqtt.Unsuback(packet_id):
                self._end(self._subscribing.pop(packet_id)[0].pattern)
                self._answered(packet_id)
            case mqtt.Puback(packet_id) | mqtt.Pubcomp(packet_id):
                self._publishing[packet_id].answers.append(now)
            case mqtt.Publish(topic, payload, qos, _, retain):
                self._message(to_wamp(topic), payload, qos, retained=retain)

    def _end(self, pattern: Pattern) -> None:
        for subscription in self.subscriptions:
            if (
                subscription.pattern == pattern
                and subscription.ended is not None
                and subscription.over is None
            ):
                subscription.over = self.world.now

    def _message(self, topic: str, payload: bytes, qos: int, *, retained: bool) -> None:
        active = [one for one in self.subscriptions if one.over is None and not one.refused]
        if not any(one.pattern.matches(topic) for one in active):
            self.add_violation(f"an event on {topic}, to which I am not subscribed")
        args = json.decode(payload) if payload else []
        self._event(None, topic, args, retained=retained, qos=qos)

    def _answered(self, packet_id: int) -> None:
        if self.waiting.pop(packet_id, None) is None and self.left is None:
            self.add_violation(f"an answer to {packet_id}, which does not wait for one")


def _filter(pattern: Pattern) -> str:
    if pattern.is_exact:
        return to_mqtt(pattern.topic)
    levels = ["+" if part is None else to_mqtt(part) for part in pattern.components]
    return "/".join([*levels, "#"] if pattern.rest else levels)
