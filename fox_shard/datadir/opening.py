"""Opening the stores of processes, in the data folder or in memory.

Owns: when a process may open its store: once the layout has the configured number of shards, which
shard-0 sees to. Never: what is stored.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from fox_shard.config import Config
from fox_shard.datadir.damage import naming_rows
from fox_shard.datadir.resharding import reshard
from fox_shard.store.layout import Hold, Layout, hold_shared
from fox_shard.store.memory import MemoryStore
from fox_shard.store.sqlite import SqliteStore
from fox_shard.store.store import OnOutcome, Store, StoreError

_log = logging.getLogger("fox")

LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at the manifest while shard-0 moves the rows."""

IN_MEMORY: Final = 0
"""The generation of a layout without files."""


class Opened(NamedTuple):
    """A store, and the lock of its folder; None: the store is in memory or the coordinator's."""

    store: Store
    hold: Hold | None


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn errors about a process's rows into StoreErrors, while its state is loaded from them.

    what: the process. Rows that cannot be decoded raise ValueErrors, e.g. `msgspec.DecodeError`.
    """
    try:
        with naming_rows():
            yield
    except ValueError as error:
        raise StoreError(
            f"The store of {what} holds a row that cannot be read ({error}): move it away, or "
            "restore a backup with `fox load`."
        ) from error


def unstored(config: Config) -> frozenset[str]:
    """Return the realms whose keys are in memory only."""
    return frozenset(realm.name for realm in config.realms if realm.store == "memory")


def is_in_memory(config: Config) -> bool:
    """Whether all realms are in memory only, so that there are no files."""
    return len(unstored(config)) == len(config.realms)


def refuse_other_layout(config: Config) -> None:
    """Raise StoreError if what is stored is for another number of shards than there are."""
    folder = Path(config.data_dir)
    layout = None if is_in_memory(config) else Layout.read(folder)
    if layout is not None and layout.shards != config.shards:
        raise StoreError(
            f"The data in {folder} is for {layout.shards} shards, and a server in one process has "
            "one: move the keys with `fox reshard --to 1`, or start the server with `fox run`."
        )


async def generation(config: Config, process: str) -> int:
    """Return the layout's generation, once it is for the configured number of shards.

    process: the name of the waiting process, for the log. Raises StoreError.
    """
    if is_in_memory(config):
        return IN_MEMORY
    return (await _layout(config, process)).generation


async def _layout(config: Config, process: str) -> Layout:
    """Wait until the layout is for the configured number of shards, and return it."""
    folder = Path(config.data_dir)
    waiting = False
    while True:
        layout = Layout.open(folder, config.shards, _tell_new)
        if layout.shards == config.shards:
            return layout
        if not waiting:
            waiting = True
            found = {"found": layout.shards, "configured": config.shards}
            _log.info("waiting_for_resharding", extra={"fox": {"process": process, **found}})
        await asyncio.sleep(LOOK_AGAIN)


async def open_shard(number: int, config: Config, on_outcome: OnOutcome) -> tuple[Opened, int]:
    """Open a shard's store; returns it with the layout's generation. Raises StoreError.

    If the layout is for another number of shards, shard-0 first moves all rows, and the other
    shards wait.
    """
    if is_in_memory(config):
        return Opened(MemoryStore(on_outcome), None), IN_MEMORY
    folder = Path(config.data_dir)
    while True:
        layout = Layout.open(folder, config.shards, _tell_new)
        if layout.shards == config.shards:
            hold = hold_shared(folder, wait=True)
            try:
                # Another generation may have begun before the lock was taken.
                if Layout.read(folder) == layout:
                    layout.require(number)
                    store = SqliteStore(*layout.shard(number), on_outcome)
                    return Opened(store, hold), layout.generation
            except BaseException:
                hold.release()
                raise
            hold.release()
        elif number == 0:
            _reshard(folder, layout.shards, config.shards)
        else:
            await _layout(config, f"shard-{number}")


def _tell_new(folder: Path) -> None:
    _log.info("new_data", extra={"fox": {"folder": str(folder)}})


def _reshard(folder: Path, old: int, new: int) -> None:
    _log.info("resharding", extra={"fox": {"process": "shard-0", "from": old, "to": new}})
    shown = 0

    def progress(_what: str, done: int, total: int) -> None:
        nonlocal shown
        share = 10 * done // max(1, total)
        if share > shown:
            shown = share
            fields = {"process": "shard-0", "rows": done, "of": total}
            _log.info("resharding_progress", extra={"fox": fields})

    summary = reshard(folder, new, progress=progress)
    fields = {"process": "shard-0", "keys": summary.keys, "moved": summary.moved, "to": new}
    _log.info("resharded", extra={"fox": fields})


async def open_coordinator(config: Config, on_outcome: OnOutcome) -> tuple[Opened, int]:
    """Open the coordinator's store; returns it with the layout's generation. Raises StoreError."""
    if is_in_memory(config):
        return Opened(MemoryStore(on_outcome), None), IN_MEMORY
    layout = await _layout(config, "coordinator")
    path, label = layout.coordinator
    return Opened(SqliteStore(path, label, on_outcome), None), layout.generation
