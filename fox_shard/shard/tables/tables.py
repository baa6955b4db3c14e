"""The tables of a shard: its rows, what they contribute, and the aggregates that it has.

Owns: how the parts belong together, and when each of them does its work. Never: the work.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.backplane.frames import Event, Publish
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.realm import Realm
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.inbox import Inbox
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.rows import KeyRef
from fox_shard.shard.tables.aggregates import Aggregates
from fox_shard.shard.tables.builds import Builds
from fox_shard.shard.tables.contributions import Contributions
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.shard.tables.rebuild import Rebuilding
from fox_shard.shard.tables.validation import Validation
from fox_shard.store.journal import Journal
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Table


@final
class Tables:
    """The tables of one shard, a `KeyObserver`."""

    __slots__ = (
        "_definitions",
        "_journal",
        "_validation",
        "aggregates",
        "builds",
        "contributions",
        "rebuilding",
    )

    def __init__(
        self,
        definitions: Definitions,
        validation: Validation,
        keys: RetainedKeys,
        journal: Journal,
        inbox: Inbox,
        outbox: ShardOutbox,
        budget: Budget,
        shards: int,
    ) -> None:
        """shards: how many there are."""
        self._definitions = definitions
        self._validation = validation
        self._journal = journal
        self.builds = Builds(definitions, journal, shards)
        self.contributions = Contributions(definitions, self.builds, keys.realms, outbox, budget)
        self.aggregates = Aggregates(self.builds, keys, journal, inbox, budget)
        self.rebuilding = Rebuilding(
            definitions,
            self.builds,
            self.contributions,
            self.aggregates,
            keys.realms,
            outbox,
            journal,
            budget,
            shards,
        )
        definitions.on_active.append(self._activated)
        keys.check = self._check
        keys.check_value = validation.check
        keys.observer = self

    def _activated(self, realm: str, before: TableSet, after: TableSet) -> None:
        self.builds.activated(realm, before, after)
        self.contributions.activated()
        self.rebuilding.activated()
        for build in self.builds:
            self.aggregates.show_if_complete(build)

    # Keys

    def _check(self, publish: Publish) -> None:
        """Raise a Refusal if the publish is not valid, or too much waits for a group's shard."""
        self._validation.check(publish)
        table = self._table_of(publish.realm, publish.topic)
        if table is not None and table.edges:
            self.contributions.check_room(table, publish)

    def _table_of(self, realm: str, topic: str) -> Table | None:
        if realm not in self._definitions.active:
            return None
        about = self._definitions.about(realm, topic)
        return None if about is None else about.table

    def changed(self, realm: Realm, change: KeyChange) -> None:
        """Send what the change of a row changes in aggregates."""
        table = self._table_of(*change.ref)
        if table is not None and table.edges:
            self.contributions.changed(realm, table, change)

    def undone(self, realm: Realm, topic: str, key: Event | None) -> None:
        """Send what a row contributes whose changes have failed, in case it was passed by."""
        table = self._table_of(realm.name, topic)
        if table is not None and table.edges and key is not None:
            self.contributions.send_again(realm, table, topic, key)

    def keeps_expired(self, ref: KeyRef) -> bool:
        """Whether the key may be a row, which has to take back what it contributes."""
        return self._table_of(*ref) is not None

    # Turns

    def begin(self) -> None:
        """Begin with what the store has, all of which has been loaded."""
        self.builds.begin()
        self.aggregates.begin()

    def sync_ended(self) -> None:
        """Note that keys may be changed."""
        self.rebuilding.sync_ended()

    def due(self) -> Iterable[Publish]:
        """Return what is to be published at the end of the turn."""
        if self._journal.failing:
            self.aggregates.put_off()
            return ()
        return self.aggregates.due()

    def take_counts(self) -> dict[str, int]:
        """Return the counters since the last call."""
        left_out, self.contributions.left_out = self.contributions.left_out, 0
        return {"results_left_out": left_out}

    # The store

    def committed(self, ticket: int) -> None:
        """Note that transactions up to this one are durable."""
        self.aggregates.committed(ticket)
        self.rebuilding.committed(ticket)

    def commit_failed(self) -> None:
        """Note that all transactions that are not durable have failed."""
        self.aggregates.commit_failed()

    @property
    def idle(self) -> bool:
        """Whether all aggregates are what the rows make them, as far as these are known here."""
        return self.aggregates.idle and self.rebuilding.idle
