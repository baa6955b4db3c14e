"""Builds: the groups of each aggregate, as they are computed from the rows of all shards.

Owns: which builds there are, their groups and contributions, and how far each of them is. Never:
what rows contribute (see `contributions`), the keys of groups (see `aggregates`).

When an aggregate's definition changes, its groups are built anew, from all rows that there are, and
beside the groups that are shown until then. So each build has a name of its own, which each
contribution carries: the fingerprint of the definition and the version of the schema that brought
it. All shards come to the same name, because they all take the same schemas one after the other.
"""

from collections.abc import Iterator
from typing import Final, final

from fox_shard.shard import rows
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.store.journal import Journal
from fox_shard.tables.groups import Group
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Aggregate, Numbers, Table

BUILDING: Final = 0
"""Not all shards have contributed all their rows: the keys have the values of an earlier build."""

SHOWING: Final = 1
"""All shards have, and the keys are being written."""

SHOWN: Final = 2
"""All keys are written, and follow the contributions."""


@final
class StoredGroup:
    """One group. contributions: place (see `rows`) -> `ContributionRow`, encoded as in the store.

    rows: the arithmetic; None: it is not known yet, after a restart.
    """

    __slots__ = ("contributions", "rows")

    def __init__(self, rows: Group | None) -> None:
        self.rows = rows
        self.contributions: dict[str, bytes] = {}

    def compute(self, aggregate: Aggregate) -> None:
        """Compute the group from its contributions."""
        group = self.rows = Group(aggregate)
        for value in self.contributions.values():
            group.add(rows.decode_contribution(value)[1])


@final
class Build:
    """One build of an aggregate, on one shard.

    table: the aggregate; None: its definition is not known any more. active: whether it belongs to
    the active schema. scanned, heard, stage: see `rows.BuildRow`. begins: this shard's rows may be
    looked at when the keys of that transaction count as durable.
    """

    __slots__ = (
        "active",
        "begins",
        "contributions",
        "groups",
        "heard",
        "name",
        "realm",
        "scanned",
        "stage",
        "table",
        "table_name",
        "touched",
        "unwritten",
    )

    def __init__(self, realm: str, name: str, table: Table | None, table_name: str = "") -> None:
        self.realm = realm
        self.name = name
        self.table = table
        self.table_name = table.name if table is not None else table_name
        self.active = False
        self.scanned: str | None = ""
        self.heard: set[int] = set()
        self.stage = BUILDING
        self.begins = 0
        # How many there are, in all groups.
        self.contributions = 0
        # Topic -> group.
        self.groups: dict[str, StoredGroup] = {}
        # Topics of groups whose keys have to be written; and those that have a row that says so.
        self.touched: dict[str, None] = {}
        self.unwritten: set[str] = set()

    @property
    def aggregate(self) -> Aggregate:
        """What is computed; only of a build whose definition is known."""
        assert self.table is not None
        assert self.table.aggregate is not None
        return self.table.aggregate

    def add(self, topic: str, place: str, value: bytes, numbers: Numbers) -> None:
        """Add a contribution to a group. value: the encoded row."""
        group = self.groups.get(topic)
        if group is None:
            group = self.groups[topic] = StoredGroup(Group(self.aggregate))
        assert group.rows is not None
        group.rows.add(numbers)
        group.contributions[place] = value
        self.contributions += 1

    def retract(self, topic: str, place: str, numbers: Numbers) -> None:
        """Take a contribution out of its group, and drop the group with the last one."""
        group = self.groups[topic]
        assert group.rows is not None
        group.rows.retract(numbers)
        del group.contributions[place]
        self.contributions -= 1
        if not group.contributions:
            del self.groups[topic]


