"""Schemas of realms out of a data folder, and into its next generation.

Owns: which definitions all shards of the next generation get, and what a load changes in them.
Never: what a schema means (see `tables`), how it gets to the shards of a running server (see
`coordinator.schemas`).
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import final

import msgspec

from fox_shard.backplane.frames import COMPUTED
from fox_shard.coordinator import rows as coordinator_rows
from fox_shard.datadir.damage import OnDamage, described, naming_rows
from fox_shard.shard import rows
from fox_shard.store.file import read, salvage
from fox_shard.store.layout import Layout
from fox_shard.store.refusals import remedy
from fox_shard.store.store import StoreError
from fox_shard.tables.schema import TableSet


@final
class Definitions:
    """The definitions of all realms.

    Shards may have different versions of one: the latest counts, which all new shards get.
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, rows.DefinitionRow] = {}

    def add(self, key: bytes, row: rows.DefinitionRow) -> None:
        """Add the row of a shard."""
        known = self._rows.get(key)
        if known is None or known.version < row.version:
            self._rows[key] = row

    def active(self) -> dict[str, str]:
        """Return the text of each realm's active schema, by realm."""
        found = ((rows.realm_and_rest(key), row.text) for key, row in self._rows.items())
        return {realm: text for (realm, step), text in found if step == rows.ACTIVE}

    def replace(self, realm: str, text: str, above: int) -> None:
        """Make a schema the active one. above: a version that the coordinator knows."""
        keys = [rows.definition(realm, step) for step in (rows.ACTIVE, rows.NEXT)]
        known = [self._rows.pop(key).version for key in keys if key in self._rows]
        self._rows[keys[0]] = rows.DefinitionRow(max([above, *known]) + 1, text)

    def encoded(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of each new shard."""
        for key, row in self._rows.items():
            yield key, rows.encode(row)


def read_definitions(layout: Layout) -> Definitions:
    """Return the definitions that the shards have. Raises StoreError."""
    found = Definitions()
    for number in range(layout.shards):
        path, label = layout.shard(number)
        if path.exists():
            with naming_rows(), closing(read(path, label, rows.DEFINITION)) as stored:
                for key, value in stored:
                    try:
                        found.add(key, rows.decode_definition(value))
                    except msgspec.MsgspecError as error:
                        what = described(path, key)
                        raise StoreError(
                            f"{path} is damaged: {what} cannot be read: {remedy(path)}."
                        ) from error
    return found


def salvage_definitions(layout: Layout, on_damage: OnDamage) -> Definitions:
    """Return the definitions that are intact on any shard.

    on_damage: called for each row that is left out; not for files, which `salvage_keys` names.
    """
    found = Definitions()
    for number in range(layout.shards):
        path, label = layout.shard(number)
        damaged: list[bytes] = []
        try:
            with closing(salvage(path, label, rows.DEFINITION, damaged.append)) as stored:
                for key, value in stored:
                    try:
                        found.add(key, rows.decode_definition(value))
                    except msgspec.MsgspecError:
                        damaged.append(key)
        except StoreError:
            # `salvage_keys` reads the same file, and names what is missing in it.
            continue
        for key in damaged:
            if key[:1] == rows.DEFINITION:
                on_damage(described(path, key))
    return found


@final
class LoadedSchemas:
    """The schemas of a dump that a data folder does not have, and what goes with them."""

    def __init__(self, layout: Layout, dumped: Mapping[str, TableSet], *, replace: bool) -> None:
        """layout: of the folder. dumped: by realm. replace: the dump wins over other schemas.

        Raises StoreError if a realm has another schema and `replace` is not set.
        """
        present = read_definitions(layout).active()
        self._new = {
            realm: tables for realm, tables in dumped.items() if present.get(realm) != tables.text
        }
        others = sorted(self._new.keys() & present.keys())
        if others and not replace:
            raise StoreError(
                f"Nothing was loaded: the realm {others[0]} is there with another schema: say "
                "--replace to replace it."
            )
        self._versions = _coordinator_versions(layout) if self._new else {}

    def drops(self, key: bytes, value: bytes) -> bool:
        """Whether a stored row belongs to an aggregate that the realm does not have any more."""
        if not self._new or key[:1] != rows.KEY:
            return False
        realm, topic = rows.key_ref_of(key)
        tables = self._new.get(realm)
        if tables is None or not rows.decode_event(value).publish.flags & COMPUTED:
            return False
        table = tables.table_of(topic)
        return table is None or table.aggregate is None

    def put(self, definitions: Definitions) -> None:
        """Make the schemas active."""
        for realm, tables in self._new.items():
            definitions.replace(realm, tables.text, self._versions.get(realm, 0))


def _coordinator_versions(layout: Layout) -> dict[str, int]:
    """Return the latest version that the coordinator has given in each realm."""
    path, label = layout.coordinator
    if not path.exists():
        return {}
    versions: dict[str, int] = {}
    with naming_rows(), closing(read(path, label, coordinator_rows.SCHEMA)) as stored:
        for key, value in stored:
            try:
                row = coordinator_rows.decode_schema(value)
            except msgspec.MsgspecError as error:
                what = described(path, key)
                raise StoreError(
                    f"{path} is damaged: {what} cannot be read: {remedy(path)}."
                ) from error
            versions[coordinator_rows.name_of(key)] = max(row.version, row.next_version)
    return versions
