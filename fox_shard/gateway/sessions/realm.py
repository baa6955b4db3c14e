"""A realm on one gateway: its name, its routes and its counts.

Owns: where a topic or procedure lives, cached. Never: frames.
"""

from typing import final

from fox_shard.backplane.placement import Placement
from fox_shard.gateway.clients.traffic import GATES, Traffic

ROUTES_LIMIT = 100_000


@final
class Route:
    """Where what is published to a topic goes."""

    __slots__ = ("shard", "topic")

    def __init__(self, topic: str, shard: int) -> None:
        self.topic = topic
        self.shard = shard


@final
class Realm:
    """One realm, as far as this gateway is concerned."""

    __slots__ = (
        "_shards",
        "deliveries",
        "headers",
        "mqtt_routes",
        "name",
        "placement",
        "stored",
        "traffic",
        "wamp_routes",
    )

    def __init__(
        self, name: str, placement: Placement, *, headers: bool = False, stored: bool = True
    ) -> None:
        """headers: keyword arguments do not belong to an event's document. stored: keys are."""
        self.name = name
        self.headers = headers
        self.stored = stored
        self.placement = placement
        # One cache per notation, each filled by the protocol that validates it. Bounded.
        self.wamp_routes: dict[str, Route] = {}
        self.mqtt_routes: dict[bytes, Route] = {}
        self._shards: dict[str, int] = {}
        # Since the last report to the coordinator.
        self.deliveries = 0
        self.traffic = {gate: Traffic() for gate in GATES}

    def take_counts(self) -> dict[str, int]:
        """What was counted since the last time, by the metrics' names."""
        counts = {f"{self.name}.deliveries": self.deliveries}
        self.deliveries = 0
        for total in ("publishes", "calls"):
            counts[f"{self.name}.{total}"] = 0
        for gate, traffic in self.traffic.items():
            taken = traffic.take()
            for total in ("publishes", "calls"):
                counts[f"{self.name}.{total}"] += taken.pop(total)
            for what, count in taken.items():
                counts[f"{self.name}.{gate}.{what}"] = count
        return counts

    def route(self, topic: str) -> Route:
        """The way to `topic` (canonical form, already validated)."""
        for cache in (self.wamp_routes, self.mqtt_routes):
            if len(cache) >= ROUTES_LIMIT:
                cache.clear()
        return Route(topic, self.shard_of(topic))

    def shard_of(self, key: str) -> int:
        """The shard that owns a topic, a procedure or a pattern's text."""
        shard = self._shards.get(key)
        if shard is None:
            if len(self._shards) >= ROUTES_LIMIT:
                self._shards.clear()
            shard = self._shards[key] = self.placement.shard_of(self.name, key)
        return shard
