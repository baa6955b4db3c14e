"""A realm on one gateway: its name, its routes and its counts.

Owns: the caches that tell which shard a topic or procedure belongs to. Never: frames.
"""

from typing import final

from fox_shard.backplane.placement import Placement
from fox_shard.gateway.clients.traffic import PROTOCOLS, Traffic

ROUTES_LIMIT = 100_000
"""Entries of each cache; a full one is emptied."""


@final
class Route:
    """The destination of a publish: its topic, in canonical form, and the shard that owns it."""

    __slots__ = ("shard", "topic")

    def __init__(self, topic: str, shard: int) -> None:
        self.topic = topic
        self.shard = shard


@final
class Realm:
    """One realm, as far as one gateway is concerned."""

    __slots__ = (
        "_reported",
        "_shards",
        "assured",
        "deliveries",
        "headers",
        "mqtt_routes",
        "name",
        "placement",
        "queueing",
        "stored",
        "traffic",
        "wamp_routes",
    )

    def __init__(
        self, name: str, placement: Placement, *, headers: bool = False, stored: bool = True
    ) -> None:
        """headers: keyword arguments are not part of documents. stored: keys are on disk."""
        self.name = name
        self.headers = headers
        self.stored = stored
        self.placement = placement
        # One cache per notation, filled by the protocol that validates topics in it.
        self.wamp_routes: dict[str, Route] = {}
        self.mqtt_routes: dict[bytes, Route] = {}
        self._shards: dict[str, int] = {}
        # The sessions that have queued deliveries, behind which others must queue up.
        self.queueing: dict[object, None] = {}
        # All deliveries, those among them at quality of service 1 or 2, which take longer (see
        # `DeliveryBudget`), and all that the last report to the coordinator knew of.
        self.deliveries = self.assured = self._reported = 0
        self.traffic = {protocol: Traffic() for protocol in PROTOCOLS}

    def take_counts(self) -> dict[str, int]:
        """Return what was counted since the last call, by the metrics' names."""
        counts = {f"{self.name}.deliveries": self.deliveries - self._reported}
        self._reported = self.deliveries
        for total in ("publishes", "calls"):
            counts[f"{self.name}.{total}"] = 0
        for protocol, traffic in self.traffic.items():
            taken = traffic.take()
            for total in ("publishes", "calls"):
                counts[f"{self.name}.{total}"] += taken.pop(total)
            for what, count in taken.items():
                counts[f"{self.name}.{protocol}.{what}"] = count
        return counts

    def route(self, topic: str) -> Route:
        """Return a new route to the topic (in canonical form, already validated).

        The caller puts it into its cache, for which this makes room.
        """
        for cache in (self.wamp_routes, self.mqtt_routes):
            if len(cache) >= ROUTES_LIMIT:
                cache.clear()
        return Route(topic, self.shard_of(topic))

    def shard_of(self, key: str) -> int:
        """Return the number of the shard that owns a topic, a procedure or a pattern's text."""
        shard = self._shards.get(key)
        if shard is None:
            if len(self._shards) >= ROUTES_LIMIT:
                self._shards.clear()
            shard = self._shards[key] = self.placement.shard_of(self.name, key)
        return shard
