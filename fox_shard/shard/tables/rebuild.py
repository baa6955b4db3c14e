"""Rebuilding: the long pieces of work when the definition of an aggregate has changed.

Owns: how this shard's rows contribute to a new build, how its groups come to be shown, and how what
belongs to an obsolete build is removed; each in slices. Never: the groups (see `builds`).

All rows are looked at in the order of their topics, and each contributes the durable value that it
has. A row that is just changing is passed by, since each change that is made by the new definition
sends its own contribution; if it fails, `undone` sends that of the durable value. Changes that were
made before the definition must be durable, or have failed, before the first row is looked at.
"""

from collections.abc import Iterator
from typing import Final, final

from fox_shard.backplane.frames import COMPUTED, Rebuilt
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.realm import Realms
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.tables.aggregates import Aggregates
from fox_shard.shard.tables.builds import SHOWING, SHOWN, Build, Builds
from fox_shard.shard.tables.contributions import Contributions
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.store.journal import Journal
from fox_shard.tables.table import Table
from fox_shard.topics.pattern import Pattern

SLICE: Final = 200
"""Steps of one slice at most."""

STEP_UNITS: Final = 1
"""Units of the turn's budget for a row that is looked at, besides its contributions."""


_END: Final = (None, None)
"""In place of a step: there is no other."""


