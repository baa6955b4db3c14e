"""Backups: schemas and retained keys out of a data folder, and into one.

Owns: which keys go where, and what happens to keys that exist already. Never: files (see
`generation`); the form of a dump (see `dumpfile`); which schema counts (see `definitions`).
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fox_shard.backplane.frames import Event
from fox_shard.datadir.damage import OnDamage, naming_rows
from fox_shard.datadir.definitions import LoadedSchemas, read_definitions, salvage_definitions
from fox_shard.datadir.dumpfile import Form, Key, Schema, event_of, key_of, read, write
from fox_shard.datadir.generation import (
    NextGeneration,
    count_rows,
    read_keys,
    read_rows,
    require,
    salvage_keys,
    shards_with_files,
    size,
    stored,
)
from fox_shard.progress import STRIDE, Progress, counted, unseen
from fox_shard.shard import rows
from fox_shard.store.file import Lookup
from fox_shard.store.layout import Layout, hold_alone, hold_shared
from fox_shard.store.store import StoreError
from fox_shard.tables.mistakes import SchemaError
from fox_shard.tables.schema import TableSet


class Loaded(NamedTuple):
    """The result of `load`, in keys.

    keys: all of the dump. same: those that existed with the same value. replaced: those that
    existed with another value.
    """

    keys: int
    same: int
    replaced: int


def dump(
    data_dir: Path,
    out: BinaryIO,
    form: Form,
    on_damage: OnDamage | None = None,
    progress: Progress = unseen,
) -> int:
    """Write the active schemas, and all retained keys but the weak ones; returns their number.

    Each shard's keys are as of one moment. The broker may run; while a shard's keys are read, the
    log of its store grows. on_damage: called for each key or file that is damaged or missing, and
    left out; None: damage raises StoreError. Raises StoreError, OSError (of `out`).
    """
    layout = require(data_dir)
    with hold_shared(data_dir, wait=False):
        if on_damage is None:
            layout = stored(data_dir)
            definitions = read_definitions(layout)
            events = counted(read_keys(layout), progress, "keys", count_rows(layout, rows.KEY))
        else:
            definitions = salvage_definitions(layout, on_damage)
            events = counted(salvage_keys(data_dir, on_damage), progress, "keys")
        keys = (key_of(event) for event in events if not _is_weak(event))
        schemas = [Schema(realm, text) for realm, text in sorted(definitions.active().items())]
        return write(out, form, layout.shards, keys, schemas)


def _is_weak(event: Event) -> bool:
    """Whether the key ends with a session, which does not exist where the dump is loaded."""
    return event.publish.retain is not None and event.publish.retain.weak


def load(
    data_dir: Path,
    source: BinaryIO,
    shards: int,
    *,
    replace: bool,
    progress: Progress = unseen,
) -> Loaded:
    """Load a dump into the folder of a broker that does not run: all of the dump, or nothing.

    Existing keys that are not in the dump stay. shards: the number of shards of a new folder; an
    existing folder keeps its number. replace: existing keys with other values get those of the
    dump, and realms with other schemas, too; without it, one of these makes `load` fail. Raises
    StoreError, OSError (of `source`).
    """
    # A file that is no dump is refused before a new folder is made.
    size_of_dump = _size(source)
    schemas, keys = _split(read(source))
    with hold_alone(data_dir), ExitStack() as stack:
        Layout.begin(data_dir, shards)
        old = stored(data_dir)
        loaded_schemas = LoadedSchemas(old, schemas, replace=replace)
        # The loaded keys may be older than those that have contributed to aggregates.
        new = stack.enter_context(NextGeneration(old, old.shards, size(old), with_aggregates=False))
        for row in counted(read_rows(old), progress, "rows that are there", count_rows(old)):
            if not loaded_schemas.drops(row[0], row[1]):
                new.carry_over(row)
        loaded_schemas.put(new.definitions)
        present = {
            shard: stack.enter_context(closing(Lookup(*old.shard(shard))))
            for shard in shards_with_files(old)
        }
        keys = _told(keys, source, size_of_dump, progress)
        loaded = _load(keys, new, present, replace=replace)
        new.finish(old)
        return loaded


def _split(records: Iterator[Schema | Key]) -> tuple[dict[str, TableSet], Iterator[Key]]:
    """Return the schemas of a dump by realm, and the keys, of which only the first has been read.

    Raises StoreError.
    """
    schemas: dict[str, TableSet] = {}
    for record in records:
        if isinstance(record, Key):
            return schemas, chain([record], _keys(records))
        try:
            schemas[record.realm] = TableSet.parse(record.text)
        except SchemaError as error:
            raise StoreError(
                f"Nothing was loaded: the dump's schema of realm {record.realm} cannot be: "
                f"{error.path}: {error.sentence}."
            ) from error
    return schemas, iter(())


def _keys(records: Iterator[Schema | Key]) -> Iterator[Key]:
    return (record for record in records if isinstance(record, Key))


def _size(source: BinaryIO) -> int:
    """Return the bytes of a dump that has not been read yet; 0: nobody knows."""
    if not source.seekable():
        return 0
    begin = source.tell()
    size = source.seek(0, os.SEEK_END) - begin
    source.seek(begin)
    return size


def _told(keys: Iterator[Key], source: BinaryIO, size: int, progress: Progress) -> Iterator[Key]:
    """Yield the keys, and tell how much of the dump has been read."""
    if not size:
        yield from counted(keys, progress, "keys of the dump")
        return
    for number, key in enumerate(keys, 1):
        yield key
        if not number % STRIDE:
            progress("bytes of the dump", source.tell(), size)


def _load(
    keys: Iterator[Key], new: NextGeneration, present: dict[int, Lookup], *, replace: bool
) -> Loaded:
    count = same = replaced = 0
    first_replaced = ""
    for key in keys:
        count += 1
        shard = new.placement.shard_of(key.realm, key.topic)
        name, value = rows.key(key.realm, key.topic), rows.encode(event_of(key))
        with naming_rows():
            existing = present[shard].get(name) if shard in present else None
        if existing == value:
            same += 1
        elif existing is not None:
            replaced += 1
            first_replaced = first_replaced or f"{key.topic} in {key.realm}"
        new.put(shard, name, value)
        new.raise_ceiling(key.publication // 64 + 1)
    if replaced and not replace:
        raise StoreError(
            f"Nothing was loaded: {replaced} of {count} keys are there with other values, the "
            f"first is {first_replaced}: say --replace to replace them."
        )
    return Loaded(count, same, replaced)
