"""Clients of both protocols that publish numbered events to any of some topics.

Owns: their actions. Never: what must be true of what they have published.
"""

from collections.abc import Sequence
from functools import partial
from random import Random

from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.run import Action


def publishing(
    publishers: Sequence[RecordingClient], topics: Sequence[str], times: int, rng: Random
) -> list[list[Action]]:
    """Return the actions of each publisher: so many publishes."""
    return [
        [partial(_publish, one, rng.choice(topics), rng) for _ in range(times)]
        for one in publishers
    ]


def _publish(one: RecordingClient, topic: str, rng: Random) -> None:
    if not one.connected:
        return
    if isinstance(one, RecordingWampClient):
        one.publish(topic, acknowledge=rng.random() < 0.8)
    elif isinstance(one, RecordingMqttClient):
        one.publish(topic, rng.choice((0, 1, 2)))
