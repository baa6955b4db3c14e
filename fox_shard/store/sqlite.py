"""The store in a file: SQLite, and the one thread that writes to it.

Owns: when changes become a transaction, and what happens after one that failed.
Never: what the rows mean, which file it is.

All tickets that wait when a transaction ends become the next one (group commit): while the disk
works others queue up, and the cost of a commit is divided by their number. A single statement is
its own transaction, which saves two rounds with the GIL (see `statements`).

"Failed" means: not known to be durable. Where the disk's last answer to a commit was an error, the
log may hold that commit whole, and a process that ends before the next one finds it there.
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
from fox_shard.store.store import Changes, OnOutcome, StoreError

CACHE: Final = 16 << 10
"""KiB of pages that are kept in memory; what is not there the system's own cache has."""

CHECKPOINT: Final = 2000
"""Pages (4 KiB) in the write-ahead log from which on a commit moves them into the file.

Measured with random keys among 200,000: that commit takes 13 ms more at 1000, 34 ms more at 4000,
where rows are written 15 % faster.
"""

LOG_KEPT: Final = 32 << 20
"""Bytes that the log's file keeps after a checkpoint, however long it was."""

PRAGMAS: Final = (
    "synchronous = FULL",  # a commit is on disk
    f"wal_autocheckpoint = {CHECKPOINT}",
    f"journal_size_limit = {LOG_KEPT}",
    f"cache_size = -{CACHE}",
    "cell_size_check = ON",  # damage is found where it is read
)


class _Write(NamedTuple):
    ticket: int
    changes: Changes
    resume: bool


@final
class SqliteStore:
    """A `Store`. `on_outcome` is called from its thread."""

    def __init__(self, path: Path, label: Label, on_outcome: OnOutcome) -> None:
        """Open the file; if there is none, make one, and the folders it is in.

        Raises StoreError where the file is another store's, damaged, of a newer version, or in use.
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
                    sync(path.parent.parent)  # which may have got a new folder, too
            self._connection = open_to_write(path, label, PRAGMAS)
            self.identity = identity_of(self._connection)
        except BaseException:
            self._lock.close()
            raise
        self._thread = Thread(target=self._run, name=f"store of {label.what}", daemon=True)
        self._thread.start()

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """As `Store.scan`; the rows are those of the moment of the first."""
        return read(self._path, self._label, prefix)

    def write(self, ticket: int, changes: Changes, *, resume: bool = False) -> None:
        """As `Store.write`. Raises StoreError after `close`, and if the thread has died."""
        if not self._thread.is_alive():
            raise StoreError(f"Nobody writes to {self._path} any more.")
        self._queue.put(_Write(ticket, changes, resume))

    def close(self) -> None:
        """As `Store.close`: when it returns, `on_outcome` has been called for all there was."""
        self._queue.put(None)
        self._thread.join()
        # The last one to leave moves the log into the file.
        self._connection.close()
        self._lock.close()

    # In the thread

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
        """Without those that are dropped because an earlier one failed."""
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

    def _apply(self, changes: Changes) -> None:
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
            # Of a transaction that failed, and could not even be rolled back then.
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
    """Keep others from the file, in processes of this name of another run directory, say.

    The lock is a file of its own: closing one that SQLite has open would end SQLite's locks.
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
