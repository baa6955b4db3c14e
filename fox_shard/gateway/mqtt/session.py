"""An MQTT session: one client's connection, from CONNECT to the end.

Owns: which packet is legal when, and what is answered.
Never: sockets and clocks; the layout of packets (see `codec`), the numbering of messages in flight
(see `inflight`).

Sessions end with their connection: one with clean session 0 is taken as clean.
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.backplane.frames import EMPTY, QOS2, Event, Refused, qos
from fox_shard.documents.payloads import RAW
from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import ConnectRefused, decode, encode
from fox_shard.gateway.mqtt.event_encoder import QOS0, Framing, MqttFlavour, flavour_of
from fox_shard.gateway.mqtt.framing import MALFORMED, Partial, end_of_run, pubacks, split
from fox_shard.gateway.mqtt.handshake import CONNECT_LIMIT, admit, read_connect
from fox_shard.gateway.mqtt.inflight import AWAITING_PUBACK, AWAITING_PUBCOMP, Inbound, Outbound
from fox_shard.gateway.mqtt.keepalive import KeepAlive
from fox_shard.gateway.mqtt.subscribing import Subscribing, is_shared
from fox_shard.gateway.mqtt.translate import FATAL, PUBLISH_FLAGS, find_route, will_flags
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.session import CONNECTION_LOST, Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import mqtt_deliverable

_PINGRESP: Final = encode(mqtt.Pingresp())
_PUBACK: Final = mqtt.PUBACK_HEAD[0]
_PUBREC: Final = mqtt.PUBREC_HEAD[0]
_PUBREL: Final = mqtt.PUBREL_HEAD[0]
_ACKNOWLEDGEMENTS: Final = frozenset({_PUBACK, _PUBREC, _PUBREL, mqtt.PUBCOMP_HEAD[0]})
KEYS_FIRST: Final = SubscribeOptions(replay=True)
_ANONYMOUS: Final = "anonymous"


@final
class MqttSession(Session):
    """A client that speaks MQTT 3.1 or 3.1.1. Reads its connection itself (it is a `Receiver`)."""

    __slots__ = (
        "_closed",
        "_framing",
        "_hangup",
        "_inbound",
        "_keep_alive",
        "_level",
        "_next_number",
        "_outbound",
        "_partial",
        "_subscribing",
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
        self._level = 0
        self._closed = False
        self._partial: Partial | None = None
        self._keep_alive: KeepAlive | None = None
        self._inbound: Inbound | None = None
        # Of the publish that makes the next `Inbound`.
        self._next_number = 1
        self._outbound: Outbound | None = None
        self._subscribing: Subscribing | None = None
        timeout = router.settings.handshake_timeout
        router.timers.at(router.now + timeout, self._end_handshake)

    def receive(self, data: bytes, now: float) -> None:
        """Take what was read. A violation closes this connection [MQTT-4.8.0-1]."""
        if self._closed or not data:
            return
        if self._keep_alive is not None:
            self._keep_alive.heard = now
        try:
            if self._partial is not None:
                whole = self._partial.add(data)
                if whole is None:
                    return
                self._partial = None
                data = whole
            start = 0 if self._level else self._read_connect(data)
            if self._level and start < len(data):
                self._read(data, start)
        except ConnectRefused as refused:
            self._write(encode(mqtt.Connack(refused.code)))
            self._finish(f"CONNECT refused, code {refused.code}")
        except ProtocolViolation as violation:
            # MQTT 3.1.1 has no words for it; the will is due [MQTT-3.1.2-8].
            self._finish(violation.message)

    def lost(self, now: float) -> None:
        """The connection is gone."""
        if not self._closed:
            self._let_go(CONNECTION_LOST, graceful=False)

    def end(self, reason: str, message: str) -> None:
        """The router ends the session; MQTT 3.1.1 cannot tell the client why."""
        self._finish(reason)

    def _tidy(self) -> None:
        """Let go of what an idle client does not need: most clients ping only then."""
        if self._outbound is not None and self._outbound.idle:
            self._outbound = None
        if self._inbound is not None and self._inbound.idle:
            self._next_number = self._inbound.next
            self._inbound = None

    def _finish(self, reason: str, *, graceful: bool = False) -> None:
        if not self._closed:
            self._let_go(reason, graceful=graceful)
            if self._hangup is not None:
                self._hangup()
            else:
                self.connection.close()

    def _let_go(self, reason: str, *, graceful: bool) -> None:
        self._closed = True
        if self._keep_alive is not None:
            self._keep_alive.stopped = True
        self._partial = self._inbound = self._outbound = self._subscribing = None
        if self._level:
            self.router.detach(self, reason, graceful=graceful)

    def _write(self, chunk: bytes) -> None:
        framing = self._framing
        self.connection.write(chunk if framing is None else framing(chunk))

    def _read_connect(self, data: bytes) -> int:
        """Handle the first packet; return where the next one begins."""
        limit = min(self.router.settings.max_message_size, CONNECT_LIMIT)
        packet, end = read_connect(data, limit)
        if packet is None:
            self._partial = Partial(data, limit)
            return len(data)
        self._connect(packet)
        return end

    def _connect(self, packet: mqtt.Connect) -> None:
        router = self.router
        self.realm = admit(router.realms, router.mqtt.realm, packet)
        will = packet.will
        will_route = None if will is None else self._find_route(will.topic.encode())
        self.authid = packet.client_id or _ANONYMOUS
        self.authrole = _ANONYMOUS
        self.flavour = flavour_of(self._framing)
        self._level = packet.level
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
        self._write(encode(mqtt.Connack(mqtt.ACCEPTED), packet.level))
        if packet.keep_alive:
            self._keep_alive = KeepAlive(
                packet.keep_alive, self.connection, router.timers, router.now, self._overdue
            )

    def _end_handshake(self, now: float) -> None:
        if not self._level:
            self._finish("no CONNECT came in time")

    def _overdue(self) -> None:
        self._finish("nothing came for one and a half times the keep-alive")

    def _read(self, data: bytes, start: int) -> None:  # noqa: C901, PLR0915 (measured, see below)
        """Handle all whole packets from data[start] on.

        One loop, in which the most frequent packets are only cut and collected: 0.3 µs for a
        PUBLISH of quality of service 0 in a run, against 1.4 µs for one that goes through `decode`.
        """
        size = len(data)
        limit = self.router.settings.max_message_size
        others = 0
        # A run of PUBLISHes that differ in their payloads only.
        run_topic, run_flags = b"", 0
        payloads: list[bytes] = []
        packet_ids: list[bytes] = []
        try:
            while size - start >= 2:
                header = data[start]
                length = data[start + 1]
                if length < 0x80:
                    body = start + 2
                    end = body + length
                else:
                    body, end = split(data, start, limit)
                    if not body:
                        break
                if end > size:
                    break
                if 0x30 <= header < 0x36 and end - body > 2:
                    mark = body + 2 + (data[body] << 8 | data[body + 1])
                    topic = data[body + 2 : mark]
                    step = end - start
                    end = end_of_run(data, end, data[start:mark], step)
                    flags = PUBLISH_FLAGS[header & 7]
                    if header >= 0x32:
                        mark += 2
                    if mark >= start + step:
                        if mark > start + step:
                            raise ProtocolViolation("a topic is longer than its packet", MALFORMED)
                        flags |= EMPTY
                    if topic != run_topic or flags != run_flags:
                        if payloads:
                            run, payloads = payloads, []
                            self._publish_run(run_topic, run_flags, run, packet_ids)
                            packet_ids = []
                        run_topic, run_flags = topic, flags
                    places = range(mark, mark + end - start, step)
                    if header >= 0x32:
                        packet_ids += [data[at - 2 : at] for at in places]
                    rest = start + step - mark
                    payloads += [data[at : at + rest] for at in places]
                elif header == _PUBACK and end == start + 4 and self._outbound is not None:
                    confirmed = pubacks(data, start)
                    self._outbound.confirm_all(confirmed)
                    others += len(confirmed)
                    end = start + 4 * len(confirmed)
                else:
                    if payloads:
                        run, payloads = payloads, []
                        self._publish_run(run_topic, run_flags, run, packet_ids)
                        packet_ids = []
                    if end - body == 2 and header in _ACKNOWLEDGEMENTS:
                        self._acknowledged(header, data[body:end])
                    else:
                        self._handle(header, data[body:end])
                    others += 1
                    if self._closed:
                        break
                start = end
        finally:
            self.traffic.others += others
            if payloads:
                self._publish_run(run_topic, run_flags, payloads, packet_ids)
        if start < size and not self._closed:
            self._partial = Partial(data[start:], limit)

    def _handle(self, header: int, body: bytes) -> None:
        """Handle a packet that is not among the frequent ones."""
        if header >> 4 not in mqtt.FROM_CLIENT:
            raise ProtocolViolation(
                f"a client must not send packet type {header >> 4} after CONNECT [MQTT-3.1.0-2]"
            )
        match decode(header, body, self._level):
            case mqtt.Pingreq():
                self._write(_PINGRESP)
                self._tidy()
            case mqtt.Subscribe() as packet:
                self._subscribe(packet)
            case mqtt.Unsubscribe() as packet:
                self._unsubscribe(packet)
            case mqtt.Disconnect():
                # [MQTT-3.14.4-3]: no will.
                self._finish("DISCONNECT", graceful=True)
            case mqtt.Publish(topic, payload, quality, packet_id, retain):
                # With DUP; at quality of service 0 that is MQTT 3.1.
                flags = PUBLISH_FLAGS[quality << 1 | retain] | (not payload) * EMPTY
                # The caller counts it among the others.
                self.traffic.others -= 1
                packet_ids = [packet_id.to_bytes(2, "big")] if quality else []
                self._publish_run(topic.encode(), flags, [payload], packet_ids)
            case _:
                # PUBREL with DUP, MQTT 3.1.
                self._acknowledged(_PUBREL, body)

    # What the client publishes.

    def _find_route(self, topic: bytes, count: int = 1) -> Route | None:
        """count: messages that go there, or are dropped."""
        route = find_route(self.realm, topic, self.router.settings.topic_length)
        if route is None:
            self.router.dropped += count
            self.traffic.others += count
        return route

    def _publish_run(
        self, topic: bytes, flags: int, payloads: list[bytes], packet_ids: list[bytes]
    ) -> None:
        """Handle PUBLISHes of one topic. packet_ids: theirs, at quality of service 1 and 2."""
        if mqtt.NO_PACKET_ID in packet_ids:
            good = packet_ids.index(mqtt.NO_PACKET_ID)
            if good:
                self._publish_run(topic, flags, payloads[:good], packet_ids[:good])
            raise ProtocolViolation("a PUBLISH of packet identifier 0 [MQTT-2.3.1-1]", MALFORMED)
        route = self.realm.mqtt_routes.get(topic) or self._find_route(topic, len(payloads))
        if packet_ids:
            self._publish_acknowledged(route, flags, payloads, packet_ids)
        elif route is not None:
            self.router.publish_all(self, route, flags, 0, RAW, payloads)

    def _publish_acknowledged(
        self, route: Route | None, flags: int, payloads: list[bytes], packet_ids: list[bytes]
    ) -> None:
        inbound = self._inbound
        if inbound is None:
            inbound = self._inbound = Inbound(self._next_number)
        head = mqtt.PUBACK_HEAD
        if flags & QOS2:
            head = mqtt.PUBREC_HEAD
            repeated = [i for i, one in enumerate(packet_ids) if not inbound.is_new(one)]
            if repeated:
                self._publish_again(inbound, route, flags, payloads, packet_ids, repeated)
                return
        acknowledgements = [head + packet_id for packet_id in packet_ids]
        if route is None:
            self._answer(inbound.answer(acknowledgements))
        else:
            number = inbound.expect(acknowledgements)
            self.router.publish_all(self, route, flags, number, RAW, payloads)

    def _publish_again(
        self,
        inbound: Inbound,
        route: Route | None,
        flags: int,
        payloads: list[bytes],
        packet_ids: list[bytes],
        repeated: list[int],
    ) -> None:
        """Handle PUBLISHes at quality of service 2; repeated: which of them are not published."""
        for i, (payload, packet_id) in enumerate(zip(payloads, packet_ids, strict=True)):
            acknowledgement = [mqtt.PUBREC_HEAD + packet_id]
            if i in repeated or route is None:
                # This PUBREC goes behind the first one.
                self.traffic.others += i in repeated
                self._answer(inbound.answer(acknowledgement))
            else:
                number = inbound.expect(acknowledgement)
                self.router.publish(self, route, flags, number, RAW, payload)

    def _answer(self, acknowledgements: bytes) -> None:
        if acknowledgements:
            self._write(acknowledgements)
            if len(acknowledgements) > 4:
                # Several packets in one chunk.
                self.traffic.messages_out += len(acknowledgements) // 4 - 1

    def published(self, requests: list[int], publications: list[int]) -> None:
        """The publishes with those numbers are safe: acknowledge them, and what waited for them."""
        if self._inbound is not None:
            self._answer(self._inbound.settle_all(requests))

    def refused(self, refused: Refused) -> None:
        """A publish failed: MQTT 3.1.1 has no way to say so. See `FATAL`."""
        if refused.uri in FATAL:
            self._finish(f"{refused.uri}: {refused.message}")
        else:
            self.router.dropped += 1
            self.published([refused.request], [0])

    # What the client subscribes to.

    def _subscribe(self, packet: mqtt.Subscribe) -> None:
        if self._subscribing is None:
            self._subscribing = Subscribing()
        router = self.router
        requests, suback = self._subscribing.begin(packet, router.settings.topic_length)
        if suback is not None:
            self._write(encode(suback, self._level))
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
                (self._outbound or self._begin_outbound()).send(event, header, counted=False)
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
            self._write(encode(suback, self._level))
        return grant

    def _unsubscribe(self, packet: mqtt.Unsubscribe) -> None:
        patterns = [Pattern.mqtt(text).text for text in packet.filters if not is_shared(text)]
        for pattern in patterns:
            if self._subscribing is not None:
                for request in self._subscribing.requests_for(pattern):
                    # The gateway forgets it; its SUBACK is due all the same.
                    self._confirm(request)
            self.router.unsubscribe(self, pattern)
        self._write(encode(mqtt.Unsuback(packet.packet_id), self._level))

    # What the client is sent.

    def deliver(self, event: Event, grant: int) -> None:
        """Send an event at its quality of service, or the granted one if that is less."""
        self.deliver_all([event], grant)

    def deliver_all(self, events: list[Event], grant: int) -> None:
        """As `deliver` for each: they have one topic, and the same flags."""
        if self._closed:
            return
        quality = min(qos(events[0].publish.flags), grant)
        if not quality:
            for chunk in self.flavour.events(events, None):
                self.connection.write(chunk)
            return
        outbound = self._outbound or self._begin_outbound()
        queued = outbound.send_all(events, QOS0 | quality << 1)
        if queued > self.router.settings.outbound_limit:
            # The client reads, but does not confirm.
            self.router.slow(self.connection)

    def _begin_outbound(self) -> Outbound:
        window = self.router.mqtt.max_inflight
        self._outbound = Outbound(self.connection, self.flavour, window)
        return self._outbound

    def _acknowledged(self, header: int, packet_id: bytes) -> None:
        """Handle PUBACK, PUBREC, PUBCOMP, of what was sent, and PUBREL, of what was received."""
        if packet_id == mqtt.NO_PACKET_ID:
            raise ProtocolViolation("an acknowledgement of packet identifier 0", MALFORMED)
        outbound = self._outbound
        if header == _PUBREL:
            # PUBCOMP even if the identifier is unknown: the sender asks again.
            if self._inbound is not None:
                self._inbound.release(packet_id)
            self._write(mqtt.PUBCOMP_HEAD + packet_id)
        elif header == _PUBREC:
            if outbound is not None:
                outbound.receive(int.from_bytes(packet_id, "big"))
            self._write(mqtt.PUBREL_HEAD + packet_id)
        elif outbound is not None:
            awaited = AWAITING_PUBACK if header == _PUBACK else AWAITING_PUBCOMP
            outbound.confirm(int.from_bytes(packet_id, "big"), awaited)