@final
class Rebuilding:
    """The work of one shard for builds that begin and end."""

    __slots__ = (
        "_aggregates",
        "_budget",
        "_builds",
        "_contributions",
        "_definitions",
        "_emptied",
        "_journal",
        "_outbox",
        "_realms",
        "_released",
        "_removals",
        "_scans",
        "_shards",
        "_showing",
        "_synced",
    )

    def __init__(
        self,
        definitions: Definitions,
        builds: Builds,
        contributions: Contributions,
        aggregates: Aggregates,
        realms: Realms,
        outbox: ShardOutbox,
        journal: Journal,
        budget: Budget,
        shards: int,
    ) -> None:
        """shards: how many there are."""
        self._definitions = definitions
        self._builds = builds
        self._contributions = contributions
        self._aggregates = aggregates
        self._realms = realms
        self._outbox = outbox
        self._journal = journal
        self._budget = budget
        self._shards = shards
        # The work that has begun and goes on in the next slice.
        self._scans: dict[Build, Iterator[tuple[Table, str | None]]] = {}
        self._showing: dict[Build, Iterator[str | None]] = {}
        self._removals: dict[Build, Iterator[str | bytes | None]] = {}
        # Obsolete builds of which nothing is left; they go when the erased keys are durable.
        self._emptied: set[Build] = set()
        # The last transaction whose keys count as durable.
        self._released = 0
        self._synced = False

    def sync_ended(self) -> None:
        """Begin with the work."""
        self._synced = True

    def committed(self, ticket: int) -> None:
        """Note that keys that were changed up to that transaction count as durable."""
        self._released = ticket

    def activated(self) -> None:
        """Go on by another schema, in which the tables may have other edges."""
        self._scans.clear()

    @property
    def busy(self) -> bool:
        """Whether there is work that can go on now."""
        return (self._synced and not self._journal.failing) and (
            any(self._can_remove(build) for build in self._builds.obsolete)
            or any(self._can_scan(build) or build.stage == SHOWING for build in self._builds)
        )

    def go_on(self, _now: float) -> None:
        """Do a slice of each piece of work, as far as the budget goes."""
        for build in list(self._builds):
            if self._can_scan(build) and not self._budget.exhausted:
                self._scan(build)
            if build.stage == SHOWING and not self._budget.exhausted:
                self._show(build)
        for build in list(self._builds.obsolete):
            self._scans.pop(build, None)
            self._showing.pop(build, None)
            if not self._budget.exhausted:
                self._remove(build)

    def _can_remove(self, build: Build) -> bool:
        return build not in self._emptied or not self._aggregates.erasing

    # This shard's rows

    def _can_scan(self, build: Build) -> bool:
        return (
            build.scanned is not None
            and self._released >= build.begins
            and not any(self._outbox.is_full(shard) for shard in range(self._shards))
        )

    def _scan(self, build: Build) -> None:
        """Let further rows contribute to the build."""
        realm = self._realms[build.realm]
        steps = self._scans.setdefault(build, self._steps(build))
        for _ in range(SLICE):
            if self._budget.exhausted:
                break
            table, topic = next(steps, _END)
            if table is None:
                self._scanned(build)
                return
            self._budget.spend(STEP_UNITS)
            if topic is not None:
                build.scanned = topic
                key = realm.keys.get(topic)
                if key is not None and not realm.keys.is_changing(topic):
                    self._contributions.send_into(realm, table, topic, key, build)
        self._builds.keep(build)

    def _steps(self, build: Build) -> Iterator[tuple[Table, str | None]]:
        """Yield the topics that have not been looked at, or None for a step that finds none."""
        keys, scanned = self._realms[build.realm].keys, build.scanned or ""
        for table in self._sources(build):
            for topic in keys.steps(table.rows, max(scanned, table.name + ".")):
                yield table, topic

    def _scanned(self, build: Build) -> None:
        """Tell all shards that all rows of this one have contributed."""
        del self._scans[build]
        build.scanned = None
        self._builds.keep(build)
        for shard in range(self._shards):
            self._outbox.send(shard, Rebuilt(build.realm, build.name))

    def _sources(self, build: Build) -> list[Table]:
        """Return the tables that may have rows beyond the last one, in the order of their rows.

        Their rows' topics lie between the table's name with a dot and with `/`, the next character.
        """
        if not self._realms[build.realm].stored:
            return []
        tables = self._definitions.of(build.realm)
        names = {edge.source for edge in tables.edges_into(build.table_name)}
        beyond = [name for name in names if name + "/" > (build.scanned or "")]
        return [tables.tables[name] for name in sorted(beyond, key=lambda name: name + ".")]

    # The keys of groups

    def _show(self, build: Build) -> None:
        """Have further keys of the build's groups written, or erased if there is no such group."""
        topics = self._showing.setdefault(build, self._topics_to_show(build))
        for _ in range(SLICE):
            if self._budget.exhausted:
                break
            try:
                topic = next(topics)
            except StopIteration:
                del self._showing[build]
                build.stage = SHOWN
                self._builds.keep(build)
                return
            self._budget.spend(STEP_UNITS)
            if topic is not None:
                self._aggregates.touch(build, topic)

    def _topics_to_show(self, build: Build) -> Iterator[str | None]:
        yield from list(build.groups)
        for topic in self._keys_of(build):
            yield topic if topic is not None and topic not in build.groups else None

    def _keys_of(self, build: Build) -> Iterator[str | None]:
        name = build.table_name
        return self._realms[build.realm].keys.steps(Pattern.wamp(f"{name}.#"), name + ".")

    # What is not needed any more

    def _remove(self, build: Build) -> None:
        """Remove further contributions of the build, and keys if there is no such aggregate."""
        if build in self._emptied:
            if not self._aggregates.erasing:
                self._emptied.discard(build)
                del self._removals[build]
                self._builds.remove(build)
            return
        remains = self._removals.setdefault(build, self._remains(build))
        for _ in range(SLICE):
            if self._budget.exhausted:
                break
            try:
                item = next(remains)
            except StopIteration:
                self._emptied.add(build)
                return
            self._budget.spend(STEP_UNITS)
            if isinstance(item, bytes):
                self._journal.keep(item, None)
            elif item is not None:
                self._aggregates.erase(build.realm, item)

    def _remains(self, build: Build) -> Iterator[str | bytes | None]:
        """Yield the row keys of contributions, the topics of keys, and None for vain steps."""
        while build.groups:  # their memory goes slice by slice, too
            topic, group = build.groups.popitem()
            while group.contributions:
                place, _ = group.contributions.popitem()
                yield rows.contribution(build.realm, build.name, topic, place)
        realm = self._realms[build.realm]
        # Without its own row, a build from the store does not say whose it was.
        for found in self._keys_of(build) if build.table_name else ():
            if build.table_name in self._definitions.of(build.realm).tables:
                return  # the rows of another build, or of clients
            key = None if found is None else realm.keys.get(found)
            if found is not None and key is not None and key.publish.flags & COMPUTED:
                yield found
            else:
                yield None

    @property
    def idle(self) -> bool:
        """Whether all builds are shown, and all obsolete ones removed."""
        return not self._builds.obsolete and all(
            build.scanned is None and build.stage == SHOWN for build in self._builds
        )
