"""A realm on one gateway: its name, its routes and its counts.

Owns: the caches that tell which shard a topic or procedure belongs to; the definitions of tables.
Never: frames.
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.backplane.placement import Placement
from fox_shard.gateway.clients.traffic import PROTOCOLS, Traffic
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Table
from fox_shard.topics.pattern import Pattern

ROUTES_LIMIT = 100_000
"""Entries of each cache; a full one is emptied."""

NO_TABLES: Final = TableSet.parse("{}")


@final
class Route:
    """The destination of a publish: its topic, in canonical form, and the shard that owns it.

    table: whose topic, or whose row's topic, this is.
    """

    __slots__ = ("shard", "table", "topic")

    def __init__(self, topic: str, shard: int, table: Table | None = None) -> None:
        self.topic = topic
        self.shard = shard
        self.table = table


@final
class Realm:
    """One realm, as far as one gateway is concerned."""

    __slots__ = (
        "_announced",
        "_reported",
        "_shards",
        "_texts",
        "assured",
        "awaits_tables",
        "count_dropped_event",
        "deliveries",
        "dropped_events",
        "headers",
        "max_subscriptions",
        "mqtt_routes",
        "name",
        "placement",
        "queueing",
        "stored",
        "tables",
        "tables_version",
        "traffic",
        "wamp_routes",
    )

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        headers: bool = False,
        stored: bool = True,
        has_schema: bool = False,
        max_subscriptions: int = 0,
    ) -> None:
        """headers: keyword arguments are not part of documents. stored: keys are on disk.

        has_schema: the configuration names a schema, so there are tables to be learnt.
        max_subscriptions: of all sessions of the gateway; 0: no limit.
        """
        self.name = name
        self.max_subscriptions = max_subscriptions
        self.headers = headers
        self.stored = stored
        self.placement = placement
        # One cache per notation, filled by the protocol that validates topics in it.
        self.wamp_routes: dict[str, Route] = {}
        self.mqtt_routes: dict[bytes, Route] = {}
        self._shards: dict[str, int] = {}
        #: The definitions by which all shards work.
        self.tables = NO_TABLES
        self.tables_version = 0
        #: Whether nothing may be published before the shards have told the definitions.
        self.awaits_tables = has_schema
        # Shard -> the version that it has told; and the texts of these versions.
        self._announced: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        # The sessions that have queued deliveries, behind which others must queue up, and those for
        # which events are dropped (see `pubsub.slow_consumers`).
        self.queueing: dict[object, None] = {}
        # Called for each event that is dropped because its receiver reads too slowly. They are
        # among the deliveries, too, as long as they have not been reported.
        self.count_dropped_event: Callable[[], None] = _nothing
        self.dropped_events = 0
        # All deliveries, those among them at quality of service 1 or 2, which take longer (see
        # `DeliveryBudget`), and all that the last report to the coordinator knew of.
        self.deliveries = self.assured = self._reported = 0
        self.traffic = {protocol: Traffic() for protocol in PROTOCOLS}

    def take_counts(self) -> dict[str, int]:
        """Return what was counted since the last call, by name."""
        dropped, self.dropped_events = self.dropped_events, 0
        counts = {
            "deliveries": self.deliveries - self._reported - dropped,
            "dropped_events": dropped,
        }
        self._reported = self.deliveries
        for total in ("publishes", "calls"):
            counts[total] = 0
        for protocol, traffic in self.traffic.items():
            taken = traffic.take()
            for total in ("publishes", "calls"):
                counts[total] += taken.pop(total)
            for what, count in taken.items():
                counts[f"{protocol}.{what}"] = count
        return counts

    def drop_event(self) -> None:
        """Count an event that a session does not get because it reads too slowly."""
        self.dropped_events += 1
        self.count_dropped_event()

    def route(self, topic: str) -> Route:
        """Return a new route to the topic (in canonical form, already validated).

        The caller puts it into its cache, for which this makes room.
        """
        for cache in (self.wamp_routes, self.mqtt_routes):
            if len(cache) >= ROUTES_LIMIT:
                cache.clear()
        return Route(topic, self.shard_of(topic), self.tables.table_of(topic))

    def announced(self, shard: int, version: int, text: str) -> bool:
        """Note the definitions by which a shard works; return whether others count from now on.

        The definitions of this gateway are those which all shards have, so no row comes to a shard
        that does not know its table.
        """
        self._announced[shard] = max(version, self._announced.get(shard, 0))
        self._texts[version] = text
        if len(self._announced) < self.placement.shards:
            return False
        common = min(self._announced.values())
        self._texts = {one: kept for one, kept in self._texts.items() if one >= common}
        if common == self.tables_version:
            return False
        self.tables = TableSet.parse(self._texts[common])
        self.tables_version = common
        self.awaits_tables = False
        self.wamp_routes.clear()
        self.mqtt_routes.clear()
        return True

    def rows_of(self, pattern: Pattern) -> Pattern:
        """Return what a session subscribes to: all rows, if the pattern is the name of a table."""
        table = self.tables.tables.get(pattern.literal) if pattern.is_exact else None
        return pattern if table is None else table.rows

    def shard_of(self, key: str) -> int:
        """Return the number of the shard that owns a topic, a procedure or a pattern's text."""
        shard = self._shards.get(key)
        if shard is None:
            if len(self._shards) >= ROUTES_LIMIT:
                self._shards.clear()
            shard = self._shards[key] = self.placement.shard_of(self.name, key)
        return shard


def _nothing() -> None:
    """Count nothing: the realm belongs to no gateway yet."""
