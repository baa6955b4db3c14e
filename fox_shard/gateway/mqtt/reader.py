"""Bytes of an MQTT client, turned into packets, and packets into calls of its session.

Owns: which packet is legal when, and packets that arrive in pieces. Never: the layout of packets
(see `codec`), their effects.
"""

from functools import partial
from typing import Final, final

from fox_shard.backplane.frames import EMPTY
from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.clients.unfinished import Unfinished
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import ConnectRefused, decode, encode
from fox_shard.gateway.mqtt.framing import MALFORMED, Partial, end_of_run, pubacks, split
from fox_shard.gateway.mqtt.handshake import CONNECT_LIMIT, read_connect
from fox_shard.gateway.mqtt.publishing import publish_run
from fox_shard.gateway.mqtt.session import MqttSession
from fox_shard.gateway.mqtt.subscribing import check_count
from fox_shard.gateway.mqtt.translate import PUBLISH_FLAGS

PACKET: Final = 10
"""Units that a packet costs (see `Turns`), except PUBLISH and PUBACK, which cost one."""

FILTER: Final = 8
"""Units that reading a topic filter, or dropping its subscription, costs."""

BYTES_SHIFT: Final = 10
"""Bytes cost a unit for each 2 to the power of this."""

RUNS: Final = (1 << 62, 64, 256, 64, 256, 64)
"""The longest runs of PUBLISHes by their QoS, times 2, plus 1 with RETAIN: a shard may have no room
for more that are acknowledged or retained."""

_PINGRESP: Final = encode(mqtt.Pingresp())
_PUBACK: Final = mqtt.PUBACK_HEAD[0]
_PUBREL: Final = mqtt.PUBREL_HEAD[0]
_ACKNOWLEDGEMENTS: Final = frozenset(
    head[0] for head in (mqtt.PUBACK_HEAD, mqtt.PUBREC_HEAD, mqtt.PUBREL_HEAD, mqtt.PUBCOMP_HEAD)
)


