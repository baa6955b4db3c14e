"""The making of a store's file.

Owns: that a file exists whole and durable, or not at all. Never: files that are in use.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from fox_shard.store import statements
from fox_shard.store.checksums import sealed
from fox_shard.store.disk import sync
from fox_shard.store.file import SCHEMA, Label, connect, new_meta
from fox_shard.store.refusals import refusing

CACHE: Final = 32 << 10
"""KiB of pages that SQLite keeps in memory."""


@final
class Bulk:
    """A new store file, written as `<path>.new` and renamed to `path` by `finish`.

    Rows are written fastest in the order of their keys. All methods raise StoreError.
    """

    def __init__(self, path: Path, label: Label) -> None:
        self._path = path
        self._making = path.with_name(f"{path.name}.new")
        with refusing(path):
            self._making.unlink(missing_ok=True)
            self._connection = connect(self._making, "rwc")
            try:
                self._begin(label)
            except BaseException:
                self.abandon()
                raise

    def _begin(self, label: Label) -> None:
        execute = self._connection.execute
        # After a crash an unfinished file is of no use, so it needs no journal and no syncing.
        execute("PRAGMA journal_mode = OFF")
        execute("PRAGMA synchronous = OFF")
        execute(f"PRAGMA cache_size = -{CACHE}")
        execute("BEGIN")
        for statement in SCHEMA:
            execute(statement)
        self._connection.executemany("INSERT INTO meta VALUES (?, ?)", new_meta(label).items())

    def put(self, rows: Sequence[bytes]) -> None:
        """Write rows, given as key, value, key, value …; a key's last value counts."""
        checked = list(rows)
        checked[1::2] = map(sealed, rows[::2], rows[1::2])
        with refusing(self._path):
            for sql, values in statements.puts(checked):
                self._connection.execute(sql, values)

    def finish(self) -> None:
        """Make the file durable and rename it to `path`, which must not exist."""
        with refusing(self._path):
            self._connection.execute("COMMIT")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.close()
            sync(self._making)
            self._making.rename(self._path)
            sync(self._path.parent)

    def abandon(self) -> None:
        """Close and delete the unfinished file."""
        with refusing(self._path):
            self._connection.close()
            self._making.unlink(missing_ok=True)
