"""Monitoring: what a shard tells of itself, to the coordinator and to health checks.

Owns: which counts and gauges these are. Never: the counting of what other parts count.
"""

from collections import Counter
from typing import final

from fox_shard.backplane.attached import is_attached
from fox_shard.backplane.frames import Report
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.links import Links
from fox_shard.backplane.usage import Usage
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.links.peers import Peers
from fox_shard.shard.publishing.stored import StoredPublishes
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.rpc.invocations import Invocations
from fox_shard.shard.tables.tables import Tables
from fox_shard.store.journal import Journal


@final
class Monitoring:
    """The metrics and the health of one shard. batches, frames: handled since the last report."""

    __slots__ = (
        "_invocations",
        "_journal",
        "_links",
        "_outbox",
        "_peers",
        "_reducers",
        "_retained_keys",
        "_stored_publishes",
        "_tables",
        "batches",
        "frames",
    )

    def __init__(
        self,
        peers: Peers,
        links: Links,
        journal: Journal,
        retained_keys: RetainedKeys,
        stored_publishes: StoredPublishes,
        invocations: Invocations,
        reducers: Reducers,
        tables: Tables,
        outbox: ShardOutbox,
    ) -> None:
        self._peers = peers
        self._links = links
        self._journal = journal
        self._retained_keys = retained_keys
        self._stored_publishes = stored_publishes
        self._invocations = invocations
        self._reducers = reducers
        self._tables = tables
        self._outbox = outbox
        self.batches = self.frames = 0

    def report(self, usage: Usage) -> Report:
        """Return the metrics since the last report. usage: of the process."""
        refusals = self._stored_publishes.refusals
        counters = Counter(
            {
                "batches": self.batches,
                "frames": self.frames,
                "dropped": refusals.dropped,
                "limit_exceeded": refusals.limit_exceeded,
                **self._reducers.take_counts(),
                **self._tables.take_counts(),
                **usage.counters(),
            }
        )
        self.batches = self.frames = 0
        refusals.dropped = refusals.limit_exceeded = 0
        for limit_counts in self._limit_counts():
            # Added up: calls and publishes may have exceeded the same limit.
            counters.update(limit_counts.take())
        gauges = {
            "keys": self._retained_keys.keys_held,
            "waiting_publishes": len(self._stored_publishes.conditional.waiting),
            "queue_depth": self._invocations.kept.queued,
            **self._reducers.gauges(),
            "outbox_bytes": self._outbox.total,
            "store_failing": int(bool(self._journal.failing)),
            **usage.gauges(),
        }
        return Report(counters, gauges, {}, {"commit_seconds": self._journal.commit_times.take()})

    def _limit_counts(self) -> tuple[LimitCounts, ...]:
        publishes = self._stored_publishes.refusals.limit_counts
        return publishes, self._invocations.limit_counts, self._reducers.instances.limit_counts

    def health(self) -> dict[str, object]:
        """Return the state for health checks, in the form of `Node.health` but for the name."""
        links = self._links.states()
        linked = all(is_open for name, is_open in links.items() if not is_attached(name))
        well = linked and not self._journal.failing
        status = "unavailable" if not self._peers.synced else "ok" if well else "degraded"
        trouble: dict[str, object] = {}
        if self._journal.failing:
            trouble["store"] = self._journal.failing
        refused = Counter[str]()
        for counts in self._limit_counts():
            refused.update(counts.totals())
        if refused:
            trouble["refused"] = dict(refused)
        return {
            "status": status,
            "links": links,
            "keys": self._retained_keys.keys_held,
            "waiting_publishes": len(self._stored_publishes.conditional.waiting),
            "queued_calls": self._invocations.kept.queued,
            **trouble,
        }
