"""An MQTT session, from CONNECT to DISCONNECT: its answers, subscriptions and deliveries.

Owns: the answers to the client's packets, and everything that the router sends. Never: which packet
is legal when (see `reader`), the layout of packets (see `codec`), the numbering of messages in
flight (see `inflight`).

Sessions end with their connection: clean session 0 is treated like 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from fox_shard.backplane.frames import Event, Refused, qos
from fox_shard.documents.payloads import RAW
from fox_shard.errors import ProtocolViolation, Refusal
from fox_shard.gateway.auth import login
from fox_shard.gateway.auth.claims import PROVIDER, Attempt, Authenticated
from fox_shard.gateway.auth.refusals import AuthenticationFailed
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.mqtt import handshake
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import encode
from fox_shard.gateway.mqtt.event_encoder import QOS0, Framing, event_encoder_of
from fox_shard.gateway.mqtt.framing import MALFORMED
from fox_shard.gateway.mqtt.inflight import (
    AWAITING_PUBACK,
    AWAITING_PUBCOMP,
    InboundPublishes,
    OutboundPublishes,
)
from fox_shard.gateway.mqtt.keepalive import KeepAlive
from fox_shard.gateway.mqtt.subscribing import Subscribing, is_supported
from fox_shard.gateway.mqtt.translate import FATAL, exceeded_limit, find_route, will_flags
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.session import CONNECTION_LOST, Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import check_mqtt_topic, mqtt_deliverable

_PUBACK: Final = mqtt.PUBACK_HEAD[0]
_PUBREC: Final = mqtt.PUBREC_HEAD[0]
_PUBREL: Final = mqtt.PUBREL_HEAD[0]
KEYS_FIRST: Final = SubscribeOptions(replay=True)
"""MQTT subscribers always get the matching keys first."""
_ANONYMOUS: Final = "anonymous"
MAX_ABOUT: Final = 100
"""Characters of what a client says of itself that the log repeats if it is refused."""


def _read_nothing() -> None:
    """Do nothing: a session without a reader has read nothing."""


@final
class MqttSession(Session):
    """The session of a client that speaks MQTT 3.1 or 3.1.1, called by its `reader.Reader`."""

    __slots__ = (
        "_attempt",
        "_connect",
        "_framing",
        "_hangup",
        "_next_number",
        "_subscribing",
        "closed",
        "inbound",
        "keep_alive",
        "level",
        "on_admitted",
        "outbound",
        "router",
    )

    revocable = False

    def __init__(
        self,
        router: Router,
        connection: Connection,
        frame: Framing = None,
        hangup: Callable[[], None] | None = None,
    ) -> None:
        """frame: wraps bytes for the transport; None: TCP, where nothing is wrapped.

        hangup: closes the transport properly; None: closing the connection is enough.
        """
        super().__init__(connection)
        self.router = router
        self._framing = frame
        self._hangup = hangup
        # The protocol level; 0 until the CONNECT has been accepted.
        self.level = 0
        self.closed = False
        # While the session waits to be admitted, its CONNECT; and what is called then.
        self._connect: mqtt.Connect | None = None
        # While the client is to prove who it is.
        self._attempt: Attempt | None = None
        self.on_admitted: Callable[[], None] = _read_nothing
        self.keep_alive: KeepAlive | None = None
        self.inbound: InboundPublishes | None = None
        # The number of the first publish of the next `InboundPublishes`.
        self._next_number = 1
        self.outbound: OutboundPublishes | None = None
        self._subscribing: Subscribing | None = None
        timeout = router.settings.handshake_timeout
        router.timers.gathered(router.now + timeout, self._end_handshake)

    def connection_lost(self) -> None:
        """End the session, because the connection is gone. Idempotent."""
        if not self.closed:
            self._end_session(CONNECTION_LOST, graceful=False)

    def end(self, reason: str, message: str) -> None:
        """End the session for the router; MQTT 3.1.1 cannot tell the client why."""
        self.finish(reason)

    def tidy(self) -> None:
        """Drop what an idle client does not need. Called at a ping: most clients ping when idle."""
        if self.outbound is not None and self.outbound.idle:
            self.outbound = None
        if self.inbound is not None and self.inbound.idle:
            self._next_number = self.inbound.next
            self.inbound = None

    def finish(self, reason: str, *, graceful: bool = False) -> None:
        """End the session and the connection. Idempotent. reason: for the log."""
        if not self.closed:
            if not self.level:
                self.connection.refused = reason
            self._end_session(reason, graceful=graceful)
            if self._hangup is not None:
                self._hangup()
            else:
                self.connection.close()

    def _end_session(self, reason: str, *, graceful: bool) -> None:
        self.closed = True
        if self.keep_alive is not None:
            self.keep_alive.stopped = True
        self.inbound = self.outbound = self._subscribing = None
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        if self.level:
            self.realm.queueing.pop(self, None)
            self.router.session_ended(self, reason, graceful=graceful)

    def write(self, chunk: bytes) -> None:
        """Send a packet."""
        framing = self._framing
        self.connection.write(chunk if framing is None else framing(chunk))

    def connect(self, packet: mqtt.Connect) -> None:
        """Handle the first packet. Raises ConnectRefused, ProtocolViolation."""
        router = self.router
        authentication = router.authentication
        with_users = authentication.users_of(router.mqtt.realm) is not None
        router.open_realm(handshake.realm_of(packet))
        self.realm, name = handshake.admit(
            router.realms, router.mqtt.realm, packet, with_users=with_users
        )
        with_users = authentication.users_of(self.realm.name) is not None
        if packet.will is not None:
            check_mqtt_topic(packet.will.topic)
        self._connect = packet
        try:
            claim = handshake.claim_of(
                self.realm,
                name,
                packet,
                self.connection,
                self._transport,
                with_users=with_users,
            )
            begun = login.begin(authentication, claim)
        except Refusal as refusal:
            about = refusal.about if isinstance(refusal, AuthenticationFailed) else ""
            self._refuse(refusal, f"{name or _ANONYMOUS}{': ' if about else ''}{about}")
            return
        if isinstance(begun, Authenticated):
            self._open(packet, begun)
            return
        self.connection.pause(paused=True)
        self._attempt = begun
        begun.prepare(self._prepared)

    def _prepared(self, outcome: Authenticated | Refusal | None) -> None:
        """Have the password checked, unless there is nothing to check, or the client has left."""
        attempt, packet = self._attempt, self._connect
        if attempt is not None:
            self.id = attempt.session
        if outcome is not None:
            self._verified(outcome)
        elif attempt is not None and packet is not None:
            attempt.answer(handshake.password_of(packet), {}, self._verified)

    def _verified(self, outcome: Authenticated | Refusal) -> None:
        """Open or refuse the session, unless the client has left."""
        packet = self._connect
        attempt, self._attempt = self._attempt, None
        if packet is None or attempt is None or self.closed:
            return
        if isinstance(outcome, Refusal):
            self._refuse(outcome, attempt.description)
        else:
            self._open(packet, outcome)

    @property
    def _transport(self) -> str:
        access = self.connection.access
        # An application's web server unwraps the bytes itself.
        unwrapped = access is not None and access.listener.protocol == "websocket"
        return "websocket" if unwrapped or self._framing is not None else "tcp"

    def _refuse(self, refusal: Refusal, about: str) -> None:
        """Refuse the CONNECT; MQTT 3.1.1 cannot tell the client more than a code."""
        code = handshake.return_code(refusal)
        self.write(encode(mqtt.Connack(code)))
        self.finish(f"CONNECT refused, code {code}: {refusal.message} ({about[:MAX_ABOUT]})")

    def _open(self, packet: mqtt.Connect, who: Authenticated) -> None:
        """Open the session of a client that may join."""
        router = self.router
        if who.realm:
            self.realm = router.realms[who.realm]
        is_anonymous = who.method == _ANONYMOUS and who.provider == PROVIDER
        self.authid = who.authid
        if is_anonymous and router.authentication.users_of(self.realm.name) is None:
            # Where there are users, it might be the name of one.
            self.authid = packet.client_id or _ANONYMOUS
        self.authrole = who.authrole
        self.expires = who.expires
        self.encoder = event_encoder_of(self._framing)
        self.level = packet.level
        may_begin = router.session_opened(
            self,
            protocol=mqtt.PROTOCOLS[packet.level],
            transport=self._transport,
            authmethod=who.method,
            authprovider=who.provider,
            # If it is empty, the session's id serves as the unique one [MQTT-3.1.3-6].
            client=packet.client_id,
        )
        self.traffic.others += 1
        if may_begin:
            self.admitted()
        else:
            self.connection.pause(paused=True)

    @property
    def waits(self) -> bool:
        """Whether CONNACK waits for the check of a password, or for the end of an older session.

        The client may send more before CONNACK [MQTT-3.1.4-5], but that must not be handled before.
        """
        return self._connect is not None and not self.closed

    def admitted(self) -> None:
        """Send CONNACK, and read on. Idempotent."""
        packet, self._connect = self._connect, None
        if packet is None or self.closed:
            return
        router, will = self.router, packet.will
        will_route = None if will is None else self.find_route(will.topic.encode())
        if will is not None and will_route is not None:
            router.set_will(self, will_route, will_flags(will), RAW, will.payload)
        self.write(encode(mqtt.Connack(mqtt.ACCEPTED), packet.level))
        if packet.keep_alive:
            self.keep_alive = KeepAlive(
                packet.keep_alive, self.connection, router.timers, router.now, self._overdue
            )
        self.connection.pause(paused=False)
        self.on_admitted()

    def _end_handshake(self, now: float) -> None:
        if not self.level:
            self.router.limit_counts.add("handshake_timeout")
            late = "CONNECT came" if self._connect is None else "password was checked"
            self.finish(f"no {late} in time")
        else:
            # The gateway of the older session does not answer.
            self.admitted()

    def _overdue(self) -> None:
        self.finish("nothing came for one and a half times the keep-alive")

    # The client's publishes

    def find_route(self, topic: bytes, count: int = 1) -> Route | None:
        """Return the route to a topic that is new to the realm; None: publishes there are dropped.

        count: how many messages are counted if they are dropped. Raises ProtocolViolation.
        """
        settings = self.router.settings
        route = find_route(self.realm, topic, settings)
        if route is None:
            self.router.limit_counts.add(exceeded_limit(topic, settings), count)
            self.router.dropped += count
            self.traffic.others += count
        return route

    def begin_inbound(self) -> InboundPublishes:
        """Make the object that keeps the client's publishes until they are acknowledged."""
        self.inbound = InboundPublishes(self._next_number)
        return self.inbound

    def answer(self, acknowledgements: bytes) -> None:
        """Send acknowledgements of the client's publishes."""
        if acknowledgements:
            self.write(acknowledgements)
            if len(acknowledgements) > 4:
                # These are several packets of four bytes, but one chunk is counted as one.
                self.traffic.messages_out += len(acknowledgements) // 4 - 1

    def published(self, requests: list[int], publications: list[int]) -> None:
        """Acknowledge the publishes with those numbers, and later ones that waited for them."""
        if self.inbound is not None:
            self.answer(self.inbound.settle_all(requests))

    def refused(self, refused: Refused) -> None:
        """Handle a failed publish: end the session if the error is `FATAL`, else acknowledge.

        MQTT 3.1.1 cannot tell the client that a publish failed.
        """
        if refused.uri in FATAL:
            self.finish(f"{refused.uri}: {refused.message}")
        else:
            self.router.dropped += 1
            self.published([refused.request], [0])

    # The client's subscriptions

    def subscribe(self, packet: mqtt.Subscribe) -> None:
        """Subscribe to the packet's filters. Raises ProtocolViolation."""
        if self._subscribing is None:
            self._subscribing = Subscribing()
        router = self.router
        requests, suback = self._subscribing.begin(packet, router.settings)
        for text, _ in packet.filters:
            router.limit_counts.add(exceeded_limit(text.encode(), router.settings))
        if suback is not None:
            self.write(encode(suback, self.level))
        self._subscribe_to(requests, router.now)

    def _subscribe_to(self, requests: list[tuple[int, Pattern, int]], _now: float) -> None:
        """Subscribe to filters, as many as the budget of this turn allows, then to the others."""
        connection = self.connection
        for index, (request, pattern, granted_qos) in enumerate(requests):
            if self.closed:
                return
            if connection.budget <= 0:
                connection.defer(partial(self._subscribe_to, requests[index:]))
                return
            self.router.subscribe(self, request, pattern, granted_qos, KEYS_FIRST)

    def subscribed(self, request: int, subscription: Subscription, retained: list[Event]) -> None:
        """Send the SUBACK, if this filter was the last of its SUBSCRIBE, and the filter's keys.

        While other filters of the SUBSCRIBE are not confirmed, the keys go before the SUBACK
        (allowed by MQTT 3.8.4): live events follow, and an old key must not come after them.
        """
        granted_qos = self._confirm(request)
        if granted_qos is not None:
            self.more_keys(retained, subscription, granted_qos)

    def unsubscribed_early(self, request: int, subscription: Subscription) -> None:
        """Do nothing: `unsubscribe` has sent the SUBACK."""

    def not_subscribed(self, request: int, uri: str, message: str, oldest: int) -> None:
        """Give the filter the return code 0x80, and send the SUBACK if it was the last."""
        if self._subscribing is not None:
            self._subscribing.refuse(request)
            self._confirm(request)

    def more_keys(self, events: list[Event], subscription: Subscription, granted_qos: int) -> None:
        """Send more retained keys of a subscription (see `Session.more_keys`)."""
        for event in events:
            publish = event.publish
            if not mqtt_deliverable(publish.topic):
                continue
            quality = min(qos(publish.flags), granted_qos)
            if quality or (self.outbound is not None and self.outbound.queues):
                header = QOS0 | quality << 1 | mqtt.RETAIN_FLAG
                (self.outbound or self.begin_outbound()).send(event, header, counted=False)
            elif chunk := self.encoder.retained(event, subscription):
                self.connection.write(chunk)

    def _confirm(self, request: int) -> int | None:
        """Confirm one filter, and send the SUBACK if it was the last; return the granted QoS.

        Returns None if there is no such request.
        """
        confirmed = None if self._subscribing is None else self._subscribing.confirm(request)
        if confirmed is None:
            return None
        granted_qos, suback = confirmed
        if suback is not None:
            self.write(encode(suback, self.level))
        return granted_qos

    def unsubscribe(self, packet: mqtt.Unsubscribe) -> None:
        """Unsubscribe from the packet's filters. Raises ProtocolViolation."""
        settings = self.router.settings
        patterns = [
            Pattern.mqtt(text).text for text in packet.filters if is_supported(text, settings)
        ]
        for pattern in patterns:
            if self._subscribing is not None:
                for request in self._subscribing.requests_for(pattern):
                    # The gateway will not answer the request any more, but a SUBACK is due.
                    self._confirm(request)
            self.router.unsubscribe(self, pattern)
        self.write(encode(mqtt.Unsuback(packet.packet_id), self.level))

    # The client's deliveries

    def deliver(self, event: Event, granted_qos: int) -> None:
        """Send an event at its own QoS or the granted one, whichever is lower."""
        self.deliver_all([event], granted_qos)

    def deliver_all(self, events: list[Event], granted_qos: int) -> None:
        """Send events with the same topic and flags as `deliver` does."""
        if self.closed:
            return
        quality = min(qos(events[0].publish.flags), granted_qos)
        if not quality:
            for event in events:
                if chunk := self.encoder.event(event, None):
                    self.deliver_encoded(event, chunk)
            return
        outbound = self.outbound or self.begin_outbound()
        self._check_queue(outbound.send_all(events, QOS0 | quality << 1))

    def deliver_encoded(self, event: Event, chunk: bytes) -> None:
        """Send an event at QoS 0, behind deliveries that are queued, or drop it (see `Session`)."""
        outbound = self.outbound
        if self.connection.behind:
            self.drop_event()
        elif outbound is None or not outbound.queues:
            self.connection.write(chunk)
        elif not self._has_room(outbound, event):
            self.drop_event()
        else:
            self._check_queue(outbound.send(event, QOS0))

    def _has_room(self, outbound: OutboundPublishes, event: Event) -> bool:
        """Whether an event at QoS 0 may be queued, or else is dropped."""
        settings = self.router.settings
        return not settings.drops_events or outbound.has_room(event, settings.outbound_limit)

    @property
    def queues(self) -> bool:
        """Whether deliveries are queued until earlier ones are confirmed."""
        return self.outbound is not None and self.outbound.queues

    def _check_queue(self, queued: int) -> None:
        """End the session if too many bytes are queued: the client does not acknowledge.

        Where events at QoS 0 are dropped, those at QoS 1 and 2 have as much room again for
        themselves.
        """
        settings = self.router.settings
        if queued > settings.outbound_limit * (2 if settings.drops_events else 1):
            self.router.slow(self.connection)

    def begin_outbound(self) -> OutboundPublishes:
        """Make the object that keeps deliveries until the client has acknowledged them."""
        window = self.router.mqtt.max_inflight
        encoder = event_encoder_of(self._framing)
        self.outbound = OutboundPublishes(
            self.connection, encoder, window, self.realm.queueing, self
        )
        return self.outbound

    def acknowledged(self, header: int, packet_id: bytes) -> None:
        """Handle PUBACK, PUBREC or PUBCOMP for a delivery, or PUBREL for a publish.

        header: the packet's first byte. Raises ProtocolViolation.
        """
        if packet_id == mqtt.NO_PACKET_ID:
            raise ProtocolViolation("an acknowledgement of packet identifier 0", MALFORMED)
        outbound = self.outbound
        if header == _PUBREL:
            # An unknown identifier gets its PUBCOMP too: the client may be repeating the PUBREL.
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