@final
class Reader:
    """The receiver of a connection that speaks MQTT 3.1 or 3.1.1."""

    __slots__ = ("_early", "_partial", "_session", "_unfinished")

    def __init__(self, session: MqttSession) -> None:
        self._session = session
        self._partial: Partial | None = None
        # What came before CONNACK was sent: little, as the connection is not read any more.
        self._early = b""
        session.on_admitted = self._read_early
        # Made when first needed.
        self._unfinished: Unfinished | None = None

    def receive(self, data: bytes, now: float) -> None:
        """Handle received bytes. A violation closes this connection [MQTT-4.8.0-1]."""
        session = self._session
        if session.closed or not data:
            return
        if session.waits:
            self._early += data
            return
        if session.keep_alive is not None:
            session.keep_alive.heard = now
        self._receive(data)
        if self._partial is not None or self._unfinished is not None:
            self._watch(now)

    def _read_early(self) -> None:
        data, self._early = self._early, b""
        connection = self._session.connection
        if data and connection.backlog:
            # The will waits for an authorizer.
            connection.defer(partial(self.receive, data))
        elif data:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        session = self._session
        try:
            if self._partial is not None:
                whole = self._partial.add(data)
                if whole is None:
                    return
                self._partial = None
                data = whole
            start = 0
            if not session.level:
                start = self._read_connect(data)
                if session.waits:
                    self._early = data[start:]
                    return
            if session.level and start < len(data):
                self._read(data, start)
        except ConnectRefused as refused:
            session.write(encode(mqtt.Connack(refused.code)))
            session.finish(f"CONNECT refused, code {refused.code}")
        except ProtocolViolation as violation:
            # MQTT 3.1.1 cannot tell the client why. The will is published [MQTT-3.1.2-8].
            session.router.limit_counts.add(violation.limit)
            session.finish(violation.message)

    def connection_lost(self, now: float) -> None:
        """End the session, because the connection is gone."""
        self._partial = None
        if self._unfinished is not None:
            self._unfinished.hold(0, now)
        self._session.connection_lost()

    def _watch(self, now: float) -> None:
        """Watch whether the rest of a packet comes in time."""
        if self._unfinished is None:
            router = self._session.router
            timeout = router.settings.message_timeout
            self._unfinished = Unfinished(router.timers, timeout, self._give_up)
        self._unfinished.hold(0 if self._partial is None else self._partial.size, now)

    def _give_up(self) -> None:
        self._session.router.limit_counts.add("message_timeout")
        self._session.finish("the rest of a packet did not come in time")

    def _read_connect(self, data: bytes) -> int:
        """Handle the first packet, if it is whole; return where the next one begins."""
        session = self._session
        limit = min(session.router.settings.max_message_size, CONNECT_LIMIT)
        packet, end = read_connect(data, limit)
        if packet is None:
            self._partial = Partial(data, limit)
            return len(data)
        session.connect(packet)
        return end

    def _read(self, data: bytes, start: int) -> None:  # noqa: C901, PLR0915 (measured, see below)
        """Handle all whole packets from data[start] on.

        This one loop only cuts and collects the most frequent packets: 0.3 µs for a PUBLISH at
        QoS 0 in a run, against 1.4 µs for one that goes through `decode`.
        """
        session = self._session
        size = len(data)
        limit = session.router.settings.max_message_size
        connection = session.connection
        budget = connection.budget
        others = 0
        # A run of PUBLISHes that differ only in payload and packet identifier.
        run_topic, run_flags = b"", 0
        payloads: list[bytes] = []
        packet_ids: list[bytes] = []
        try:
            while budget > 0 and size - start >= 2:
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
                    most = RUNS[header & 7]
                    end = end_of_run(data, end, data[start:mark], step, most - len(payloads) - 1)
                    flags = PUBLISH_FLAGS[header & 7]
                    if header >= 0x32:
                        mark += 2
                    if mark >= start + step:
                        if mark > start + step:
                            raise ProtocolViolation("a topic is longer than its packet", MALFORMED)
                        flags |= EMPTY
                    if topic != run_topic or flags != run_flags or len(payloads) >= most:
                        if payloads:
                            run, payloads = payloads, []
                            connection.budget = budget
                            publish_run(session, run_topic, run_flags, run, packet_ids)
                            budget = connection.budget
                            packet_ids = []
                            if budget <= 0:
                                # It is held, perhaps.
                                break
                        run_topic, run_flags = topic, flags
                    places = range(mark, mark + end - start, step)
                    if header >= 0x32:
                        packet_ids += [data[at - 2 : at] for at in places]
                    rest = start + step - mark
                    payloads += [data[at : at + rest] for at in places]
                    budget -= len(places) + (end - start >> BYTES_SHIFT)
                elif header == _PUBACK and end == start + 4 and session.outbound is not None:
                    confirmed = pubacks(data, start)
                    session.outbound.confirm_all(confirmed)
                    others += len(confirmed)
                    budget -= len(confirmed)
                    end = start + 4 * len(confirmed)
                else:
                    if payloads:
                        run, payloads = payloads, []
                        connection.budget = budget
                        publish_run(session, run_topic, run_flags, run, packet_ids)
                        budget = connection.budget
                        packet_ids = []
                        if budget <= 0:
                            break
                    connection.budget = budget - PACKET
                    if end - body == 2 and header in _ACKNOWLEDGEMENTS:
                        session.acknowledged(header, data[body:end])
                    else:
                        self._handle(header, data[body:end])
                    budget = connection.budget
                    others += 1
                    if session.closed:
                        break
                start = end
        finally:
            connection.budget = budget
            session.traffic.others += others
            if payloads:
                publish_run(session, run_topic, run_flags, payloads, packet_ids)
        if start < size and not session.closed:
            if connection.budget <= 0:
                connection.defer(partial(self.receive, data[start:]))
            else:
                self._partial = Partial(data[start:], limit)

    def _handle(self, header: int, body: bytes) -> None:
        """Handle a packet of an infrequent kind."""
        session = self._session
        if header >> 4 not in mqtt.FROM_CLIENT:
            raise ProtocolViolation(
                f"a client must not send packet type {header >> 4} after CONNECT [MQTT-3.1.0-2]"
            )
        if header >> 4 in (mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE):
            limit = session.router.mqtt.max_filters
            count = check_count(body, limit, qos=header >> 4 == mqtt.SUBSCRIBE)
            session.connection.budget -= FILTER * count
        match decode(header, body, session.level):
            case mqtt.Pingreq():
                session.write(_PINGRESP)
                session.tidy()
            case mqtt.Subscribe() as packet:
                session.subscribe(packet)
            case mqtt.Unsubscribe() as packet:
                session.unsubscribe(packet)
            case mqtt.Disconnect():
                # [MQTT-3.14.4-3]: no will.
                session.finish("DISCONNECT", graceful=True)
            case mqtt.Publish(topic, payload, qos, packet_id, retain):
                # This one has DUP, which MQTT 3.1 allows at QoS 0 too.
                flags = PUBLISH_FLAGS[qos << 1 | retain] | (not payload) * EMPTY
                # The caller counts the packet among the others, but it is counted as a PUBLISH.
                session.traffic.others -= 1
                packet_ids = [packet_id.to_bytes(2, "big")] if qos else []
                publish_run(session, topic.encode(), flags, [payload], packet_ids)
            case _:
                # This is a PUBREL with DUP, which MQTT 3.1 allows.
                session.acknowledged(_PUBREL, body)
