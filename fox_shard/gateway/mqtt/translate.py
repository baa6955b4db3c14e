"""MQTT's terms in those of the backplane's frames.

Owns: what a PUBLISH's first byte, a topic name and a will mean to the broker.
Never: the wire (see `codec`); when something is sent (see `session`).
"""

from typing import Final

from fox_shard.backplane.frames import ACKNOWLEDGE, EMPTY, QOS1, QOS2, RETAIN
from fox_shard.errors import QueueFull, Unavailable, UnavailableStore
from fox_shard.gateway.mqtt.codec import decode_string
from fox_shard.gateway.mqtt.packets import Will
from fox_shard.gateway.sessions.realm import Realm, Route
from fox_shard.topics.topic import check_mqtt_topic, is_reserved, to_wamp

_QOS_FLAGS: Final = (0, QOS1, QOS2)

PUBLISH_FLAGS: Final = (
    0,
    RETAIN,
    ACKNOWLEDGE | QOS1,
    ACKNOWLEDGE | QOS1 | RETAIN,
    ACKNOWLEDGE | QOS2,
    ACKNOWLEDGE | QOS2 | RETAIN,
)
"""`Publish.flags` by the lower three bits of a PUBLISH's first byte."""

FATAL: Final = frozenset({QueueFull.uri, Unavailable.uri, UnavailableStore.uri})
"""Why a publish may fail although a later attempt may succeed.

MQTT 3.1.1 has no negative PUBACK: such a publish must not be acknowledged, so the connection ends.
"""


def find_route(realm: Realm, topic: bytes, limit: int) -> Route | None:
    """The way to an MQTT topic, validated and remembered; None: what is published there is dropped.

    limit: bytes of a topic. Dropped are longer topics and reserved ones, which are the router's.
    Raises ProtocolViolation for what is no topic name [MQTT-3.3.2-1, -2].
    """
    name = decode_string(topic)
    check_mqtt_topic(name)
    uri = to_wamp(name)
    if len(topic) > limit or is_reserved(uri):
        return None
    route = realm.route(uri)
    realm.mqtt_routes[topic] = route
    return route


def will_flags(will: Will) -> int:
    """`Publish.flags` of a will."""
    return _QOS_FLAGS[will.qos] | will.retain * RETAIN | (not will.payload) * EMPTY
