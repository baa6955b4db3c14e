"""An MQTT session, from CONNECT to DISCONNECT: what the client subscribes to and is sent.

Owns: what is answered, and what the router sends. Never: which packet is legal when (see `reader`),
the layout of packets (see `codec`), the numbering of messages in flight (see `inflight`).

Sessions end with their connection: one with clean session 0 is taken as clean.
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.backplane.frames import Event, Refused, qos
from fox_shard.documents.payloads import RAW
from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import encode
from fox_shard.gateway.mqtt.event_encoder import QOS0, Framing, MqttFlavour, flavour_of
from fox_shard.gateway.mqtt.framing import MALFORMED
from fox_shard.gateway.mqtt.handshake import admit
from fox_shard.gateway.mqtt.inflight import AWAITING_PUBACK, AWAITING_PUBCOMP, Inbound, Outbound
from fox_shard.gateway.mqtt.keepalive import KeepAlive
from fox_shard.gateway.mqtt.subscribing import Subscribing, is_shared
from fox_shard.gateway.mqtt.translate import FATAL, find_route, will_flags
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.session import CONNECTION_LOST, Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import mqtt_deliverable

_PUBACK: Final = mqtt.PUBACK_HEAD[0]
_PUBREC: Final = mqtt.PUBREC_HEAD[0]
_PUBREL: Final = mqtt.PUBREL_HEAD[0]
KEYS_FIRST: Final = SubscribeOptions(replay=True)
_ANONYMOUS: Final = "anonymous"


@final
class MqttSession(Session):
    """A client that speaks MQTT 3.1 or 3.1.1. Its `reader.Reader` calls it."""

    __slots__ = (
        "_framing",
        "_hangup",
        "_next_number",
        "_subscribing",
        "closed",
        "inbound",
        "keep_alive",
        "level",
        "outbound",
        "router",
    )

    flavour: MqttFlavour

    def __init__(
        self,
        router: Router,
        connection: Connection,
        frame: Framing = None,
        hangup: Callable[[], None] | None = None,
    ) -> None:
        """frame: wraps bytes for the transport; None: TCP. hangup: the transport's way to close."""
        super().__init__(connection)
        self.router = router
        self._framing = frame
        self._hangup = hangup
        # The protocol level; 0 until the CONNECT has been accepted.
        self.level = 0
        self.closed = False
        self.keep_alive: KeepAlive | None = None
        self.inbound: Inbound | None = None
        # Of the publish that makes the next `Inbound`.
        self._next_number = 1
        self.outbound: Outbound | None = None
        self._subscribing: Subscribing | None = None
        timeout = router.settings.handshake_timeout
        router.timers.at(router.now + timeout, self._end_handshake)

    def lost(self) -> None:
        """The connection is gone. Idempotent."""
        if not self.closed:
            self._let_go(CONNECTION_LOST, graceful=False)

    def end(self, reason: str, message: str) -> None:
        """The router ends the session; MQTT 3.1.1 cannot tell the client why."""
        self.finish(reason)

    def tidy(self) -> None:
        """Let go of what an idle client does not need: most clients ping only then."""
        if self.outbound is not None and self.outbound.idle:
            self.outbound = None
        if self.inbound is not None and self.inbound.idle:
            self._next_number = self.inbound.next
            self.inbound = None

    def finish(self, reason: str, *, graceful: bool = False) -> None:
        """End the session, and the connection. Idempotent. reason: for the log."""
        if not self.closed:
            self._let_go(reason, graceful=graceful)
            if self._hangup is not None:
                self._hangup()
            else:
                self.connection.close()

    def _let_go(self, reason: str, *, graceful: bool) -> None:
        self.closed = True
        if self.keep_alive is not None:
            self.keep_alive.stopped = True
        self.inbound = self.outbound = self._subscribing = None
        if self.level:
            self.router.detach(self, reason, graceful=graceful)

    def write(self, chunk: bytes) -> None:
        """Send a packet."""
        framing = self._framing
        self.connection.write(chunk if framing is None else framing(chunk))

    def connect(self, packet: mqtt.Connect) -> None:
        """The first packet. Raises ConnectRefused, ProtocolViolation."""
        router = self.router
        self.realm = admit(router.realms, router.mqtt.realm, packet)
        will = packet.will
        will_route = None if will is None else self.find_route(will.topic.encode())
        self.authid = packet.client_id or _ANONYMOUS
        self.authrole = _ANONYMOUS
        self.flavour = flavour_of(self._framing)
        self.level = packet.level
        router.attach(
            self,
            protocol=mqtt.PROTOCOLS[packet.level],
            transport="tcp" if self._framing is None else "websocket",
            authmethod=_ANONYMOUS,
            authprovider="static",
            # Where it is empty, the session's id will do for a unique one [MQTT-3.1.3-6].
            client=packet.client_id,
        )
        self.traffic.others += 1
        if will is not None and will_route is not None:
            router.set_will(self, will_route, will_flags(will), RAW, will.payload)
        self.write(encode(mqtt.Connack(mqtt.ACCEPTED), packet.level))
        if packet.keep_alive:
            self.keep_alive = KeepAlive(
                packet.keep_alive, self.connection, router.timers, router.now, self._overdue
            )

    def _end_handshake(self, now: float) -> None:
        if not self.level:
            self.finish("no CONNECT came in time")

    def _overdue(self) -> None:
        self.finish("nothing came for one and a half times the keep-alive")

    # What the client publishes.

    def find_route(self, topic: bytes, count: int = 1) -> Route | None:
        """The way to a topic that is new to the realm; None: what goes there is dropped.

        count: messages that go there. Raises ProtocolViolation.
        """
        route = find_route(self.realm, topic, self.router.settings.topic_length)
        if route is None:
            self.router.dropped += count
            self.traffic.others += count
        return route

    def begin_inbound(self) -> Inbound:
        """Expect acknowledgements of what the client publishes."""
        self.inbound = Inbound(self._next_number)
        return self.inbound

    def answer(self, acknowledgements: bytes) -> None:
        """Send acknowledgements of what the client published."""
        if acknowledgements:
            self.write(acknowledgements)
            if len(acknowledgements) > 4:
                # Several packets in one chunk.
                self.traffic.messages_out += len(acknowledgements) // 4 - 1

    def published(self, requests: list[int], publications: list[int]) -> None:
        """The publishes with those numbers are safe: acknowledge them, and what waited for them."""
        if self.inbound is not None:
            self.answer(self.inbound.settle_all(requests))

    def refused(self, refused: Refused) -> None:
        """A publish failed: MQTT 3.1.1 has no way to say so. See `FATAL`."""
        if refused.uri in FATAL:
            self.finish(f"{refused.uri}: {refused.message}")
        else:
            self.router.dropped += 1
            self.published([refused.request], [0])

    # What the client subscribes to.

    def subscribe(self, packet: mqtt.Subscribe) -> None:
        """Subscribe to its filters. Raises ProtocolViolation."""
        if self._subscribing is None:
            self._subscribing = Subscribing()
        router = self.router
        requests, suback = self._subscribing.begin(packet, router.settings.topic_length)
        if suback is not None:
            self.write(encode(suback, self.level))
        for request, pattern, quality in requests:
            router.subscribe(self, request, pattern, quality, KEYS_FIRST)

    def subscribed(self, request: int, subscription: Subscription, retained: list[Event]) -> None:
        """One filter's subscription stands: the SUBACK, if it was the last, and its keys.

        While other filters of the same SUBSCRIBE are not confirmed, the keys go before the SUBACK
        (allowed by MQTT 3.8.4): live events follow, and an old key must not come after a new one.
        """
        grant = self._confirm(request)
        if grant is not None:
            self.shown(retained, subscription, grant)

    def shown(self, events: list[Event], subscription: Subscription, grant: int) -> None:
        """See `Session`."""
        for event in events:
            publish = event.publish
            if not mqtt_deliverable(publish.topic):
                continue
            quality = min(qos(publish.flags), grant)
            if quality:
                header = QOS0 | quality << 1 | mqtt.RETAIN_FLAG
                (self.outbound or self.begin_outbound()).send(event, header, counted=False)
            else:
                self.connection.write(self.flavour.retained(event))

    def _confirm(self, request: int) -> int | None:
        """Send the SUBACK that only waits for this request; return the quality of service granted.

        None: there is no such request.
        """
        confirmed = None if self._subscribing is None else self._subscribing.confirm(request)
        if confirmed is None:
            return None
        grant, suback = confirmed
        if suback is not None:
            self.write(encode(suback, self.level))
        return grant

    def unsubscribe(self, packet: mqtt.Unsubscribe) -> None:
        """Unsubscribe from its filters. Raises ProtocolViolation."""
        patterns = [Pattern.mqtt(text).text for text in packet.filters if not is_shared(text)]
        for pattern in patterns:
            if self._subscribing is not None:
                for request in self._subscribing.requests_for(pattern):
                    # The gateway forgets it; its SUBACK is due all the same.
                    self._confirm(request)
            self.router.unsubscribe(self, pattern)
        self.write(encode(mqtt.Unsuback(packet.packet_id), self.level))

    # What the client is sent.

    def deliver(self, event: Event, grant: int) -> None:
        """Send an event at its quality of service, or the granted one if that is less."""
        self.deliver_all([event], grant)

    def deliver_all(self, events: list[Event], grant: int) -> None:
        """As `deliver` for each: they have one topic, and the same flags."""
        if self.closed:
            return
        quality = min(qos(events[0].publish.flags), grant)
        if not quality:
            for chunk in self.flavour.events(events, None):
                self.connection.write(chunk)
            return
        outbound = self.outbound or self.begin_outbound()
        queued = outbound.send_all(events, QOS0 | quality << 1)
        if queued > self.router.settings.outbound_limit:
            # The client reads, but does not confirm.
            self.router.slow(self.connection)

    def begin_outbound(self) -> Outbound:
        """Expect acknowledgements of what the client is sent."""
        window = self.router.mqtt.max_inflight
        self.outbound = Outbound(self.connection, self.flavour, window)
        return self.outbound

    def acknowledged(self, header: int, packet_id: bytes) -> None:
        """PUBACK, PUBREC, PUBCOMP, of what was sent, and PUBREL, of what was received."""
        if packet_id == mqtt.NO_PACKET_ID:
            raise ProtocolViolation("an acknowledgement of packet identifier 0", MALFORMED)
        outbound = self.outbound
        if header == _PUBREL:
            # PUBCOMP even if the identifier is unknown: the sender asks again.
            if self.inbound is not None:
                self.inbound.release(packet_id)
            self.write(mqtt.PUBCOMP_HEAD + packet_id)
        elif header == _PUBREC:
            if outbound is not None:
                outbound.receive(int.from_bytes(packet_id, "big"))
            self.write(mqtt.PUBREL_HEAD + packet_id)
        elif outbound is not None:
            awaited = AWAITING_PUBACK if header == _PUBACK else AWAITING_PUBCOMP
            outbound.confirm(int.from_bytes(packet_id, "big"), awaited)
