"""The store in a file: SQLite, and the one thread that writes to it.

Owns: which changes are committed together, and what happens after a commit that failed.
Never: what the rows mean; which file it is.

All tickets that wait when a commit ends share the next one (group commit): while the disk works,
more of them queue up, and the cost of a commit is divided by their number. A single statement is
its own transaction, which saves releasing the GIL two more times (see `statements`).

"Failed" means "not known to be durable". If the disk answered a commit with an error, the log may
nevertheless hold that commit whole; if the process ends before the next commit, its successor finds
the changes in the file.
"""

import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, NamedTuple, TextIO, final

from fox_shard.store import statements
from fox_shard.store.bulk import Bulk
from fox_shard.store.checksums import sealed
from fox_shard.store.disk import sync
from fox_shard.store.file import Label, identity_of, open_to_write, read
from fox_shard.store.refusals import refusing
from fox_shard.store.store import OnOutcome, StoreError, WriteSet

CACHE: Final = 16 << 10
"""KiB of pages that SQLite keeps in memory; the system's own cache has the others."""

CHECKPOINT: Final = 2000
"""Pages (4 KiB) in the write-ahead log from which on a commit moves them into the file.

Measured with random keys among 200,000: that commit takes 13 ms longer at 1000 pages, and 34 ms
longer at 4000, where rows are written 15 % faster.
"""

LOG_KEPT: Final = 32 << 20
"""Bytes to which the log's file is shortened after a checkpoint, if it was longer."""

PRAGMAS: Final = (
    "synchronous = FULL",  # a commit waits for the disk
    f"wal_autocheckpoint = {CHECKPOINT}",
    f"journal_size_limit = {LOG_KEPT}",
    f"cache_size = -{CACHE}",
    "cell_size_check = ON",  # damage is found when it is read
)


class _Write(NamedTuple):
    ticket: int
    changes: WriteSet
    resume: bool


@final
class SqliteStore:
    """A `Store` in a SQLite file, which calls `on_outcome` from its own thread."""

    def __init__(self, path: Path, label: Label, on_outcome: OnOutcome) -> None:
        """Open the file; if it does not exist, make it and its folders.

        Raises StoreError if the file is another store's, damaged, of a newer version, or in use.
        """
        self._path = path
        self._label = label
        self._on_outcome = on_outcome
        self._dropping = False
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._lock = _lock(path)
        try:
            if not path.exists():
                Bulk(path, label).finish()
                with refusing(path):
                    sync(path.parent.parent)  # in which the folder may be new
            self._connection = open_to_write(path, label, PRAGMAS)
            self.identity = identity_of(self._connection)
        except BaseException:
            self._lock.close()
            raise
        self._thread = Thread(target=self._run, name=f"store of {label.what}", daemon=True)
        self._thread.start()

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `Store.scan`; all rows are as of the moment at which the first one is read."""
        return read(self._path, self._label, prefix)

    def write(self, ticket: int, changes: WriteSet, *, resume: bool = False) -> None:
        """See `Store.write`. Raises StoreError after `close`, and if the thread has died."""
        if not self._thread.is_alive():
            raise StoreError(f"Nobody writes to {self._path} any more.")
        self._queue.put(_Write(ticket, changes, resume))

    def close(self) -> None:
        """See `Store.close`; `on_outcome` is called for all outcomes before this returns."""
        self._queue.put(None)
        self._thread.join()
        # Closing the last connection moves the log into the file.
        self._connection.close()
        self._lock.close()

    # In the store's thread

    def _run(self) -> None:
        closing = False
        while not closing:
            writes = [self._queue.get()]
            try:
                while True:
                    writes.append(self._queue.get_nowait())
            except Empty:
                closing = None in writes
            wanted = self._wanted([write for write in writes if write is not None])
            if wanted:
                self._commit(wanted)

    def _wanted(self, writes: list[_Write]) -> list[_Write]:
        """Return the writes that are not dropped because an earlier one failed."""
        if not self._dropping:
            return writes
        for number, write in enumerate(writes):
            if write.resume:
                self._dropping = False
                return writes[number:]
        return []

    def _commit(self, writes: list[_Write]) -> None:
        changes = writes[0].changes
        for write in writes[1:]:
            changes.update(write.changes)
        try:
            self._apply(changes)
        except sqlite3.Error as error:
            self._dropping = True
            self._on_outcome(writes[0].ticket, f"{self._path}: {error}")
        else:
            self._on_outcome(writes[-1].ticket, "")

    def _apply(self, changes: WriteSet) -> None:
        rows: list[bytes] = []
        gone: list[bytes] = []
        for key, value in changes.items():
            if value is None:
                gone.append(key)
            else:
                rows += (key, sealed(key, value))
        todo = [*statements.deletes(gone), *statements.puts(rows)]
        connection = self._connection
        if connection.in_transaction:
            # The last transaction failed, and its rollback failed as well.
            connection.execute("ROLLBACK")
        if len(todo) > 1:
            todo = [("BEGIN IMMEDIATE", []), *todo, ("COMMIT", [])]
        try:
            for sql, values in todo:
                connection.execute(sql, values)
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _lock(path: Path) -> TextIO:
    """Keep other processes from the file, such as the same shard of a server in another folder.

    The lock is a file of its own: closing the store's file would end SQLite's own locks on it.
    """
    with refusing(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.with_name(f"{path.name}.lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise StoreError(
                f"{path} is in use by another process: stop that one, or set FOX_DATA_DIR to "
                "another folder for a second cluster."
            ) from None
        return file
