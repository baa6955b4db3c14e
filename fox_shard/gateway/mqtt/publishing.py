"""PUBLISHes of an MQTT client, turned into calls of the router.

Owns: PUBLISH, in runs of one topic, and publishing each QoS 2 message only once. Never: bytes (see
`reader`); when a PUBLISH is acknowledged (see `session`).
"""

from fox_shard.backplane.frames import QOS2
from fox_shard.documents.payloads import RAW
from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.framing import MALFORMED
from fox_shard.gateway.mqtt.inflight import InboundPublishes
from fox_shard.gateway.mqtt.session import MqttSession
from fox_shard.gateway.sessions.realm import Route


def publish_run(
    session: MqttSession, topic: bytes, flags: int, payloads: list[bytes], packet_ids: list[bytes]
) -> None:
    """Handle PUBLISHes with the same topic and flags.

    packet_ids: theirs at QoS 1 and 2, otherwise []. Raises ProtocolViolation.
    """
    if mqtt.NO_PACKET_ID in packet_ids:
        good = packet_ids.index(mqtt.NO_PACKET_ID)
        if good:
            publish_run(session, topic, flags, payloads[:good], packet_ids[:good])
        raise ProtocolViolation("a PUBLISH of packet identifier 0 [MQTT-2.3.1-1]", MALFORMED)
    route = session.realm.mqtt_routes.get(topic) or session.find_route(topic, len(payloads))
    if packet_ids:
        _publish_acknowledged(session, route, flags, payloads, packet_ids)
    elif route is not None:
        session.router.publish_all(session, route, flags, 0, RAW, payloads)


def _publish_acknowledged(
    session: MqttSession,
    route: Route | None,
    flags: int,
    payloads: list[bytes],
    packet_ids: list[bytes],
) -> None:
    """Publish at QoS 1 or 2; without a route, only acknowledge."""
    inbound = session.inbound or session.begin_inbound()
    head = mqtt.PUBACK_HEAD
    if flags & QOS2:
        head = mqtt.PUBREC_HEAD
        repeated = [i for i, one in enumerate(packet_ids) if not inbound.is_new(one)]
        if repeated:
            _publish_again(session, inbound, route, flags, payloads, packet_ids, repeated)
            return
    acknowledgements = [head + packet_id for packet_id in packet_ids]
    if route is None:
        session.answer(inbound.answer(acknowledgements))
    else:
        number = inbound.expect(acknowledgements)
        session.router.publish_all(session, route, flags, number, RAW, payloads)


def _publish_again(
    session: MqttSession,
    inbound: InboundPublishes,
    route: Route | None,
    flags: int,
    payloads: list[bytes],
    packet_ids: list[bytes],
    repeated: list[int],
) -> None:
    """Handle PUBLISHes at QoS 2. repeated: indexes of those that have been published already."""
    for i, (payload, packet_id) in enumerate(zip(payloads, packet_ids, strict=True)):
        acknowledgement = [mqtt.PUBREC_HEAD + packet_id]
        if i in repeated or route is None:
            # This PUBREC, too, is sent in its turn, behind that of the original PUBLISH.
            session.traffic.others += i in repeated
            session.answer(inbound.answer(acknowledgement))
        else:
            number = inbound.expect(acknowledgement)
            session.router.publish(session, route, flags, number, RAW, payload)