@final
class Builds:
    """The builds of one shard."""

    __slots__ = ("_builds", "_current", "_definitions", "_journal", "_last", "_shards", "obsolete")

    def __init__(self, definitions: Definitions, journal: Journal, shards: int) -> None:
        """shards: how many there are."""
        self._definitions = definitions
        self._journal = journal
        self._shards = shards
        # (realm, name) -> build.
        self._builds: dict[tuple[str, str], Build] = {}
        # Realm -> aggregate -> its build by the active schema.
        self._current: dict[str, dict[str, Build]] = {}
        # Builds that no schema needs any more, and whose rows have to go.
        self.obsolete: list[Build] = []
        # The last group that was loaded, and the beginning of its rows' keys.
        self._last: tuple[str, StoredGroup] | None = None

    def __iter__(self) -> Iterator[Build]:
        """Iterate over the builds of all active schemas."""
        for builds in self._current.values():
            yield from builds.values()

    def of(self, realm: str, table: str) -> Build | None:
        """Return the build of an aggregate by the active schema."""
        return self._current.get(realm, {}).get(table)

    def find(self, realm: str, name: str) -> Build | None:
        """Return the build of that name, which may be of the next schema; None: there is none."""
        build = self._builds.get((realm, name))
        return self._find_next(realm, name) if build is None else build

    def _find_next(self, realm: str, name: str) -> Build | None:
        following = self._definitions.next_of(realm)
        if following is None:
            return None
        version = self._definitions.next_version_of(realm)
        for table in following.tables.values():
            if table.aggregate is not None and name == _name(table.aggregate, version):
                return self._add(Build(realm, name, table))
        return None

    def _add(self, build: Build) -> Build:
        self._builds[build.realm, build.name] = build
        self.keep(build)
        return build

    def keep(self, build: Build) -> None:
        """Write how far the build is."""
        row = rows.BuildRow(build.table_name, build.scanned, sorted(build.heard), build.stage)
        self._journal.keep(rows.build(build.realm, build.name), rows.encode(row))

    def is_complete(self, build: Build) -> bool:
        """Whether all rows of all shards have contributed."""
        return len(build.heard) == self._shards

    def remove(self, build: Build) -> None:
        """Forget an obsolete build, all rows of which are deleted."""
        self.obsolete.remove(build)
        self._journal.keep(rows.build(build.realm, build.name), None)

    # Schemas

    def activated(self, realm: str, before: TableSet, after: TableSet) -> None:
        """Begin the builds that the new schema needs, and end those that it does not."""
        version = self._definitions.version_of(realm)
        current: dict[str, Build] = {}
        for table in after.tables.values():
            if table.aggregate is None:
                continue
            build = self.of(realm, table.name)
            earlier = before.tables.get(table.name)
            if build is None or _fingerprint(earlier) != table.aggregate.fingerprint:
                name = _name(table.aggregate, version)
                build = self._builds.get((realm, name)) or self._add(Build(realm, name, table))
                build.begins = self._journal.ticket
            build.table, build.active = table, True
            current[table.name] = build
        self._current[realm] = current
        self._end_others(realm)

    def _end_others(self, realm: str) -> None:
        """End the builds of a realm that neither the active nor the next schema needs."""
        kept = set(self._current.get(realm, {}).values())
        following = self._definitions.next_of(realm)
        if following is not None:
            version = self._definitions.next_version_of(realm)
            names = [
                _name(table.aggregate, version)
                for table in following.tables.values()
                if table.aggregate is not None
            ]
            kept |= {self._builds[realm, name] for name in names if (realm, name) in self._builds}
        for build in [one for one in self._builds.values() if one.realm == realm]:
            if build not in kept:
                del self._builds[realm, build.name]
                build.active = False
                build.touched.clear()
                for topic in sorted(build.unwritten):
                    self._journal.keep(rows.unwritten(realm, build.name, topic), None)
                self.obsolete.append(build)

    # Loading

    def load(self, key: bytes, row: rows.BuildRow) -> None:
        """Take a build's row from the store; its contributions come later."""
        realm, name = rows.realm_and_rest(key)
        build = self._loaded(realm, name.decode())
        build.table_name = row.table
        build.scanned, build.heard, build.stage = row.scanned, set(row.heard), row.stage

    def _loaded(self, realm: str, name: str) -> Build:
        build = self._builds.get((realm, name))
        if build is None:
            build = self._builds[realm, name] = Build(realm, name, None)
        return build

    def load_contribution(self, key: bytes, value: bytes) -> None:
        """Take a contribution from the store. They come in the order of their keys."""
        text = key.decode()
        if self._last is None or not text.startswith(self._last[0]):
            realm, name, topic, _ = rows.group_of(key)
            group = self._loaded(realm, name).groups[topic] = StoredGroup(None)
            self._last = f"b{realm}\0{name}\0{topic}\0", group
        beginning, group = self._last
        group.contributions[text[len(beginning) :]] = value

    def load_unwritten(self, key: bytes) -> None:
        """Note that a group's key was not written before the restart."""
        realm, name, topic, _ = rows.group_of(key)
        build = self._loaded(realm, name)
        build.touched[topic] = None
        build.unwritten.add(topic)

    def begin(self) -> None:
        """Find out, with all rows loaded, which builds the schemas need, and compute their groups.

        An aggregate without a build is built from the beginning, for example after another number
        of shards interrupted its build, or when the rows come from a backup.
        """
        self._last = None
        for realm, tables in self._definitions.active.items():
            version = self._definitions.version_of(realm)
            current = self._current[realm] = {}
            for table in tables.tables.values():
                if table.aggregate is None:
                    continue
                build = self._latest(realm, table.aggregate)
                if build is None:
                    build = self._add(Build(realm, _name(table.aggregate, version), table))
                build.table, build.active = table, True
                current[table.name] = build
        for realm in sorted({realm for realm, _ in self._builds}):
            self._find_loaded_next(realm)
            self._end_others(realm)
        for build in self._builds.values():
            for group in build.groups.values():
                group.compute(build.aggregate)
                build.contributions += len(group.contributions)

    def _latest(self, realm: str, aggregate: Aggregate) -> Build | None:
        """Return the latest build of a definition."""
        found = [
            build
            for (of, name), build in self._builds.items()
            if of == realm and name.startswith(aggregate.fingerprint + ".")
        ]
        return max(found, key=lambda build: int(build.name.rpartition(".")[2]), default=None)

    def _find_loaded_next(self, realm: str) -> None:
        """Give the builds of the next schema their definitions."""
        following = self._definitions.next_of(realm)
        if following is None:
            return
        version = self._definitions.next_version_of(realm)
        for table in following.tables.values():
            if table.aggregate is not None:
                build = self._builds.get((realm, _name(table.aggregate, version)))
                if build is not None:
                    build.table = table


def _name(aggregate: Aggregate, version: int) -> str:
    return f"{aggregate.fingerprint}.{version}"


def _fingerprint(table: Table | None) -> str:
    return "" if table is None or table.aggregate is None else table.aggregate.fingerprint
