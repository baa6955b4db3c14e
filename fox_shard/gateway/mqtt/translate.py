"""MQTT's terms, translated into those of the backplane's frames.

Owns: what a PUBLISH's first byte, a topic name, a will and an error of a publish mean.
Never: the layout of packets (see `codec`); when something is sent (see `session`).
"""

from typing import Final

from fox_shard.backplane.frames import ACKNOWLEDGE, EMPTY, QOS1, QOS2, RETAIN
from fox_shard.config import Gateway as Settings
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
"""Errors of publishes that may succeed if they are repeated later.

MQTT 3.1.1 has no negative PUBACK. Such a publish must not be acknowledged, so the connection ends.
"""


def exceeded_limit(topic: bytes, settings: Settings) -> str:
    """Return the setting that forbids a topic or filter of that size; "": none does."""
    if len(topic) > settings.topic_length:
        return "topic_length"
    return "topic_components" if topic.count(b"/") >= settings.topic_components else ""


def find_route(realm: Realm, topic: bytes, settings: Settings) -> Route | None:
    """Validate an MQTT topic and cache the route to it; None: publishes there are dropped.

    Publishes to topics beyond the limits, and to reserved ones, where only the router publishes,
    are dropped. Raises ProtocolViolation for an invalid topic name [MQTT-3.3.2-1, -2].
    """
    name = decode_string(topic)
    check_mqtt_topic(name)
    uri = to_wamp(name)
    if exceeded_limit(topic, settings) or is_reserved(uri):
        return None
    route = realm.route(uri)
    realm.mqtt_routes[topic] = route
    return route


def will_flags(will: Will) -> int:
    """Return the `Publish.flags` of a will."""
    return _QOS_FLAGS[will.qos] | will.retain * RETAIN | (not will.payload) * EMPTY
