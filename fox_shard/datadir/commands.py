"""The commands that work on a data folder: `fox reshard`, `fox dump` and `fox load`.

Owns: files and streams of dumps, messages, exit codes. Never: what is done with the rows (see
`resharding`, `backup`).
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fox_shard.config import Config
from fox_shard.datadir.backup import dump, load
from fox_shard.datadir.dumpfile import Form
from fox_shard.datadir.resharding import Summary, reshard
from fox_shard.progress import bar
from fox_shard.store.disk import sync
from fox_shard.store.store import StoreError

STANDARD = Path("-")
"""The name of a file that stands for standard input or output."""


def run_reshard(config: Config, shards: int, *, dry_run: bool, quiet: bool, as_json: bool) -> int:
    """Run `fox reshard`. Returns the exit code.

    quiet: without a bar. as_json: print the numbers as an object.
    """
    try:
        with bar(quiet=quiet) as progress:
            summary = reshard(Path(config.data_dir), shards, progress=progress, dry_run=dry_run)
    except StoreError as error:
        return _refuse(error)
    if as_json:
        print(json.dumps({**summary._asdict(), "dry_run": dry_run}))
        return 0
    print(_account(summary, dry_run=dry_run))
    if not dry_run and shards != config.shards:
        print(f'Now set FOX_SHARDS="{shards}" where it says {config.shards}, and start.')
    return 0


def _account(summary: Summary, *, dry_run: bool) -> str:
    if summary.old == summary.new:
        return f"The data is for {summary.new} shards already: nothing is to be moved."
    total = summary.keys + summary.wills + summary.events
    verb = "would be moved" if dry_run else "were moved"
    parts = ", ".join(f"shard {n}: {count}" for n, count in enumerate(summary.per_shard))
    return (
        f"{summary.moved} of {total} keys, wills and recorded events {verb}, "
        f"from {summary.old} to {summary.new} shards ({parts})."
    )


def run_dump(config: Config, file: Path, form: Form, *, salvage: bool, quiet: bool) -> int:
    """Run `fox dump`; the file appears once it is complete. Returns the exit code.

    quiet: without a bar, which there is not between the lines of a dump in a terminal either.
    """
    left_out: list[str] = []
    on_damage = left_out.append if salvage else None
    quiet = quiet or (file == STANDARD and sys.stdout.isatty())
    try:
        with _output(file) as out, bar(quiet=quiet) as progress:
            count = dump(Path(config.data_dir), out, form, on_damage, progress)
    except StoreError as error:
        return _refuse(error)
    except BrokenPipeError:
        raise  # the reader of standard output has closed it
    except OSError as error:
        return _refuse(f"Cannot write {file}: {error.strerror}.")
    for what in left_out:
        print(f"fox: Left out: {what}.", file=sys.stderr)
    said = "1 key was dumped." if count == 1 else f"{count} keys were dumped."
    print(said, file=sys.stderr)
    return 0


@contextmanager
def _output(file: Path) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdout.buffer
        return
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as out:
        try:
            yield out
        except BaseException:
            part.unlink()
            raise
    sync(part)
    part.rename(file)


def run_load(config: Config, file: Path, *, replace: bool, quiet: bool, as_json: bool) -> int:
    """Run `fox load`. Returns the exit code.

    quiet: without a bar. as_json: print the numbers as an object.
    """
    folder, shards = Path(config.data_dir), config.shards
    try:
        with _input(file) as source, bar(quiet=quiet) as progress:
            loaded = load(folder, source, shards, replace=replace, progress=progress)
    except StoreError as error:
        return _refuse(error)
    except OSError as error:
        return _refuse(f"Cannot read {file}: {error.strerror}.")
    new = loaded.keys - loaded.same - loaded.replaced
    if as_json:
        about = {"new": new, "replaced": loaded.replaced, "same": loaded.same}
        print(json.dumps(about))
        return 0
    print(f"Keys: {new} new, {loaded.replaced} replaced, {loaded.same} there already.")
    return 0


@contextmanager
def _input(file: Path) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdin.buffer
    else:
        with file.open("rb") as source:
            yield source


def _refuse(error: StoreError | str) -> int:
    print(f"fox: {error}", file=sys.stderr)
    return 1
